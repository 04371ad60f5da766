"""Single flight: one call for all who wait, and nobody who gives up ends it for the others."""

import asyncio
import gc
import weakref

import pytest

from broker.proxy.flight import Flights, Grounded

KEY = b"key"


class Call:
    """Something that is fetched once it may."""

    def __init__(self) -> None:
        self.count = 0
        self.may = asyncio.Event()

    async def run(self) -> int:
        self.count += 1
        await self.may.wait()
        return self.count


async def started(flights: Flights, call: Call, waiters: int) -> list[asyncio.Task[int]]:
    """So many waiters, all of whom wait."""
    tasks = [asyncio.create_task(flights.join(KEY, call.run)) for _ in range(waiters)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_all_who_wait_get_what_one_call_found():
    """However many."""
    flights, call = Flights[int](), Call()
    waiting = await started(flights, call, 1000)
    call.may.set()

    assert [1] * 1000 == await asyncio.gather(*waiting)
    assert (1, 0) == (call.count, len(flights))


async def test_whoever_began_and_gives_up_ends_nothing():
    """A client that hangs up is not a reason for a thousand others to start again."""
    flights, call = Flights[int](), Call()
    first, *others = await started(flights, call, 10)
    first.cancel()
    await asyncio.sleep(0)
    call.may.set()

    assert [1] * 9 == await asyncio.gather(*others)
    assert first.cancelled()


async def test_what_fails_fails_for_all_and_is_begun_anew_afterwards():
    """An error that nobody expected is not kept."""
    flights = Flights[int]()

    async def fail() -> int:
        raise ValueError("not expected")

    for _ in range(2):
        outcomes = await asyncio.gather(
            *(flights.join(KEY, fail) for _ in range(5)), return_exceptions=True
        )
        assert [ValueError] * 5 == [type(each) for each in outcomes]


async def test_the_end_of_the_process_is_told_to_all():
    """Nobody waits for a call that has been given up."""
    flights, call = Flights[int](), Call()
    waiting = await started(flights, call, 5)
    await flights.aclose()

    assert [Grounded] * 5 == [
        type(each) for each in await asyncio.gather(*waiting, return_exceptions=True)
    ]


async def test_what_it_was_started_with_is_gone_when_it_has_ended():
    """A client's secret among it."""
    flights = Flights[int]()

    class Secret:
        """What must not outlive the call."""

        async def use(self) -> int:
            return 1

    secret = Secret()
    gone = weakref.ref(secret)
    assert 1 == await flights.join(KEY, secret.use)
    del secret
    gc.collect()

    assert gone() is None


async def test_only_what_is_under_way_is_joined():
    """What has ended is fetched again."""
    flights, call = Flights[int](), Call()
    call.may.set()

    assert [1, 2] == [await flights.join(KEY, call.run) for _ in range(2)]
    with pytest.raises(KeyError):
        flights._tasks[KEY]
