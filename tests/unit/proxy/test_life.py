"""How long a token is served: never past its expiry, whatever clocks do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.proxy.life import LONGEST, Life, Moment

START = Moment(1000.0, 1_800_000_000.0)


def later(monotonic: float, wall: float | None = None) -> Moment:
    """The start, and so many seconds later by each clock."""
    return Moment(START.monotonic + monotonic, START.wall + (monotonic if wall is None else wall))


@pytest.mark.parametrize(
    ("expires_in", "share", "fresh"),
    [
        pytest.param(3600, 0.1, 3240, id="a-tenth"),
        pytest.param(60, 0.1, 45, id="at-least-15-s"),
        pytest.param(20, 0.1, 10, id="of-a-short-life-half"),
        pytest.param(3600, 0.0, 3585, id="no-share"),
        pytest.param(3600, 0.5, 1800, id="half"),
    ],
)
def test_a_token_is_renewed_within_its_margin(expires_in, share, fresh):
    """Fresh until then, served after it as well, and not at its end."""
    life = Life.build(START, expires_in, margin=share)

    assert (True, False) == (life.is_fresh(later(fresh - 0.1)), life.is_fresh(later(fresh)))
    assert (1, 0) == (life.remaining(later(expires_in - 1)), life.remaining(later(expires_in)))


def test_what_is_left_is_counted_from_when_it_was_asked_for():
    """Down, not up: a token has never less life than is said."""
    life = Life.build(START, 3600, margin=0.1)

    assert [3600, 3599, 3599, 1] == [life.remaining(later(s)) for s in (0, 0.1, 1, 3598.5)]


def test_a_very_long_life_is_kept_for_a_day():
    """What is said of it stays true."""
    life = Life.build(START, 10 * LONGEST, margin=0.1)

    assert 9 * LONGEST < life.remaining(later(LONGEST - 1))
    assert 0 == life.remaining(later(LONGEST))


@given(
    expires_in=st.integers(1, 10**6),
    elapsed=st.floats(0, 2 * 10**6),
    step=st.floats(-(10**7), 10**7),
    suspended=st.booleans(),
)
def test_no_step_of_a_clock_lengthens_a_life(expires_in, elapsed, step, suspended):
    """The wall clock is set, or the machine sleeps: what is left is never more than the truth."""
    # ``elapsed`` is the truth. One clock misses it; two at the same moment no machine can tell.
    seen = later(0.0, elapsed) if suspended else later(elapsed, elapsed + step)
    remaining = Life.build(START, expires_in, margin=0.1).remaining(seen)

    assert 0 <= remaining <= max(0.0, expires_in - elapsed)


@given(steps=st.lists(st.floats(-(10**6), 10**6), max_size=8), expires_in=st.integers(1, 10**5))
def test_whatever_clocks_show_it_is_a_whole_number_within_bounds(steps, expires_in):
    """From none to what was said at first."""
    life = Life.build(START, expires_in, margin=0.1)
    for step in steps:
        assert 0 <= life.remaining(later(abs(step), step)) <= expires_in
