"""What the tests of the token proxy share: the stock policy, and a provider for each."""

from collections.abc import AsyncIterator

import pytest

from broker.policy.bundle import build_bundle
from broker.policy.engine import PROXY_ENTRYPOINT
from broker.policy.wasm import WasmEngine
from tests.proxying import Provider, provider
from tests.server import ROOT


@pytest.fixture(scope="module")
def bundle(opa):
    """The stock policy."""
    return build_bundle(ROOT / "policies", opa=opa)


@pytest.fixture
async def engine(bundle) -> AsyncIterator[WasmEngine]:
    """What the proxy asks."""
    engine = WasmEngine(bundle, entrypoint=PROXY_ENTRYPOINT)
    yield engine
    await engine.aclose()


@pytest.fixture
async def idp() -> AsyncIterator[Provider]:
    """The identity provider."""
    async with provider() as running:
        yield running
