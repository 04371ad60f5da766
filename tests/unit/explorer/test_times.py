"""Times as auditors write and read them."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.explorer.times import find_zone, parse_moment, show_age, show_moment

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", datetime(2026, 11, 26, 12, tzinfo=UTC)),
        ("30d", datetime(2026, 10, 28, 12, tzinfo=UTC)),
        ("2026-11-24", datetime(2026, 11, 23, 23, tzinfo=UTC)),
        ("2026-11-24 12:00", datetime(2026, 11, 24, 11, tzinfo=UTC)),
        ("2026-11-24T12:00:00Z", datetime(2026, 11, 24, 12, tzinfo=UTC)),
        ("2026-11-24T12:00:00+05:45", datetime(2026, 11, 24, 6, 15, tzinfo=UTC)),
        ("2026-07-01 12:00", datetime(2026, 7, 1, 10, tzinfo=UTC)),
    ],
)
def test_a_time_is_of_the_zone_unless_it_says_otherwise(text, expected):
    """Also a day, which begins at midnight there, and half a year away."""
    assert expected == parse_moment(text, BERLIN, NOW)


@pytest.mark.parametrize(
    "text", ["", "now", "24", "-1h", "1e9d", "999999999d", "0001-01-01", "9999-12-31", "1969-12-31"]
)
def test_what_is_no_time_is_refused(text):
    """With what to write instead."""
    with pytest.raises(ValueError, match="write"):
        parse_moment(text, BERLIN, NOW)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "2026-10-25 02:30",
            "in Europe/Berlin that was twice;"
            " write 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00",
            id="put-back",
        ),
        pytest.param(
            "2026-03-29T02:30",
            "clocks in Europe/Berlin were put forward past that; write another time",
            id="put-forward",
        ),
    ],
)
def test_a_time_that_clocks_showed_twice_or_never_is_told(text, said):
    """An hour too much or too little would be another answer, and look like this one."""
    with pytest.raises(ValueError, match=r"write") as refused:
        parse_moment(text, BERLIN, NOW)

    assert said == str(refused.value)


@pytest.mark.parametrize("text", ["2026-10-25 01:59:59", "2026-10-25 03:00", "2026-03-29 03:00"])
def test_a_time_beside_such_an_hour_is_there_once(text):
    """Only the hour itself is in doubt."""
    assert (
        text
        == f"{parse_moment(text, BERLIN, NOW).astimezone(BERLIN):%Y-%m-%d %H:%M:%S}"[: len(text)]
    )


@given(st.integers(-(10**7), 10**7).map(lambda minutes: NOW + timedelta(minutes=minutes)))
def test_what_is_understood_is_what_clocks_showed(at):
    """Whatever the day: no time is taken for another."""
    clock = f"{at.astimezone(BERLIN):%Y-%m-%d %H:%M}"
    with suppress(ValueError):  # for the hours in doubt
        assert clock == f"{parse_moment(clock, BERLIN, NOW).astimezone(BERLIN):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("UTC", True),
        ("Europe/Berlin", True),
        ("America/Argentina/Buenos_Aires", True),
        ("Etc/GMT+5", True),
        ("", False),
        ("Nowhere/Land", False),
        ("../../etc/passwd", False),
        ("/etc/localtime", False),
        ("Europe/", False),
        ("Europe", False),
        ("a" * 100, False),
        ("UTC\0", False),
    ],
)
def test_a_zone_is_one_that_this_machine_knows(name, known):
    """And never a path."""
    assert known == (find_zone(name) is not None)


def test_a_moment_is_shown_in_its_zone():
    """By the clock on the wall there."""
    assert "2026-11-27 13:00:00" == show_moment(NOW, BERLIN)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=0), "0 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(seconds=60), "1 min"),
        (timedelta(seconds=3725), "1 h 2 min"),
        (timedelta(days=2, seconds=61), "2 d"),
        (timedelta(days=2, hours=5, minutes=7), "2 d 5 h"),
    ],
)
def test_an_age_is_told_by_its_two_largest_units(age, expected):
    """More of it would only look exact."""
    assert expected == show_age(age)
