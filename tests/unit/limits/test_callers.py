"""How often a client may have tokens introspected."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.limits.callers import CallerLimit
from broker.settings import Rate
from tests.builders import NOW

RATE = Rate(count=5, per=timedelta(seconds=50))  # one comes back every 10 s


@pytest.fixture
def limit():
    return CallerLimit(RATE)


def asked(limit: CallerLimit, client: str, times: int, *, after: float = 0) -> int:
    """Ask so many times at once; return how often there was an answer."""
    at = NOW + timedelta(seconds=after)
    return sum(limit.spend(client, at) is None for _ in range(times))


@pytest.mark.row("IN-2.3-02")
def test_a_caller_that_asks_too_often_has_to_wait(limit):
    """RFC 7662 §4: and is told for how long, in whole seconds."""
    assert 5 == asked(limit, "svc-b", 50)
    assert 10 == limit.spend("svc-b", NOW)
    assert 1 == limit.spend("svc-b", NOW + timedelta(seconds=9.5))


@pytest.mark.row("IN-2.3-02")
def test_waiting_helps_and_being_refused_costs_nothing(limit):
    """Ours: who asks on all the same does not have to wait for longer."""
    asked(limit, "svc-b", 50)

    assert 1 == asked(limit, "svc-b", 50, after=10)
    assert 5 == asked(limit, "svc-b", 50, after=70)


@pytest.mark.row("IN-2.3-02")
def test_no_caller_uses_up_what_is_another_s(limit):
    """Ours: one resource server that asks in a loop does not blind the others."""
    asked(limit, "svc-b", 50)

    assert 5 == asked(limit, "svc-c", 50)


@given(
    steps=st.lists(
        st.tuples(st.floats(0, 30, allow_nan=False), st.integers(0, 10)), min_size=1, max_size=20
    )
)
def test_over_any_time_there_are_no_more_answers_than_the_rate_allows(steps):
    """At most the whole bucket and what has come back since, however the calls are spread."""
    limit, elapsed, answers = CallerLimit(RATE), 0.0, 0
    for pause, times in steps:
        elapsed += pause
        answers += asked(limit, "svc-b", times, after=elapsed)

        assert answers <= 5 + elapsed / 10 + 1e-6


def test_a_clock_that_steps_back_gives_nothing_and_takes_nothing(limit):
    """DRILL-8's kind: the level stays where it was."""
    asked(limit, "svc-b", 3)

    assert 2 == asked(limit, "svc-b", 50, after=-3600)
