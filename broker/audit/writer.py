"""Group commit: one flusher commits whatever has gathered, at once, while the next batch forms.

What holds at any moment, whatever the database or the network does:

(1) who is told that a row is durable, finds it: the COMMIT was answered, or the row was seen;
(2) within a writer ``seq`` and the batches' numbers have no gap and no second use. A batch whose
    outcome is not known is sent again as it is, before anything else, until it is known. A batch
    known to be lost is undone: its rows are numbered anew with whatever else waits;
(3) nobody waits longer than the deadline, from being queued to the commit. A row whose waiter has
    given up may become durable all the same: the trail reports too much, never too little;
(4) nothing is dropped: each waiter is told, and where no row can be had, nothing leaves.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from broker.audit.batch import Batch, seal_batch
from broker.audit.event import Event
from broker.audit.outcome import build_writer
from broker.audit.queue import (
    MAX_BATCH_ROWS,
    MAX_ROWS,
    AlreadyClaimed,
    AuditUnavailable,
    Backlog,
    Entry,
)
from broker.audit.store import BatchStore, Claim, ClaimsTaken, NotCommitted, OutcomeUnknown
from broker.audit.uuid7 import build_uuid7
from broker.db.engine import Database
from broker.domain import Reference
from broker.telemetry import meter

__all__ = ["AlreadyClaimed", "AuditUnavailable", "AuditWriter"]

_log = logging.getLogger(__name__)
_length = meter.create_gauge(
    "broker.audit.queue.length", unit="1", description="Rows that wait when a batch is taken."
)
_flush = meter.create_histogram(
    "broker.audit.flush.duration", unit="s", description="Time of a commit, failed ones included."
)
_size = meter.create_histogram("broker.audit.batch.size", unit="1", description="Rows of a commit.")
_rows = meter.create_counter("broker.audit.rows", unit="1", description="Rows made durable.")
_failures = meter.create_counter(
    "broker.audit.failures", unit="1", description="Failed commits and connections, by cause."
)
_dropped = meter.create_counter(
    "broker.audit.dropped", unit="1", description="Rows given up in silence. There are none."
)

_FIRST_PAUSE: Final = 0.025  # seconds before a connection is tried again, doubled each time
_LONGEST_PAUSE: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Unsettled:
    """A batch that was sent, and of which nothing has been heard."""

    batch: Batch
    entries: list[Entry]


class AuditWriter:
    """The one writer of a process. ``run`` is the flusher; ``append`` is for everybody else."""

    def __init__(
        self,
        database: Database,
        *,
        deadline: timedelta,
        clock: Callable[[], datetime],
        max_queue: int = MAX_ROWS,
    ) -> None:
        self.writer: UUID = uuid4()  # never used again, so no two processes continue one sequence
        self._database = database
        self._deadline = deadline.total_seconds()
        # Longer than anybody waits for it, and short enough to be over soon after the trouble is.
        self._statement_timeout = max(timedelta(seconds=1), 2 * deadline)
        self._clock = clock
        self._backlog = Backlog(max_queue)
        self._wake = asyncio.Event()
        self._store: BatchStore | None = None
        self._last: Batch | None = None
        self._unsettled: _Unsettled | None = None
        self._limit = MAX_BATCH_ROWS  # halved while a row is at fault, until it stands alone
        self._healthy = False
        self._complained = False
        self._closed = False
        _dropped.add(0)

    def __repr__(self) -> str:
        return f"AuditWriter({self.writer}, queued={len(self._backlog)})"

    @property
    def available(self) -> bool:
        """Whether the connection is there and the last commit went through."""
        return self._healthy and self._store is not None and not self._store.closed

    async def append(
        self, event: Event, claims: Sequence[Claim] = (), references: Sequence[Reference] = ()
    ) -> None:
        """Return once the event, its claims and its references are durable, all of them together.

        Raises ``AuditUnavailable`` after the deadline, or at once if too much waits already, and
        ``AlreadyClaimed`` if one of the claims was made before; then none of it is recorded.
        """
        if self._closed:
            raise AuditUnavailable("the writer has stopped")
        entry = Entry(event, claims, references)
        self._backlog.put(entry)
        self._wake.set()
        timer = asyncio.get_running_loop().call_later(self._deadline, entry.expire)
        try:
            await entry.done
        finally:
            timer.cancel()

    async def run(self, stop: asyncio.Event) -> None:
        """Commit what is appended, until ``stop`` is set and the rest is written.

        Connects, and connects again, by itself; a failing database ends nothing here.
        """
        stopping = asyncio.create_task(self._wake_at(stop))
        pause = _FIRST_PAUSE
        try:
            while not stop.is_set():
                if await self._advance():
                    pause = _FIRST_PAUSE
                    continue
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            await self._close()
        finally:
            stopping.cancel()
            self._closed = True
            self._backlog.fail_all(AuditUnavailable("the writer has stopped"))
            self._disconnect()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _advance(self) -> bool:
        """Do the next thing that there is to do; returns whether it went well."""
        store = self._store
        if store is None or store.closed:
            return await self._connect()
        if self._unsettled is not None:
            return await self._send(store, self._unsettled.batch, self._unsettled.entries)
        if self._last is None:
            return await self._commit(store, [self._own("start")])
        _length.set(len(self._backlog))
        entries = self._backlog.take(self._limit)
        if entries:
            return await self._commit(store, entries)
        self._wake.clear()
        if not len(self._backlog):
            await self._wake.wait()
        return True

    async def _connect(self) -> bool:
        self._disconnect()
        try:
            store = await BatchStore.open(self._database, statement_timeout=self._statement_timeout)
        except OSError as error:
            self._failed("connection", error)
            return False
        store.on_loss(lambda _: self._wake.set())
        self._store = store
        return True

    def _disconnect(self) -> None:
        if self._store is not None:
            self._store.terminate()
            self._store = None

    async def _commit(self, store: BatchStore, entries: list[Entry]) -> bool:
        leaves = [entry.event.leaf for entry in entries]
        return await self._send(
            store, seal_batch(self.writer, self._last, leaves, self._clock()), entries
        )

    async def _send(self, store: BatchStore, batch: Batch, entries: list[Entry]) -> bool:
        """Commit the batch, or learn what became of it; returns whether to go on at once."""
        # Until it is known, also if this task is cancelled, nothing else may have its number.
        self._unsettled = _Unsettled(batch, entries)
        began = time.perf_counter()
        try:
            await store.commit(
                batch,
                [entry.event for entry in entries],
                [claim for entry in entries for claim in entry.claims],
                [reference for entry in entries for reference in entry.references],
            )
        except OutcomeUnknown as error:
            self._failed("unknown", error)
            self._disconnect()
            return False
        except ClaimsTaken as taken:
            self._unsettled = None
            self._tell_taken(entries, taken.keys)
            return True
        except NotCommitted as error:
            self._unsettled = None
            self._failed("refused", error)
            return self._undo(entries, fault_of_a_row=error.fault_of_a_row)
        finally:
            _flush.record(time.perf_counter() - began)
        self._unsettled = None
        self._last = batch
        self._limit = min(2 * self._limit, MAX_BATCH_ROWS)
        self._recovered()
        for entry in entries:
            for key in entry.event.keys:
                key.stored = True
            entry.succeed()
        _rows.add(len(entries))
        _size.record(len(entries))
        return True

    def _tell_taken(self, entries: list[Entry], keys: frozenset[bytes]) -> None:
        others = []
        for entry in entries:
            taken = keys & {key for key, _ in entry.claims}
            if taken:
                entry.fail(AlreadyClaimed(taken))
            else:
                others.append(entry)
        self._backlog.put_back(others)

    def _undo(self, entries: list[Entry], *, fault_of_a_row: bool) -> bool:
        """Let the rows of a lost batch be committed after all; returns whether to go on at once."""
        if not fault_of_a_row:
            # Full, read-only or shutting down: this may be another server by the next time.
            self._backlog.put_back(entries)
            self._disconnect()
            return False
        if len(entries) > 1:
            # One row that PostgreSQL does not take must not take the others with it.
            self._backlog.put_back(entries)
            self._limit = len(entries) // 2
            return True
        entries[0].fail(AuditUnavailable("PostgreSQL does not take this row"))
        return self._last is not None

    def _failed(self, cause: str, error: Exception) -> None:
        _failures.add(1, {"cause": cause})
        self._healthy = False
        if not self._complained:
            # Once, not four times a second; what the driver said may quote values, so not that.
            self._complained = True
            name = type(error.__cause__).__name__
            _log.error("the audit trail cannot be written: %s (%s)", error, name)

    def _recovered(self) -> None:
        self._healthy = True
        if self._complained:
            self._complained = False
            _log.info("the audit trail is written again")

    def _own(self, action: str) -> Entry:
        """Return the row that begins, or ends, this writer's sequence."""
        event = build_writer(
            action, str(self.writer), id=build_uuid7(self._clock), at=self._clock()
        )
        return Entry(event)

    async def _close(self) -> None:
        """Write what still waits and the last row, if that is possible within the deadline."""
        ending: Entry | None = None
        with suppress(TimeoutError):
            async with asyncio.timeout(self._deadline):
                while ending is None or not ending.done.done():
                    if ending is None and not len(self._backlog):
                        self._closed = True
                        ending = self._own("stop")
                        self._backlog.put(ending)
                    if not await self._advance():
                        await asyncio.sleep(_FIRST_PAUSE)
        if ending is None or not ending.done.done():
            _log.error("the audit trail could not be closed: its last row is missing")
        if self._store is not None and not self._store.closed:
            await self._store.aclose()
            self._store = None
