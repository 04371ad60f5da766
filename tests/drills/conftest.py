"""What the drills share: the policy compiled once, and brokers that end with their test."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from broker.policy.bundle import build_bundle, render_archive
from tests.configuration import secret
from tests.server import BrokerProcess, write_configuration

Start = Callable[..., BrokerProcess]


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The policy of the suite as a built bundle, by engine.

    Compiled once: a drill that starts ten brokers is not about compiling.
    """
    folder = tmp_path_factory.mktemp("bundles")
    write_configuration(folder, "postgresql://nowhere")
    bundle = build_bundle(folder / "policies")
    built = {}
    for engine in ("wasm", "opa"):
        built[engine] = folder / f"{engine}.tar.gz"
        built[engine].write_bytes(render_archive(bundle, engine))
    return built


@pytest.fixture
def start(tmp_path: Path, bundles: dict[str, Path]) -> Iterator[Start]:
    """Start a broker on a database; it is stopped after the test, if it still runs.

    What it has logged by then, through whatever was done to it, holds no token and no secret.
    """
    started: list[BrokerProcess] = []

    def start(database_url: str, *, environ: dict[str, str] | None = None, **overrides: Any) -> Any:
        folder = tmp_path / f"broker-{len(started)}"
        folder.mkdir()
        policy = {"engine": "wasm", "path": str(bundles["wasm"])}
        config = write_configuration(folder, database_url, **{"policy": policy} | overrides)
        started.append(BrokerProcess(config, environ=environ))
        return started[-1]

    yield start

    running = [process for process in started if process.process.poll() is None]
    with ThreadPoolExecutor() as together:
        codes = list(together.map(BrokerProcess.stop, running))
    logs = [process.log.read_text(errors="replace") for process in started]
    assert {0} >= set(codes), logs
    assert not any("eyJ" in log or secret("svc-a") in log for log in logs)
