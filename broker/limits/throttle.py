"""How often a client may fail to authenticate. RFC 6749 §2.3.1, RFC 6819 §4.4.3.6.

Who is slowed down, and who never is:

(1) *a client from one source*, after ``count`` failures in ``per``. Guessing is bounded, and a
    flood against one client leaves every other one alone;
(2) *a source*, after ten times as many failures over all client ids, so that trying a new id each
    time is no way around (1). A client that has authenticated from this source before is exempt:
    a bad neighbour behind the same address cannot shut it out;
(3) never *a client as such*. Whoever knows its id could fail in its name from anywhere and lock
    the real one out, and there is nothing to gain: secrets have 256 random bits.

Success is refused too while (1) or (2) holds; otherwise a guess would still be worth its answer.
Unknown ids are counted like known ones, so the limit tells nobody which exist. All of it is in the
memory of one process, bounded, and forgotten with it: n processes allow n times as much.
"""

from datetime import datetime
from math import ceil
from typing import Final

from broker.domain import source_network
from broker.limits.buckets import Buckets
from broker.settings import Rate

SOURCE_FACTOR: Final = 10  # what a source may fail, over all its clients, for each client's
MAX_ENTRIES: Final = 20_000  # of each kind, about 10 MB in all; the least recently used go first
_MAX_ID: Final = 256  # characters; no configured id is as long


class FailureThrottle:
    """Token buckets for clients at sources and for sources."""

    def __init__(self, rate: Rate, *, max_entries: int = MAX_ENTRIES) -> None:
        seconds = rate.per.total_seconds()
        self._pairs = Buckets[tuple[str, str]](rate.count, seconds, max_entries)
        self._sources = Buckets[str](rate.count * SOURCE_FACTOR, seconds, max_entries)
        # Entered by success alone: nobody can push a real client out by making up ids.
        self._proven: dict[tuple[str, str], None] = {}
        self._max_entries = max_entries

    def check(self, client_id: str, source: str, now: datetime) -> int | None:
        """Return how many seconds this client has to wait at this source; None: not at all."""
        pair = client_id[:_MAX_ID], source_network(source)
        seconds = now.timestamp()
        wait = self._pairs.wait(pair, seconds)
        if pair not in self._proven:
            wait = max(wait, self._sources.wait(pair[1], seconds))
        return ceil(wait) or None

    def failed(self, client_id: str, source: str, now: datetime) -> None:
        """Count a failed authentication."""
        pair = client_id[:_MAX_ID], source_network(source)
        seconds = now.timestamp()
        self._pairs.take(pair, seconds)
        self._sources.take(pair[1], seconds)

    def succeeded(self, client_id: str, source: str) -> None:
        """Remember that this client was at this source. Its failures are not forgiven."""
        pair = client_id[:_MAX_ID], source_network(source)
        self._proven.pop(pair, None)
        self._proven[pair] = None
        if len(self._proven) > self._max_entries:
            del self._proven[next(iter(self._proven))]

    def __len__(self) -> int:
        """Return how much is remembered."""
        return len(self._pairs) + len(self._sources) + len(self._proven)
