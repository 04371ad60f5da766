"""Who is turned away before a request is even read: a source that floods, or all when it is full.

It costs the broker some microseconds, and no row of its own in the trail: what is turned away here
is counted there once a minute.
"""

from collections.abc import Callable
from datetime import datetime
from math import ceil
from typing import Final

from broker.domain import source_network
from broker.errors import LimitReached, LimitRejected, Reason
from broker.limits.buckets import Buckets
from broker.limits.turns import Turns
from broker.settings import Rate
from broker.telemetry import meter

_MAX_SOURCES: Final = 20_000  # some 4 MB; the least recently used go first

_turned_away = meter.create_counter(
    "broker.requests.turned_away",
    unit="1",
    description="Requests refused before they were read, by reason.",
)


class Admission:
    """The door of one process."""

    def __init__(
        self,
        rate: Rate,
        turns: Turns,
        *,
        waiting: int,
        count: Callable[[str, Reason], None],
        previous: "Admission | None" = None,
    ) -> None:
        """Nobody is let in while ``waiting`` or more wait for their turn.

        ``count`` is told the source and the reason of whatever is turned away. What ``previous``
        has counted goes on where the rate is the same.
        """
        self._rate = rate
        self._turns = turns
        self._waiting = waiting
        self._count = count
        self._sources: Buckets[str] = (
            previous._sources  # noqa: SLF001 — of the same class
            if previous is not None and previous._rate == rate  # noqa: SLF001 — likewise
            else Buckets[str](rate.count, rate.per.total_seconds(), _MAX_SOURCES)
        )

    def admit(self, source: str, now: datetime) -> None:
        """Let a request in. Raises ``LimitRejected``: ``limit.source``, ``limit.overloaded``."""
        if len(self._turns) >= self._waiting:
            raise self._turn_away(source, Reason.LIMIT_OVERLOADED, None)
        wait = self._sources.spend(source_network(source), now.timestamp())
        if wait > 0:
            window = ceil(self._rate.per.total_seconds())
            reached = LimitReached("source", self._rate.count, window, ceil(wait))
            raise self._turn_away(source, Reason.LIMIT_SOURCE, reached)

    def __len__(self) -> int:
        """Return how many sources are remembered."""
        return len(self._sources)

    def _turn_away(
        self, source: str, reason: Reason, reached: LimitReached | None
    ) -> LimitRejected:
        _turned_away.add(1, {"reason": reason.value})
        self._count(source, reason)
        return LimitRejected(reason, reached)
