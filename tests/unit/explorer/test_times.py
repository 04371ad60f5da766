"""Times as auditors write and read them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

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
