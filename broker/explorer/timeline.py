"""When it happened: one bar for each stretch of time, issued above refused above done.

SVG inside the page like the tree. Each bar is a link to its stretch, and says its numbers in words.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from math import ceil, log10
from statistics import median
from typing import Final

from markupsafe import Markup

WIDTH: Final = 960  # all of these are pixels
HEIGHT: Final = 150
_LEFT: Final = 48  # of the bars: there stands how many
_TOP: Final = 10
_FLOOR: Final = HEIGHT - 26  # below the bars: there stands when
_GAP: Final = 2  # between bars
_LEAST: Final = 2.0  # high is what there is any of at all
_TICKS: Final = 8  # labels of the time, at most
_STEEP: Final = 100  # times the usual bar; higher than that, the others would not be seen
_SHIFT: Final = timedelta(hours=3)  # by which clocks on the wall are put on or back, at most
_STEPS: Final = tuple(
    timedelta(seconds=one)
    for one in (
        *(1, 5, 15, 30, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600),
        *(days * 86400 for days in (1, 2, 7, 14, 28, 91, 182, 364, 3640, 36400, 364000)),
    )
)

# Stripes for what was refused: it is told from what was issued without its colour, too.
_HATCH: Final = Markup(
    '<defs><pattern id="timeline-hatch" width="5" height="5" patternUnits="userSpaceOnUse"'
    ' patternTransform="rotate(45)"><path class="hatch" d="M1.7 0V5"/></pattern></defs>'
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many rows of each outcome there are in a stretch of time; ``end`` is not in it."""

    start: datetime
    end: datetime
    issued: int = 0
    refused: int = 0
    done: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.issued + self.refused + self.done


@dataclass(frozen=True, slots=True)
class _Scale:
    """How high a number is: linear, or logarithmic where one bar would hide all others."""

    top: int
    steep: bool

    def height(self, total: int) -> float:
        share = log10(1 + total) / log10(1 + self.top) if self.steep else total / self.top
        return share * (_FLOOR - _TOP)


def draw_timeline(
    buckets: Sequence[Bucket], *, href: Callable[[Bucket], str], zone: tzinfo = UTC
) -> Markup:
    """Return the picture of buckets that follow one another, with labels in ``zone``.

    ``href`` says where a bar leads. Nothing is drawn for a bucket without rows.
    """
    scale = _build_scale([bucket.total for bucket in buckets])
    total, refused = sum(b.total for b in buckets), sum(b.refused for b in buckets)
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="timeline" role="group"'
        ' aria-labelledby="timeline-title timeline-desc"'
        ' viewBox="0 0 {width} {height}"><title id="timeline-title">When it happened</title>'
        '<desc id="timeline-desc">{desc}</desc>{hatch}<g aria-hidden="true">{axes}</g>{bars}</svg>'
    ).format(
        width=WIDTH,
        height=HEIGHT,
        desc=f"{total} rows, {refused} refused, in {len(buckets)} stretches of time. Times are in"
        f" {zone}.{' The scale is logarithmic.' if scale.steep else ''}",
        hatch=_HATCH,
        axes=_counts(scale) + _times(buckets, zone),
        bars=Markup("").join(_bars(buckets, scale, href, zone)),
    )


def _build_scale(totals: Sequence[int]) -> _Scale:
    there = [total for total in totals if total]
    if not there:
        return _Scale(1, steep=False)
    steep = max(there) > _STEEP * median(there)
    # The next round number, so that the label at the top is one.
    unit = 10 ** max(0, len(str(max(there))) - 1)
    top = unit * 10 if steep else unit * ceil(max(there) / unit)
    # An even one, as its half stands beside it.
    return _Scale(top + 1 if 1 < top < 10 and top % 2 else top, steep)


def _counts(scale: _Scale) -> Markup:
    """Return the lines at the top and in the middle, and how many rows they stand for."""
    middle = 10 ** (len(str(scale.top)) // 2) if scale.steep else scale.top // 2
    marks = dict.fromkeys(number for number in (0, middle, scale.top) if number or not scale.steep)
    lines = []
    for number in marks:
        y = _number(_FLOOR - scale.height(number))
        lines.append(
            Markup(
                '<path class="line" d="M{} {}H{}"/><text x="{}" y="{}" text-anchor="end" dy="4">'
                "{}</text>"
            ).format(_LEFT, y, WIDTH, _LEFT - 6, y, _short(number))
        )
    if scale.steep:
        lines.append(Markup('<text x="{}" y="{}">log</text>').format(2, _FLOOR))
    return Markup("").join(lines)


def _bars(
    buckets: Sequence[Bucket], scale: _Scale, href: Callable[[Bucket], str], zone: tzinfo
) -> Iterator[Markup]:
    wide = (WIDTH - _LEFT) / max(1, len(buckets))
    for number, bucket in enumerate(buckets):
        if not bucket.total:
            continue
        x = _LEFT + number * wide
        yield Markup(
            '<a href="{}"><title>{}</title>'
            '<rect class="reach" x="{}" y="{}" width="{}" height="{}"/>{}</a>'
        ).format(
            href(bucket),
            _words(bucket, zone),
            _number(x),
            _TOP,
            _number(wide),
            _FLOOR - _TOP,
            _bar(bucket, scale, x, max(1.0, wide - _GAP)),
        )


def _bar(bucket: Bucket, scale: _Scale, x: float, wide: float) -> Markup:
    """Return the parts of a bar, from the floor upwards; what there is one of is seen as well."""
    parts, y = [], float(_FLOOR)
    whole = scale.height(bucket.total)
    for name, count in (
        ("done", bucket.done),
        ("refused", bucket.refused),
        ("issued", bucket.issued),
    ):
        if not count:
            continue
        high = max(_LEAST, whole * count / bucket.total)
        y -= high
        parts.append(
            Markup('<rect class="{}"{} x="{}" y="{}" width="{}" height="{}"/>').format(
                name,
                Markup(' fill="url(#timeline-hatch)"') if name == "refused" else "",
                _number(x),
                _number(y),
                _number(wide),
                _number(high),
            )
        )
    return Markup("").join(parts)


def _words(bucket: Bucket, zone: tzinfo) -> str:
    start, end = bucket.start.astimezone(zone), bucket.end.astimezone(zone)
    until = f"{end:%H:%M:%S}" if start.date() == end.date() else f"{end:%Y-%m-%d %H:%M:%S}"
    counts = [
        f"{count} {name}"
        for name, count in (
            ("issued", bucket.issued),
            ("refused", bucket.refused),
            ("done", bucket.done),
        )
        if count
    ]
    return f"{start:%Y-%m-%d %H:%M:%S} to {until}: {', '.join(counts)}"


def _times(buckets: Sequence[Bucket], zone: tzinfo) -> Markup:
    """Return the labels below: round times of the zone, each where it is."""
    if not buckets:
        return Markup("")
    start, end = buckets[0].start, buckets[-1].end
    labels = []
    for at, text in _ticks(start, end, zone):
        x = _LEFT + (WIDTH - _LEFT) * ((at - start) / (end - start))
        anchor = "start" if x < _LEFT + 30 else "end" if x > WIDTH - 30 else "middle"
        labels.append(
            Markup(
                '<path class="tick" d="M{} {}v4"/><text x="{}" y="{}" text-anchor="{}">{}</text>'
            ).format(_number(x), _FLOOR, _number(x), HEIGHT - 8, anchor, text)
        )
    return Markup("").join(labels)


def _ticks(start: datetime, end: datetime, zone: tzinfo) -> Iterator[tuple[datetime, str]]:
    """Yield the round times of a zone within a span, with what to write of each."""
    step = next((one for one in _STEPS if (end - start) / one <= _TICKS), _STEPS[-1])
    days = max(1, step // timedelta(days=1))
    day = start.astimezone(zone).date()
    day -= timedelta(days=day.toordinal() % days)
    written = None
    while (midnight := datetime.combine(day, time(), zone)) < end:
        first = max(0, (start - midnight - _SHIFT) // step)
        for number in range(first, max(1, timedelta(days=1) // step)):
            # By the clock on the wall: where a day has 23 hours, noon is noon all the same.
            wanted = midnight + number * step
            at = wanted.astimezone(UTC)
            if at >= end:
                break
            wall = at.astimezone(zone)
            if start <= at and wall.replace(tzinfo=None) == wanted.replace(tzinfo=None):
                yield at, _label(wall, step, written)
                written = day
        day += timedelta(days=days)


def _label(wall: datetime, step: timedelta, written: object) -> str:
    if step >= timedelta(days=1):
        return f"{wall:%Y-%m-%d}"
    clock = f"{wall:%H:%M}" if step >= timedelta(minutes=1) else f"{wall:%H:%M:%S}"
    return clock if written == wall.date() else f"{wall:%b %-d}, {clock}"


def _short(number: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return str(number)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
