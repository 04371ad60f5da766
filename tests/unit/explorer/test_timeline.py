"""The timeline: a bar for each stretch, as high as it should be, and labels where they belong."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.explorer.timeline import HEIGHT, WIDTH, Bucket, draw_timeline

SVG = "{http://www.w3.org/2000/svg}"
LAST = 221_845_392_000  # seconds: the year 9000, where questions end
BEGAN = datetime(2026, 11, 24, 12, tzinfo=UTC)


def follow(*counts, step=timedelta(hours=1), start=BEGAN):
    """Buckets that follow one another."""
    return [
        Bucket(start + number * step, start + (number + 1) * step, *count)
        for number, count in enumerate(counts)
    ]


def draw(buckets, zone=UTC):
    def href(bucket):
        return f"/?since={bucket.start:%H:%M}&until={bucket.end:%H:%M}"

    return ET.fromstring(str(draw_timeline(buckets, href=href, zone=zone)))


def bars(drawn, name):
    return [rect for rect in drawn.iter(f"{SVG}rect") if rect.get("class") == name]


def height(rect):
    return float(rect.get("height"))


def texts(drawn):
    return [text.text for text in drawn.iter(f"{SVG}text")]


def test_each_bar_leads_to_its_stretch_and_says_its_numbers():
    """In words; what has no rows has no bar."""
    drawn = draw(follow((40, 3, 1), (0, 0, 0), (0, 2, 0)), ZoneInfo("Europe/Berlin"))
    links = list(drawn.iter(f"{SVG}a"))

    assert ["/?since=12:00&until=13:00", "/?since=14:00&until=15:00"] == [
        link.get("href") for link in links
    ]
    assert [
        "2026-11-24 13:00:00 to 14:00:00: 40 issued, 3 refused, 1 done",
        "2026-11-24 15:00:00 to 16:00:00: 2 refused",
    ] == [link.find(f"{SVG}title").text for link in links]
    assert (
        "46 rows, 5 refused, in 3 stretches of time. Times are in Europe/Berlin."
        == drawn.find(f"{SVG}desc").text
    )


def test_bars_are_as_high_as_their_numbers():
    """Linear, as long as all of them can be seen."""
    drawn = draw(follow((10,), (20,), (40,)))

    low, middle, high = map(height, bars(drawn, "issued"))
    assert (pytest.approx(2 * low, abs=0.1), pytest.approx(4 * low, abs=0.2)) == (middle, high)
    assert ["0", "20", "40"] == texts(drawn)[:3]


def test_one_refusal_among_very_many_rows_is_seen():
    """It is what somebody looks for."""
    assert [2.0] == [height(bar) for bar in bars(draw(follow((100_000, 1, 0))), "refused")]


def test_where_one_bar_would_hide_all_others_the_scale_is_logarithmic_and_says_so():
    """A storm of requests, and the usual business beside it."""
    drawn = draw(follow((5,), (7,), (100_000,), (6,)))

    assert all(height(bar) > 10 for bar in bars(drawn, "issued"))
    assert "log" in texts(drawn)
    assert "logarithmic" in drawn.find(f"{SVG}desc").text


def test_no_rows_are_an_empty_timeline():
    """Neither without buckets nor with empty ones."""
    assert [] == list(draw([]).iter(f"{SVG}a"))
    assert [] == list(draw(follow((0, 0, 0))).iter(f"{SVG}a"))


COUNTS = st.tuples(*(st.integers(0, 10**9) for _ in range(3)))


@given(st.lists(COUNTS, max_size=60))
def test_nothing_leaves_the_picture(counts):
    """Whatever the numbers are."""
    for rect in draw(follow(*counts)).iter(f"{SVG}rect"):
        x, y, wide = (float(rect.get(name)) for name in ("x", "y", "width"))
        assert x >= 0
        assert x + wide <= WIDTH + 0.2
        assert y >= 0
        assert y + height(rect) <= HEIGHT


@given(
    st.integers(0, LAST),
    st.integers(1, 10**9),
    st.integers(1, 60),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia"]),
)
def test_labels_are_few_and_in_order(start, seconds, count, zone):
    """For any span, from a second to ages, in any zone."""
    step = timedelta(seconds=max(1, min(seconds, (LAST - start) // count)))
    buckets = follow(*[(1,)] * count, step=step, start=datetime.fromtimestamp(start, UTC))
    places = [
        float(text.get("x"))
        for text in draw(buckets, ZoneInfo(zone)).iter(f"{SVG}text")
        if text.get("y") == str(HEIGHT - 8)
    ]

    assert len(places) <= 12
    assert all(one < other for one, other in pairwise(places))


def test_labels_are_round_times_on_the_wall_of_the_zone():
    """Also over the night in which clocks are put back."""
    start = datetime(2026, 10, 24, 12, tzinfo=UTC)
    drawn = draw(follow(*[(1,)] * 48, start=start), ZoneInfo("Europe/Berlin"))

    assert [
        *("Oct 24, 18:00", "Oct 25, 00:00", "06:00", "12:00", "18:00"),
        *("Oct 26, 00:00", "06:00", "12:00"),
    ] == [text for text in texts(drawn) if ":" in text]
