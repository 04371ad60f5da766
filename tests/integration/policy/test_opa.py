"""The engine that asks a server, and servers that misbehave (drill 5)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.circuit import COOLDOWN, FAILURES, State
from broker.policy.engine import MAX_OUTPUT, UNREADABLE, PolicyUnavailable
from broker.policy.opa import MAX_ANSWER, UNVERSIONED, OpaEngine
from tests.fixtures.opa import OpaServer
from tests.integration.policy.conftest import PATIENT
from tests.integration.policy.inputs import encoded
from tests.loopback import Loopback, certificate, drip, http_answer, json_answer, loopback

QUESTION = "/v1/data/broker/exchange/decision?provenance=true"
PROBE = "/v1/data/broker/exchange?provenance=true"
DEADLINE = timedelta(milliseconds=100)
BOUND = 20  # seconds: far more than the deadline, far less than what the servers here would take
CONFLICT = """
package broker.exchange

decision := {"allow": true} if input.do == "allow"

decision := input.a if input.do == "conflict"

decision := input.b if input.do == "conflict"
"""


def provenance(version: str = "1.22.0", **bundles: Any) -> dict[str, Any]:
    """What a server says about itself and its bundles."""
    return {"version": version, "bundles": bundles}


@pytest.fixture
async def server() -> AsyncIterator[Loopback]:
    """A server that answers as the test says."""
    async with loopback({QUESTION: json_answer({"result": {"allow": True}})}) as state:
        yield state


@pytest.fixture
def clock() -> list[float]:
    """Monotonic seconds, moved by hand."""
    return [1000.0]


@pytest.fixture
async def engine(server: Loopback, clock: list[float]) -> AsyncIterator[OpaEngine]:
    """An engine that asks it."""
    engine = OpaEngine(server.url(""), deadline=PATIENT, monotonic=lambda: clock[0])
    yield engine
    await engine.aclose()


@pytest.fixture
async def hasty(server: Loopback) -> AsyncIterator[OpaEngine]:
    """An engine with a deadline like the real one."""
    engine = OpaEngine(server.url(""), deadline=DEADLINE)
    yield engine
    await engine.aclose()


async def failure(engine: OpaEngine) -> str:
    """Why there is no decision; it must not take long to say so."""
    began = time.monotonic()
    with pytest.raises(PolicyUnavailable) as caught:
        await asyncio.wait_for(engine.evaluate(b"{}"), 60)
    assert time.monotonic() - began < BOUND
    return str(caught.value)


async def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it becomes true, within a bound that no machine needs."""
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110 — nothing signals it
        await asyncio.sleep(0.01)
    return condition()


@pytest.mark.row("CVE-2025-46569")
async def test_nothing_of_a_request_is_in_the_path(engine, server):
    """CVE-2025-46569: one path, whoever asks for what."""
    for subject in ("alice", "../../../policies", "a?b=c#d", "%2e%2e/"):
        await engine.evaluate(encoded(subject__subject=subject, client__id=subject))

    assert {QUESTION} == set(server.paths)


async def test_the_server_is_asked_the_input_as_it_is(engine, server):
    """What is recorded is what was asked, byte for byte."""
    await engine.evaluate(b'{"a" :  1.0}')

    assert [b'{"input":{"a" :  1.0}}'] == server.bodies


@pytest.mark.row("CVE-2026-9792", "DRILL-5")
@pytest.mark.parametrize("answer", [{}, {"result": None}, {"decision_id": "x"}])
async def test_200_without_result_is_undefined(engine, server, answer):
    """Drill 5, CVE-2026-9792: OPA answers so when nothing is decided; it is never a yes."""
    server.answers[QUESTION] = json_answer(answer)

    assert (await engine.evaluate(b"{}")).output is None


@pytest.mark.row("ATK-POL-01")
@pytest.mark.parametrize("value", [True, "allow", 1, ["allow"], {"allow": "yes"}, {}, ""])
async def test_what_the_policy_says_is_handed_on_as_it_is(engine, server, value):
    """Judging it is the floor's."""
    server.answers[QUESTION] = json_answer({"result": value})

    assert value == (await engine.evaluate(b"{}")).output


@pytest.mark.row("ATK-POL-01")
async def test_a_decision_beyond_the_bound_is_unreadable(engine, server):
    """As in process: the same policy is refused for the same reason by both engines."""
    server.answers[QUESTION] = json_answer({"result": "x" * MAX_OUTPUT})

    assert UNREADABLE == (await engine.evaluate(b"{}")).output


@pytest.mark.row("DRILL-5", "ATK-POL-01")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(http_answer(b"", status="404 Not Found"), id="not-found"),
        pytest.param(json_answer({}, status="500 Internal Server Error"), id="error"),
        pytest.param(json_answer({}, status="401 Unauthorized"), id="unauthorized"),
        pytest.param(
            http_answer(b"<html>", status="503 Service Unavailable", content_type="text/html"),
            id="a-proxy's-page",
        ),
        pytest.param(http_answer(b"{}", content_type="text/html"), id="another-type"),
        pytest.param(http_answer(b"{}", content_type=None), id="no-type"),
        pytest.param(http_answer(b""), id="empty"),
        pytest.param(http_answer(b'{"result": tr'), id="cut-short"),
        pytest.param(http_answer(b'{"result": NaN}'), id="no-json"),
        pytest.param(http_answer(b"\xff\xfe{}"), id="no-utf-8"),
        pytest.param(json_answer([{"result": {"allow": True}}]), id="a-list"),
        pytest.param(json_answer("allow"), id="text"),
        pytest.param(http_answer(b"[" * 100_000), id="deep"),
        pytest.param(json_answer({"result": "x" * MAX_ANSWER}), id="too-large"),
        pytest.param(http_answer(b"\x1f\x8b\x08", Content_Encoding="gzip"), id="compressed"),
        pytest.param(b"", id="closed-at-once"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", id="closed-in-the-head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", id="closed-in-the-body"),
        pytest.param(b"SSH-2.0-OpenSSH_9.9\r\n", id="not-http"),
        pytest.param(
            json_answer({"result": 1, "provenance": provenance("1.3.9")}), id="older-than-1.4"
        ),
        pytest.param(
            json_answer({"result": 1, "provenance": provenance("0.70.0-dev")}), id="much-older"
        ),
    ],
)
async def test_anything_else_is_unavailable(engine, server, answer):
    """Drill 5: an answer that is not exactly one is none."""
    server.answers[QUESTION] = answer

    assert await failure(engine)


async def test_a_redirect_is_not_followed(engine, server):
    """The server that is configured decides, nobody that it names."""
    server.answers[QUESTION] = http_answer(
        b"", status="307 Temporary Redirect", Location=server.url("/elsewhere")
    )
    server.answers["/elsewhere"] = json_answer({"result": {"allow": True}})
    await failure(engine)

    assert {QUESTION} == set(server.paths)


async def test_no_proxy_of_the_environment_is_used(engine, monkeypatch):
    """It would see every subject, and could allow everything."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert {"allow": True} == (await engine.evaluate(b"{}")).output


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path):
    """Over https the server is who the URL says, or it is not asked."""
    tls, _ = certificate(tmp_path, "127.0.0.1", "localhost")
    async with loopback({QUESTION: json_answer({"result": 1})}, tls=tls) as server:
        engine = OpaEngine(server.url("", host="localhost"), deadline=PATIENT)
        assert "the policy server did not answer: connection" == await failure(engine)
        await engine.aclose()

    assert [] == server.paths


async def _late() -> AsyncIterator[bytes]:
    await asyncio.sleep(60)
    yield json_answer({"result": {"allow": True}})


@pytest.mark.row("DRILL-5")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(_late, id="slow"),
        pytest.param(
            lambda: drip(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n",
                b" " * 90,
                0.5,
            ),
            id="a-byte-at-a-time",
        ),
    ],
)
async def test_a_slow_server_is_unavailable_within_the_deadline(hasty, server, answer):
    """Drill 5: the deadline counts everything from connecting to the last byte."""
    server.answers[QUESTION] = answer

    assert "the policy server did not answer: late" == await failure(hasty)


@pytest.mark.row("DRILL-5")
async def test_a_dead_server_costs_nothing_once_the_circuit_is_open(engine, server, clock):
    """Drill 5: it opens after so many failures in a row, and then nobody is sent there."""
    server.answers[QUESTION] = b""
    for _ in range(FAILURES):
        await failure(engine)
    asked = len(server.paths)
    for _ in range(20):
        assert "not asked" in await failure(engine)

    assert (asked, False) == (len(server.paths), engine.available)


@pytest.mark.row("DRILL-5")
async def test_one_request_tries_a_dead_server_after_the_cooldown(engine, server, clock):
    """Half open: one at a time, and it stays open for another while if that one fails."""
    server.answers[QUESTION] = b""
    for _ in range(FAILURES):
        await failure(engine)
    server.paths.clear()
    for _ in range(3):
        clock[0] += COOLDOWN
        failures = await asyncio.gather(*(failure(engine) for _ in range(10)))
        assert 9 == sum("not asked" in each for each in failures)

    server.answers[QUESTION] = json_answer({"result": {"allow": True}})
    clock[0] += COOLDOWN
    again = [(await engine.evaluate(b"{}")).output for _ in range(3)]

    assert [{"allow": True}] * 3 == again
    assert State.CLOSED is engine._circuit.state


async def test_a_request_that_leaves_does_not_leave_the_circuit_half_open(engine, server, clock):
    """Its client hung up while it tried the server; somebody else may try."""
    server.answers[QUESTION] = b""
    for _ in range(FAILURES):
        await failure(engine)
    clock[0] += COOLDOWN
    server.answers[QUESTION] = _late
    leaving = asyncio.ensure_future(engine.evaluate(b"{}"))
    assert await eventually(lambda: len(server.paths) > FAILURES)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    server.answers[QUESTION] = json_answer({"result": {"allow": True}})

    assert {"allow": True} == (await engine.evaluate(b"{}")).output


async def test_failures_with_successes_between_do_not_open_the_circuit(engine, server):
    """In a row: a server that answers most of the time is asked."""
    for _ in range(FAILURES):
        for answer in (b"", json_answer({"result": 1})):
            server.answers[QUESTION] = answer
            await asyncio.gather(engine.evaluate(b"{}"), return_exceptions=True)

    assert State.CLOSED is engine._circuit.state


async def test_a_conflict_in_the_policy_does_not_shut_everybody_out(
    opa_server: Callable[..., OpaServer], tmp_path: Path
):
    """Who can provoke an error of the policy by an input must not open the circuit with it."""
    (tmp_path / "decision.rego").write_text(CONFLICT)
    engine = OpaEngine(opa_server(tmp_path).url, deadline=PATIENT)
    try:
        for _ in range(FAILURES * 2):
            with pytest.raises(PolicyUnavailable, match="the policy failed at the server"):
                await engine.evaluate(b'{"do": "conflict", "a": 1, "b": 2}')

        assert {"allow": True} == (await engine.evaluate(b'{"do": "allow"}')).output
    finally:
        await engine.aclose()


@pytest.mark.row("DRILL-5")
async def test_a_server_that_dies_and_comes_back_is_asked_again(
    opa_server: Callable[..., OpaServer], policy_folder: Path, clock: list[float]
):
    """Drill 5: without a restart of ours."""
    server = opa_server(policy_folder)
    engine = OpaEngine(server.url, deadline=PATIENT, monotonic=lambda: clock[0])
    try:
        before = (await engine.evaluate(encoded())).output
        server.stop()
        for _ in range(FAILURES):
            await failure(engine)
        down = engine.available
        opa_server(policy_folder, port=int(server.url.rpartition(":")[2]))
        clock[0] += COOLDOWN

        assert (True, False) == (before["allow"], down)
        assert before == (await engine.evaluate(encoded())).output
        assert engine.available
    finally:
        await engine.aclose()


async def test_connections_are_kept(stock_server: OpaServer, opa_engine: OpaEngine):
    """A handshake for each decision would cost more than the decision."""
    for _ in range(5):
        await opa_engine.evaluate(encoded())

    assert 1 == sum(map(len, opa_engine._client._connector._conns.values()))


async def test_it_becomes_available_without_being_asked_anything(opa_engine: OpaEngine):
    """A broker that nobody sends requests to, because it is not ready, becomes ready."""
    assert not opa_engine.available
    assert await eventually(lambda: opa_engine.available)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(json_answer({}), id="no-policy-for-us"),
        pytest.param(http_answer(b"", status="404 Not Found"), id="something-else"),
    ],
)
async def test_a_server_without_our_policy_is_not_available(engine, server, answer):
    """Not ready: it would refuse every exchange."""
    server.answers[PROBE] = answer
    assert not engine.available
    assert await eventually(lambda: not engine.available and len(server.paths) > 3)

    assert {PROBE} == set(server.paths)


@pytest.mark.parametrize(
    ("bundles", "expected"),
    [
        pytest.param({"policies": {"revision": "abc"}}, "abc", id="one-bundle"),
        pytest.param(
            {"b": {"revision": "2"}, "a": {"revision": "1"}}, "a=1,b=2", id="several-bundles"
        ),
        pytest.param({"policies": {"revision": ""}}, UNVERSIONED, id="a-folder"),
        pytest.param({"a": {"revision": "1"}, "b": {}}, UNVERSIONED, id="one-of-two-unknown"),
        pytest.param({}, UNVERSIONED, id="no-bundle"),
        pytest.param({"policies": {"revision": 7}}, UNVERSIONED, id="a-number"),
        pytest.param({"policies": "abc"}, UNVERSIONED, id="no-object"),
        pytest.param({"policies": {"revision": "x" * 300}}, UNVERSIONED, id="too-long"),
        pytest.param({"policies": {"revision": "a\nb"}}, UNVERSIONED, id="control-characters"),
    ],
)
async def test_the_revision_is_what_the_server_says_it_is(engine, server, bundles, expected):
    """An audit trail holds no guesses: what is not known is called unversioned."""
    server.answers[QUESTION] = json_answer({"result": 1, "provenance": provenance(**bundles)})
    evaluation = await engine.evaluate(b"{}")

    assert [expected] * 2 == [evaluation.revision, engine.revision]


async def test_a_bundle_that_we_built_has_our_revision_at_the_server(opa_engine, bundle):
    """The same name in the audit trail whichever engine decided."""
    assert bundle.revision == (await opa_engine.evaluate(encoded())).revision


async def test_a_folder_at_the_server_is_unversioned(
    opa_server: Callable[..., OpaServer], policy_folder: Path
):
    """It has no manifest that says what it is, and may change while it is served."""
    engine = OpaEngine(opa_server(policy_folder).url, deadline=PATIENT)
    try:
        assert UNVERSIONED == (await engine.evaluate(encoded())).revision
    finally:
        await engine.aclose()


async def test_the_server_s_decision_id_is_kept(
    opa_server: Callable[..., OpaServer], policy_folder: Path
):
    """It joins our audit row to the server's decision log."""
    server = opa_server(policy_folder, "--set", "decision_logs.console=true")
    engine = OpaEngine(server.url, deadline=PATIENT)
    try:
        ids = [(await engine.evaluate(encoded())).decision_id for _ in range(2)]
    finally:
        await engine.aclose()

    assert all(ids)
    assert ids[0] != ids[1]
