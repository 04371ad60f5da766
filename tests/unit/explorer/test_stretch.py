"""How a span of time is cut into stretches."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.counts import Count, Counts
from broker.explorer.stretch import MOST, build_buckets, choose_origin, choose_step
from broker.explorer.timeline import Bucket

SINCE = datetime(2026, 11, 24, 9, 14, 3, tzinfo=UTC)
KATHMANDU = ZoneInfo("Asia/Kathmandu")


@pytest.mark.parametrize(
    ("span", "step"),
    [
        (timedelta(seconds=1), timedelta(seconds=1)),
        (timedelta(hours=1), timedelta(minutes=1)),
        (timedelta(days=1), timedelta(minutes=30)),
        (timedelta(days=30), timedelta(hours=12)),
        (timedelta(days=400), timedelta(days=7)),
        (timedelta(days=365 * 2000), timedelta(days=364 * 26)),
    ],
)
def test_a_stretch_is_as_long_as_people_count_in(span, step):
    """A minute of an hour, half an hour of a day."""
    assert step == choose_step(SINCE, SINCE + span)


@given(
    st.timedeltas(timedelta(0), timedelta(days=365 * 100)).map(SINCE.__add__),
    st.timedeltas(timedelta(seconds=1), timedelta(days=365 * 100)),
)
def test_stretches_cover_the_span_and_are_bounded(since, span):
    """Whatever somebody asks for, the picture has about as many bars."""
    step = choose_step(since, since + span)
    origin = choose_origin(since, step, KATHMANDU)
    buckets = build_buckets(Counts([], 1.0), origin, since + span, step)

    assert buckets[0].start <= since < buckets[0].end
    assert buckets[-1].start < since + span <= buckets[-1].end
    assert len(buckets) <= MOST + 1
    assert all(one.end == two.start for one, two in pairwise(buckets))


def test_the_first_begins_where_a_clock_of_the_zone_is_round():
    """Days begin at midnight there, and not in Greenwich."""
    origin = choose_origin(SINCE, timedelta(days=1), KATHMANDU)

    assert datetime(2026, 11, 23, 18, 15, tzinfo=UTC) == origin.astimezone(UTC)


def test_counts_come_into_their_stretch():
    """By the time at which it begins, whatever zone that is written in."""
    step = timedelta(hours=1)
    origin = datetime(2026, 11, 24, 14, tzinfo=KATHMANDU)
    second = (origin + step).astimezone(UTC)
    counts = Counts([Count(second, "issued", 3), Count(second, "refused", 2)], 1.0)

    assert [
        Bucket(origin, origin + step),
        Bucket(origin + step, origin + 2 * step, issued=3, refused=2),
    ] == build_buckets(counts, origin, origin + 2 * step, step)
