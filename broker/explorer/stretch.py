"""Which stretches of time a timeline has: as many as fit, as long as people count in."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from broker.audit.counts import Counts
from broker.explorer.timeline import Bucket

_OUTCOMES: Final = ("issued", "refused", "done")
MOST: Final = 80  # stretches
_STEPS: Final = tuple(
    timedelta(seconds=one)
    for one in (
        *(1, 5, 15, 60, 300, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600),
        *(days * 86400 for days in (1, 2, 7, 14, 28, 91, 364)),
    )
)


def choose_step(since: datetime, until: datetime) -> timedelta:
    """Return how long each is, so that there are at most ``MOST``, or one more."""
    span = until - since
    for step in _STEPS:
        if span <= step * MOST:
            return step
    return timedelta(days=364) * -(-span // (timedelta(days=364) * MOST))


def choose_origin(since: datetime, step: timedelta, zone: ZoneInfo) -> datetime:
    """Return where the first begins: not after ``since``, where a clock of the zone is round."""
    midnight = since.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (since - midnight) // step * step


def build_buckets(
    counts: Counts, origin: datetime, until: datetime, step: timedelta
) -> Sequence[Bucket]:
    """Return the stretches from ``origin`` to ``until``, those without rows as well."""
    found: dict[datetime, dict[str, int]] = {}
    for one in counts.counts:
        # What the database holds for an outcome that there is not is still a row.
        outcome = one.outcome if one.outcome in _OUTCOMES else _OUTCOMES[-1]
        counted = found.setdefault(one.start, dict.fromkeys(_OUTCOMES, 0))
        counted[outcome] += one.rows
    number = max(1, -(-(until - origin) // step))
    return [
        Bucket(start, start + step, **found.get(start, {}))
        for start in (origin + index * step for index in range(number))
    ]
