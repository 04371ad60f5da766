"""Drill 5: the policy server is gone, slow, or talks nonsense, before the eyes of clients."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.drills.conftest import Start
from tests.drills.load import Load, count_reasons, exchange, is_ready, load, plain, read_metrics
from tests.faults import Proxy, standing, to_port
from tests.fixtures.opa import OpaServer
from tests.fixtures.postgres import OneDatabase, execute
from tests.loopback import http_answer, json_answer, loopback
from tests.server import BrokerProcess, eventually

pytestmark = pytest.mark.drill

DEADLINE = "500ms"  # not the 50 ms of production: a test machine may be busy
QUESTION = "/v1/data/broker/exchange/decision?provenance=true"


@dataclass
class Decided:
    """A broker that asks an OPA server, and what stands between the two."""

    process: BrokerProcess
    network: Proxy
    server: OpaServer
    database: OneDatabase

    @property
    def server_port(self) -> int:
        return int(self.server.url.rpartition(":")[2])

    async def circuit(self) -> float:
        """0 closed, 1 half open, 2 open."""
        return (await read_metrics(self.process))["broker_policy_circuit"]


@pytest.fixture
async def decided(
    fresh: OneDatabase,
    start: Start,
    bundles: dict[str, Path],
    opa_server: Callable[..., OpaServer],
) -> AsyncIterator[Decided]:
    server = await asyncio.to_thread(opa_server, bundles["opa"])
    port = int(server.url.rpartition(":")[2])
    async with standing(Proxy(to_port(port))) as network:
        url = f"http://127.0.0.1:{network.port}"
        policy = {"engine": "opa", "url": url, "deadline": DEADLINE}
        process = start(fresh.app_url, policy=policy)
        await asyncio.to_thread(process.wait_ready)
        yield Decided(process, network, server, fresh)


# What an OPA server never says, by what is wrong with it.
NONSENSE = {
    "html": http_answer(b"<html>", content_type="text/html"),
    "half": http_answer(b'{"result": {'),
    "array": json_answer([]),
    "error": http_answer(b"{}", status="500 Internal Server Error"),
    "redirect": http_answer(b"", status="307 Temporary Redirect", location="http://127.0.0.1/"),
    "huge": http_answer(b'{"result": "' + b"a" * (2 << 20) + b'"}'),
}


@asynccontextmanager
async def failing(decided: Decided, seen: Load, fault: str) -> AsyncIterator[None]:
    """Within the block it fails; after it, all is well again. Nobody touches the broker."""
    yield
    await seen.more(503, 10)
    await eventually(lambda: is_open(decided))
    before = len(seen.answers)
    await seen.more(503, 10)
    assert {503} == {answer.status for answer in seen.answers[before:]}, fault
    assert not await is_ready(decided.process), fault
    decided.network.upstream = to_port(decided.server_port)
    decided.network.forward()
    decided.network.cut()


async def is_open(decided: Decided) -> bool:
    """Whether the server is asked no more, or is being tried."""
    return await decided.circuit() > 0


async def resumed(decided: Decided, seen: Load) -> None:
    """Return once tokens are issued again and the circuit is closed."""
    await seen.more(200, 20)
    assert 0 == await decided.circuit()
    await eventually(lambda: is_ready(decided.process))


@pytest.mark.row("DRILL-5", "TX-2.2.2-06", "ATK-POL-01")
@pytest.mark.timeout(240)
async def test_a_policy_server_that_fails_is_a_503_in_time_and_is_asked_again(
    decided: Decided, opa_server: Callable[..., OpaServer], bundles: dict[str, Path]
) -> None:
    """Ours: no decision, no token; the circuit opens, and closes once there is an answer."""
    network, port = decided.network, decided.server_port
    asking = load(lambda: decided.process.url, connections=4, pause=0.01)
    async with loopback() as liar, asking as seen:
        await seen.more(200, 20)
        async with failing(decided, seen, "stopped"):
            decided.server.stop()
        decided.server = await asyncio.to_thread(opa_server, bundles["opa"], port=port)
        await resumed(decided, seen)
        async with failing(decided, seen, "slow"):
            network.delay = 5.0
        await resumed(decided, seen)
        async with failing(decided, seen, "silent"):
            network.black_hole()
        await resumed(decided, seen)
        for fault, answer in NONSENSE.items():
            async with failing(decided, seen, fault):
                liar.answers[QUESTION] = answer
                network.upstream = to_port(liar.port)
                network.cut()
            await resumed(decided, seen)

    seen.assert_refused_in_time()
    assert [] == seen.broken
    reasons = await count_reasons(decided.process)
    assert {"issued", "policy.unavailable"} == set(reasons)
    # Each is recorded, the refused ones as well.
    recorded = execute(
        decided.database.auditor_url,
        "SELECT coalesce(reason, outcome) AS what, count(*) AS rows FROM audit_event"
        " WHERE kind = 'exchange' GROUP BY what",
    )
    assert reasons == {row["what"]: row["rows"] for row in recorded}


@pytest.mark.row("DRILL-5", "ATK-POL-01", "CVE-2026-9792")
async def test_a_policy_server_that_decides_nothing_sensible_is_a_refusal(
    decided: Decided,
) -> None:
    """Ours: 200 without a result, or with one that is no decision, is never a yes."""
    said = {
        "undefined": json_answer({"decision_id": "1"}),
        "null": json_answer({"result": None}),
        "true": json_answer({"result": True}),
        "empty": json_answer({"result": {}}),
        "only-allow": json_answer({"result": {"allow": True}}),
    }
    network = decided.network
    async with loopback() as liar, httpx.AsyncClient(timeout=10) as client:
        network.upstream = to_port(liar.port)
        network.cut()
        statuses = {}
        for name, answer in said.items():
            liar.answers[QUESTION] = answer
            refused = await exchange(client, decided.process.url, *plain())
            statuses[name] = (refused.status, refused.body["error"])
        network.upstream = to_port(decided.server_port)
        network.cut()
        served = await exchange(client, decided.process.url, *plain())

    assert dict.fromkeys(said, (400, "invalid_request")) == statuses
    assert 200 == served.status
    counted = {"policy.undefined": 2, "policy.malformed": 3, "issued": 1}
    assert counted == await count_reasons(decided.process)
    alarms = [line for line in decided.process.logged() if line["level"] == "ERROR"]
    assert len(said) == len(alarms)
