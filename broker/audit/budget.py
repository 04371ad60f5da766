"""Which refusals before authentication get a row of their own.

Anyone can cause them, and no row can be deleted. So in each interval a source has so many rows,
and all sources together ten times as many; what is beyond is counted, by reason, and the counts
become one row. Memory is bounded by the rows that the interval allows.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from broker.domain import source_network
from broker.errors import Reason

ALL_SOURCES: Final = 10  # times what one source has
_NAMED: Final = 20  # sources that a summary names; the rest are in its total


@dataclass(slots=True)
class Counted:
    """What was refused without a row of its own since a time."""

    since: datetime
    counts: Counter[str] = field(default_factory=Counter)  # by reason
    sources: Counter[str] = field(default_factory=Counter)  # of those that had rows before


class RefusalBudget:
    """Rows of refusals that sources have left in the present interval."""

    def __init__(self, *, rows: int = 20, per: timedelta = timedelta(minutes=1)) -> None:
        self._rows = rows
        self._all = rows * ALL_SOURCES
        self._per = per
        self._began: datetime | None = None
        self._used: Counter[str] = Counter()
        self._used_by_all = 0
        self._counted: Counted | None = None

    @property
    def per(self) -> timedelta:
        """The length of an interval."""
        return self._per

    def spend(self, source: str, reason: Reason, now: datetime) -> bool:
        """Return whether this refusal gets its row; if not, it has been counted."""
        # A clock that steps back begins a new interval, rather than never another one.
        if self._began is None or not timedelta() <= now - self._began < self._per:
            self._began = now
            self._used.clear()
            self._used_by_all = 0
        network = source_network(source)
        if self._used_by_all < self._all and self._used[network] < self._rows:
            self._used[network] += 1
            self._used_by_all += 1
            return True
        self.count(source, reason, now)
        return False

    def count(self, source: str, reason: Reason, now: datetime) -> None:
        """Count a refusal that gets no row of its own in any case."""
        if self._counted is None:
            self._counted = Counted(now)
        self._counted.counts[reason.value] += 1
        network = source_network(source)
        if network in self._used:
            self._counted.sources[network] += 1

    def take_counted(self) -> Counted | None:
        """Return what was counted since the last time; None: nothing."""
        counted, self._counted = self._counted, None
        if counted is not None:
            counted.sources = Counter(dict(counted.sources.most_common(_NAMED)))
        return counted

    def put_back(self, counted: Counted) -> None:
        """Keep what could not be recorded for the next time."""
        if self._counted is not None:
            counted.counts.update(self._counted.counts)
            counted.sources.update(self._counted.sources)
        self._counted = counted
