"""The stock policy with the test grants, compiled once for the tests of this folder."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from broker.policy.bundle import Bundle, build_bundle, render_archive
from broker.policy.engine import PolicyEngine
from broker.policy.opa import OpaEngine
from broker.policy.wasm import WasmEngine
from tests.configuration import grants
from tests.fixtures.opa import OpaServer

STOCK = Path(__file__).parents[3] / "policies"
PATIENT = timedelta(seconds=20)  # a busy machine is no fault here


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``policies/`` with the grants of the test configuration."""
    folder = tmp_path_factory.mktemp("policy") / "policies"
    shutil.copytree(STOCK, folder)
    (folder / "broker" / "grants" / "data.yaml").write_text(yaml.safe_dump(grants()))
    return folder


@pytest.fixture(scope="session")
def bundle(policy_folder: Path, opa: Path) -> Bundle:
    """The folder, compiled."""
    return build_bundle(policy_folder, opa=opa)


@pytest.fixture(scope="session")
def stock_server(
    bundle: Bundle, opa_server: Callable[..., OpaServer], tmp_path_factory: pytest.TempPathFactory
) -> OpaServer:
    """An OPA server with the same bundle."""
    archive = tmp_path_factory.mktemp("bundle") / "bundle.tar.gz"
    archive.write_bytes(render_archive(bundle, "opa"))
    return opa_server(archive)


@pytest.fixture(scope="session")
def wasm_engine(bundle: Bundle) -> Iterator[WasmEngine]:
    """The engine in this process."""
    engine = WasmEngine(bundle, deadline=PATIENT)
    yield engine
    asyncio.run(engine.aclose())


@pytest.fixture
async def opa_engine(stock_server: OpaServer) -> AsyncIterator[OpaEngine]:
    """The engine that asks the server."""
    engine = OpaEngine(stock_server.url, deadline=PATIENT)
    yield engine
    await engine.aclose()


@pytest.fixture(params=["wasm", "opa"])
def engine(request: pytest.FixtureRequest) -> PolicyEngine:
    """Each of the two."""
    return request.getfixturevalue(f"{request.param}_engine")
