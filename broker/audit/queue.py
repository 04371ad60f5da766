"""Rows that wait for their commit: bounded in number and bytes, each for a bounded time."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from broker.audit.event import Event
from broker.audit.store import Claim
from broker.domain import Reference

MAX_ROWS: Final = 4096
MAX_BYTES: Final = 64 * 1024 * 1024  # of records
MAX_BATCH_ROWS: Final = 1024
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024


class AuditUnavailable(Exception):  # noqa: N818 — a state, answered with 503
    """The row is not known to be durable, and nothing that depends on it may leave."""


class AlreadyClaimed(Exception):  # noqa: N818 — somebody else was first
    """A one-time claim of the event was made before, so the event was not recorded."""

    def __init__(self, keys: frozenset[bytes]) -> None:
        super().__init__("a one-time claim was made before")
        self.keys = keys


class Entry:
    """An event and whoever waits for it. Nobody waits any more: it is not worth committing."""

    __slots__ = ("claims", "done", "event", "references")

    def __init__(
        self, event: Event, claims: Sequence[Claim] = (), references: Sequence[Reference] = ()
    ) -> None:
        self.event = event
        self.claims = claims
        self.references = references
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def succeed(self) -> None:
        """Tell the waiter that its row is durable."""
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """Tell the waiter that nothing may leave."""
        if not self.done.done():
            self.done.set_exception(error)
            # A waiter that was cancelled in the same moment does not fetch it.
            self.done.exception()

    def expire(self) -> None:
        """Tell the waiter that its time is over. The row may still become durable."""
        self.fail(AuditUnavailable("the deadline has passed"))


class Backlog:
    """First in, first out. Full is an error at once: waiting for room would only hide it."""

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._max_rows = max_rows
        self._entries: deque[Entry] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Entry) -> None:
        """Add to the end; raises ``AuditUnavailable`` if there is no room."""
        if self._is_full():
            self._drop_abandoned()
            if self._is_full():
                raise AuditUnavailable("too many rows wait already")
        self._entries.append(entry)
        self._bytes += len(entry.event.record)

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Return to the front what was taken and is known not to be committed."""
        self._entries.extendleft(reversed(entries))
        self._bytes += sum(len(entry.event.record) for entry in entries)

    def take(self, limit: int) -> list[Entry]:
        """Return up to ``limit`` of what waits, in bounded bytes, and no claim twice in it."""
        taken: list[Entry] = []
        size = 0
        claimed: set[bytes] = set()
        while self._entries and len(taken) < limit:
            entry = self._entries[0]
            keys = {key for key, _ in entry.claims}
            # Whoever comes second finds the claim taken, in the next batch.
            if taken and (size > MAX_BATCH_BYTES or not claimed.isdisjoint(keys)):
                break
            self._entries.popleft()
            self._bytes -= len(entry.event.record)
            if not entry.done.done():
                taken.append(entry)
                size += len(entry.event.record)
                claimed |= keys
        return taken

    def fail_all(self, error: Exception) -> None:
        """Tell everybody that waits that nothing may leave."""
        for entry in self.take(len(self._entries)):
            entry.fail(error)

    def _is_full(self) -> bool:
        return len(self._entries) >= self._max_rows or self._bytes >= MAX_BYTES

    def _drop_abandoned(self) -> None:
        # The deadline is one for all, so the oldest are the first to be given up.
        while self._entries and self._entries[0].done.done():
            self._bytes -= len(self._entries.popleft().event.record)
