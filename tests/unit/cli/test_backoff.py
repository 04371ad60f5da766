"""Asking again without making it worse."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cli.backoff import LONGEST, Patience, ask_patiently, pause_before
from broker.cli.token_request import Answer


def answer(status: int, retry_after: float | None = None) -> Answer:
    """What a server says."""
    return Answer(status, {"error": "busy"} if status != 200 else {}, None, 1.0, retry_after)


class Server:
    """One that says these in turn, and a clock that sleeping moves."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.now = 0.0
        self.slept: list[float] = []

    async def ask(self) -> Answer:
        return self.answers.pop(0)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def last(self, retries: int = 3, seconds: float = 30.0, **how: Any) -> Answer:
        """What is answered in the end."""
        return await ask_patiently(
            self.ask,
            Patience(retries, seconds),
            tell=lambda *_: None,
            chance=how.get("chance", lambda: 1.0),
            sleep=self.sleep,
            monotonic=lambda: self.now,
        )


async def test_who_is_busy_is_asked_again_and_later_each_time() -> None:
    """Twice as late at most, each time."""
    server = Server(answer(503), answer(429), answer(503), answer(200))

    assert (await server.last()).status == 200
    assert server.slept == [0.25, 0.5, 1.0]


async def test_what_the_server_asks_for_is_the_least() -> None:
    """And the jitter comes on top, so that not all come back in that second."""
    server = Server(answer(429, 5.0), answer(200))

    await server.last()

    assert server.slept == [5.25]


@pytest.mark.parametrize("status", [200, 400, 401, 500])
async def test_what_was_decided_is_not_asked_again(status: int) -> None:
    """A refusal stays one; and what failed half way may have been done."""
    server = Server(answer(status))

    assert (await server.last()).status == status


async def test_patience_ends_by_number_and_by_time() -> None:
    """The last answer is what is shown."""
    by_number, by_time = Server(*[answer(503)] * 9), Server(*[answer(429, 60.0)] * 9)

    await by_number.last(retries=2)
    await by_time.last(seconds=10)

    assert (len(by_number.slept), by_time.slept) == (2, [])


@given(st.integers(1, 30), st.floats(0, 1), st.none() | st.floats(0, 100))
def test_a_pause_is_bounded(attempt: int, chance: float, retry_after: float | None) -> None:
    """Never less than was asked for, and never more than that and the longest."""
    pause = pause_before(attempt, retry_after, chance)

    assert (retry_after or 0) <= pause <= (retry_after or 0) + LONGEST
