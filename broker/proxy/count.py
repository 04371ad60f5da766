"""How often kept tokens are used: in metrics at once, in the audit trail once a minute.

A row for each of a thousand uses a second would fill a table that nobody can empty, and say less
than their number. Memory is bounded by the combinations that the proxy serves in a minute.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

from broker.audit.commit import AuditTrail
from broker.audit.proxied import Label
from broker.errors import CommitRejected

INTERVAL: Final = 60.0  # seconds
MAX_LABELS: Final = 10_000  # of one interval; further ones are counted as one
OTHERS: Final[Label] = ("", "", "")


class HitCounter:
    """Counts, and hands the counts to the trail."""

    def __init__(self, trail: AuditTrail, clock: Callable[[], datetime]) -> None:
        self._trail = trail
        self._clock = clock
        self._since: datetime | None = None
        self._hits: Counter[Label] = Counter()

    def count(self, label: Label) -> None:
        """Count one use."""
        if self._since is None:
            self._since = self._clock()
        if label not in self._hits and len(self._hits) >= MAX_LABELS:
            label = OTHERS
        self._hits[label] += 1

    async def run(self, stop: asyncio.Event) -> None:
        """Record once an interval, and a last time at the end. To be ended before the writer."""
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), INTERVAL)
            await self.summarise()

    async def summarise(self) -> None:
        """Record what was counted up to now; while that is impossible, keep it."""
        hits, since = self._hits, self._since
        if since is None:
            return
        self._hits, self._since = Counter(), None
        try:
            await self._trail.record_hits(hits, since=since)
        except CommitRejected:
            self._hits.update(hits)
            self._since = since
