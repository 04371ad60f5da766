"""The engine in this process, and policies that misbehave in it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from broker.errors import ConfigurationError
from broker.policy.bundle import Bundle, build_bundle
from broker.policy.engine import MAX_OUTPUT, UNREADABLE, PolicyUnavailable
from broker.policy.guest import MAX_DATA, TESTED, Guest, PolicyGuest
from broker.policy.ordinary import OrdinaryGuest, choose_guest
from broker.policy.wasm import WasmEngine

DEADLINE = timedelta(milliseconds=300)  # more than any decision here takes on a busy machine
# One policy that does to itself what the input says.
HOSTILE = """
package broker.exchange

decision := {"allow": true} if input.do == "allow"

decision := numbers.range(1, input.n) if input.do == "fill"

decision := count([1 | some i in _many; some j in _many; i == j]) if input.do == "spin"

decision := input.value if input.do == "say"

decision := input.a if input.do == "conflict"

decision := input.b if input.do == "conflict"

_many := numbers.range(1, input.n)
"""


@pytest.fixture(scope="module")
def hostile(opa: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The policy above, compiled."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "decision.rego").write_text(HOSTILE)
    return build_bundle(folder, opa=opa)


@pytest.fixture(scope="module", params=[Guest, OrdinaryGuest], ids=["quick", "ordinary"])
def engine(hostile: Bundle, request: pytest.FixtureRequest) -> Iterator[WasmEngine]:
    """An engine that decides by it; whatever one test did to it, the next one finds it well."""
    guest: type[PolicyGuest] = request.param
    engine = WasmEngine(hostile, deadline=DEADLINE, guest=guest)
    yield engine
    asyncio.run(engine.aclose())


@pytest.fixture
def ask(engine: WasmEngine) -> Callable:
    """What the policy says to an input."""

    async def ask(**input_: object) -> object:
        return (await engine.evaluate(json.dumps(input_).encode())).output

    return ask


@pytest.mark.row("CVE-2026-9792")
async def test_an_undefined_decision_is_none(ask):
    """CVE-2026-9792: no answer is never taken for one."""
    assert await ask(do="nothing") is None


@pytest.mark.row("ATK-POL-01")
@pytest.mark.parametrize("value", [True, "allow", 1, ["allow"], {"allow": "yes"}, {}, ""])
async def test_what_the_policy_says_is_handed_on_as_it_is(ask, value):
    """Judging it is the floor's; an engine that mended it would be a second judge."""
    assert value == await ask(do="say", value=value)


@pytest.mark.row("ATK-POL-01")
async def test_a_decision_beyond_the_bound_is_unreadable(ask):
    """64 KiB; the same input would get it again, so it is a decision and no fault."""
    assert UNREADABLE == await ask(do="say", value="x" * MAX_OUTPUT)
    assert {"allow": True} == await ask(do="allow")


async def test_a_decision_up_to_the_bound_is_read_whole(ask):
    """Also where it does not fit the first look."""
    lengths = [4000, 4096, 5000, MAX_OUTPUT - 20]

    assert lengths == [len(await ask(do="say", value="x" * length)) for length in lengths]


@pytest.mark.row("DRILL-5", "ATK-POL-01")
@pytest.mark.parametrize(
    "input_",
    [
        pytest.param({"do": "spin", "n": 100_000}, id="runs-too-long"),
        pytest.param({"do": "fill", "n": 100_000_000}, id="takes-too-much-memory"),
        pytest.param({"do": "conflict", "a": 1, "b": 2}, id="contradicts-itself"),
    ],
)
async def test_a_policy_that_fails_is_unavailable_and_then_well_again(engine, ask, input_):
    """Drill 5: no decision, within the deadline; the next input meets a fresh instance."""
    for _ in range(2):
        with pytest.raises(PolicyUnavailable):
            await asyncio.wait_for(ask(**input_), 60)

        assert engine.available
        assert {"allow": True} == await ask(do="allow")


async def test_an_input_deeper_than_the_stack_is_unavailable(engine, ask):
    """No claim is nested so deep, but nothing may depend on that."""
    with pytest.raises(PolicyUnavailable):
        await engine.evaluate(b'{"do":"say","value":' + b"[" * 20_000 + b"]" * 20_000 + b"}")

    assert {"allow": True} == await ask(do="allow")


async def test_an_input_that_is_no_json_is_undefined(engine):
    """It cannot come from us, and is no yes if it does."""
    assert (await engine.evaluate(b'{"do": "allow"')).output is None


async def test_memory_does_not_grow_with_use(engine, ask):
    """The heap begins anew with each decision."""
    await ask(do="say", value="x" * 50_000)
    before = engine._guest.size
    for _ in range(300):
        await ask(do="say", value="x" * 50_000)

    assert before == engine._guest.size


def test_an_untested_wasmtime_is_called_in_the_ordinary_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Ours: what the quick way reaches into may be another thing in the next version."""
    assert choose_guest(next(iter(TESTED))) is Guest
    assert not caplog.records

    assert choose_guest("999.0.0") is OrdinaryGuest
    assert "the slow way" in caplog.text


def test_the_wasmtime_that_is_pinned_is_a_tested_one() -> None:
    """Whoever raises the pin runs these tests, and adds it; until then nobody is at risk."""
    assert choose_guest() is Guest


async def test_what_a_failure_says_holds_nothing_of_the_input(ask):
    """Exceptions are logged; the input is personal."""
    with pytest.raises(PolicyUnavailable) as caught:
        await ask(do="conflict", a="canary-1", b="canary-2")

    error: BaseException | None = caught.value
    while error is not None:
        assert "canary" not in f"{error!r}{error}"
        error = error.__cause__


async def test_two_engines_do_not_disturb_each_other(hostile):
    """During a reload there are two; one that is stopped in its tracks leaves the other alone."""
    one, other = WasmEngine(hostile, deadline=DEADLINE), WasmEngine(hostile, deadline=DEADLINE)
    try:
        with pytest.raises(PolicyUnavailable):
            await one.evaluate(b'{"do": "spin", "n": 100000}')

        assert {"allow": True} == (await other.evaluate(b'{"do": "allow"}')).output
    finally:
        await one.aclose()
        await other.aclose()


def test_data_beyond_the_bound_is_refused_when_it_is_loaded(hostile):
    """Not when somebody waits for a decision."""
    data = json.dumps({"broker": "x" * MAX_DATA}).encode()

    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        WasmEngine(Bundle(hostile.revision, hostile.wasm, data, {}))


@pytest.mark.row("ATK-POL-01")
async def test_an_engine_that_was_tried_in_another_thread_is_still_watched(hostile):
    """Attack: the watch counts the time of a thread that has ended, and a loop goes on for good."""
    engine = WasmEngine(hostile, deadline=timedelta(milliseconds=50))
    await asyncio.to_thread(engine.probe)
    try:
        with pytest.raises(PolicyUnavailable, match="late"):
            await engine.evaluate(b'{"do": "spin", "n": 100000}')
        assert {"allow": True} == (await engine.evaluate(b'{"do": "allow"}')).output
    finally:
        await engine.aclose()
