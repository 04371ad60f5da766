"""Whose turn it is: each client's, whoever sends most."""

import asyncio

import pytest

from broker.errors import LimitRejected, Reason
from broker.limits.admission import Admission
from broker.limits.turns import ROUND, ROUND_ALONE, TOGETHER, Turns
from broker.settings import Rate
from tests.builders import NOW


async def _work(turns: Turns, client: str, done: list[str]) -> None:
    await turns.wait(client)
    done.append(client)


async def test_who_sends_one_waits_for_one_of_each_other() -> None:
    """Not for the hundred that were there before."""
    turns, done = Turns(), []
    greedy = [asyncio.create_task(_work(turns, "greedy", done)) for _ in range(100)]
    await asyncio.sleep(0)
    polite = asyncio.create_task(_work(turns, "polite", done))

    await polite
    before = done.index("polite")
    await asyncio.gather(*greedy)

    # Two rounds before it was seen; and then its own.
    assert before <= 3 * ROUND
    assert len(done) == 101


async def test_while_nobody_waits_nobody_is_delayed() -> None:
    """Alone, a client goes on without giving up its turn of the loop."""
    turns, order = Turns(), []
    asyncio.get_running_loop().call_soon(order.append, "the loop")

    await turns.wait("a")
    order.append("a")
    await asyncio.sleep(0)

    assert order == ["a", "the loop"]


async def test_who_is_alone_for_a_while_waits_for_fewer_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each costs, and there is nobody whom it would serve."""
    loop, turns = asyncio.get_running_loop(), Turns()
    await turns.wait("a")
    later = loop.time() + TOGETHER + 1
    monkeypatch.setattr(loop, "time", lambda: later)
    done: list[str] = []
    tasks = [asyncio.create_task(_work(turns, "a", done)) for _ in range(30)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert len(done) == ROUND_ALONE
    await asyncio.gather(*tasks)


async def test_nobody_is_forgotten() -> None:
    """Whatever the order in which they come, and whoever leaves."""
    turns, done = Turns(), []
    tasks = [asyncio.create_task(_work(turns, f"c{n % 7}", done)) for n in range(300)]
    await asyncio.sleep(0)
    for task in tasks[10:300:3]:
        task.cancel()

    await asyncio.gather(*tasks, return_exceptions=True)
    left = [task for task in tasks if not task.cancelled()]

    assert len(done) == len(left)
    assert len(turns) == 0
    await asyncio.wait_for(turns.wait("later"), 1)


async def test_when_it_is_full_whoever_comes_is_turned_away_and_counted() -> None:
    """Before anything of the request is read."""
    turns, counted, done = Turns(), [], []
    door = Admission(
        Rate.model_validate("100/1s"), turns, waiting=3, count=lambda *seen: counted.append(seen)
    )
    tasks = [asyncio.create_task(_work(turns, "a", done)) for _ in range(3 + ROUND)]
    await asyncio.sleep(0)

    with pytest.raises(LimitRejected) as refused:
        door.admit("192.0.2.1", NOW)
    await asyncio.gather(*tasks)
    door.admit("192.0.2.1", NOW)

    assert refused.value.reason is Reason.LIMIT_OVERLOADED
    assert counted == [("192.0.2.1", Reason.LIMIT_OVERLOADED)]


def test_a_source_that_floods_is_turned_away_and_others_are_not() -> None:
    """Of IPv6 a whole /64 is one source: it costs nobody anything to have all of it."""
    counted: list[object] = []
    door = Admission(
        Rate.model_validate("2/1s"), Turns(), waiting=8, count=lambda *seen: counted.append(seen)
    )
    for last in (1, 2):
        door.admit(f"2001:db8::{last}", NOW)

    with pytest.raises(LimitRejected) as refused:
        door.admit("2001:db8::3", NOW)
    door.admit("192.0.2.1", NOW)

    assert refused.value.reason is Reason.LIMIT_SOURCE
    assert refused.value.retry_after == 1
    assert len(counted) == 1


def test_made_up_sources_take_bounded_memory() -> None:
    """Whoever has a network of addresses fills no memory, and pushes out only idle ones."""
    door = Admission(Rate.model_validate("2/1s"), Turns(), waiting=8, count=lambda *_: None)
    for number in range(30_000):
        door.admit(f"2001:db8:{number // 65536:x}:{number % 65536:x}::1", NOW)

    assert len(door) <= 20_000


def test_a_door_that_is_only_made_changes_none_that_is_there() -> None:
    """A reload that fails leaves limits as they were."""
    rate, turns = Rate.model_validate("2/1s"), Turns()
    there = Admission(rate, turns, waiting=8, count=lambda *_: None)
    made = Admission(rate, turns, waiting=0, count=lambda *_: None, previous=there)

    there.admit("192.0.2.1", NOW)
    with pytest.raises(LimitRejected) as refused:
        made.admit("192.0.2.1", NOW)

    assert refused.value.reason is Reason.LIMIT_OVERLOADED


@pytest.mark.parametrize(
    ("rate", "left"),
    [pytest.param("2/1s", 0, id="the-same-rate"), pytest.param("3/1s", 3, id="another-rate")],
)
def test_a_reload_forgives_nobody_unless_the_rate_is_another(rate: str, left: int) -> None:
    """What a source has sent goes on being counted."""
    before = Admission(Rate.model_validate("2/1s"), Turns(), waiting=8, count=lambda *_: None)
    for _ in range(2):
        before.admit("192.0.2.1", NOW)
    after = Admission(
        Rate.model_validate(rate), Turns(), waiting=8, count=lambda *_: None, previous=before
    )

    for _ in range(left):
        after.admit("192.0.2.1", NOW)
    with pytest.raises(LimitRejected):
        after.admit("192.0.2.1", NOW)
