"""Looks through the sealed trail as it grows, and has on record what the rules find.

What holds, however often this is interrupted, and however many brokers do it:

(1) an alert is on record before the place is moved past the rows that made it: none is lost;
(2) it is there once: its id says which rule, client and day it is, whoever writes looks for it
    first, and of all processes one looks at a time (``broker.audit.cursor``);
(3) no exchange waits for it: what it reads is sealed already, it reads over a connection of its
    own, and it rests four times as long as the process worked meanwhile.

What is usual is kept in the database, every ten minutes and at the end; whoever takes over goes on
from there. Where nothing is kept it is read anew: the last ``LOOKBACK`` before the place.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import monotonic, thread_time
from typing import Final, Protocol

from broker.audit.cursor import Cursor, CursorBusy
from broker.audit.detect.alert import Alert
from broker.audit.detect.engine import Engine, Found
from broker.audit.detect.kept import Forgotten, Kept
from broker.audit.detect.past import Past
from broker.audit.follow import Followed, Follower, Gap
from broker.audit.query import CannotRead
from broker.errors import CommitRejected

_LOOK: Final = 1.0  # seconds between two looks for what is new
_BUSY: Final = 5.0  # seconds between two looks whether another process has gone
_LONGEST_PAUSE: Final = 60.0  # seconds after a failure
_REST: Final = 4.0  # times as long as this thread computed, for whomever, while a chunk was seen
_AT_ONCE: Final = 8  # rows before whoever else is on this loop has a turn
_KEEP: Final = 600.0  # seconds between two times that what is remembered is kept


class Health(Protocol):
    """Whoever is told how it fares."""

    def primes(self) -> None:
        """Hear that it learns what is usual, as long as it does."""

    def unkept(self, text: str) -> None:
        """Hear that what it remembers cannot be kept, or used again, and why."""

    def found(self, found: Found) -> None:
        """Hear of an alert that is on record, or suppressed."""

    def seen(self, chunk: Followed) -> None:
        """Hear how far it has come."""

    def missing(self, gap: Gap) -> None:
        """Hear of what should be in the trail and is not."""

    def idle(self) -> None:
        """Hear that it has seen all that is sealed."""

    def waits(self) -> None:
        """Hear that another process looks."""

    def failed(self, text: str) -> None:
        """Hear what is wrong; it is tried again."""


class Detection:
    """``run`` for as long as the process lives."""

    def __init__(
        self,
        *,
        follower: Follower,
        cursor: Cursor,
        past: Past,
        kept: Kept,
        build_engine: Callable[[], Engine],
        record: Callable[[Alert], Awaitable[None]],
        health: Health,
        look: float = _LOOK,
        rest: float = _REST,
        keep: float = _KEEP,
    ) -> None:
        self._follower = follower
        self._cursor = cursor
        self._past = past
        self._build_engine = build_engine
        self._record = record
        self._health = health
        self._look = look
        self._rest = rest
        self._kept = kept
        self._keep_every = keep
        self._keep_next = 0.0
        self._kept_place = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Look until ``stop`` is set, whatever fails; where another process does, wait for it."""
        pause = 1.0
        while not stop.is_set():
            wait = _BUSY
            try:
                await self.watch(stop)
                pause = 1.0
            except CursorBusy:
                self._health.waits()
            except Exception as error:  # noqa: BLE001 — the edge of a part that never ends
                wait = pause * random.uniform(0.5, 1)  # noqa: S311 — many do not come back at once
                pause = min(2 * pause, _LONGEST_PAUSE)
                self._health.failed(_said(error))
            await _stopped(stop, wait)

    async def watch(self, stop: asyncio.Event, *, once: bool = False) -> None:
        """Look until ``stop`` is set; ``once``: through what is sealed now.

        Raises ``CannotRead``, or ``CommitRejected`` where an alert cannot be recorded.
        """
        try:
            position = await self._take()
            engine, place = await self._remember(position)
            self._kept_place, self._keep_next = place, monotonic() + self._keep_every
            while not stop.is_set():
                began = thread_time()
                chunk = await self._follower.read(place)
                if chunk is not None:
                    await self._see(engine, chunk, position)
                    place = chunk.next_position
                    await _stopped(stop, self._rest * (thread_time() - began))
                    if monotonic() >= self._keep_next:
                        await self._keep(engine, place)
                    continue
                self._health.idle()
                if once or await _stopped(stop, self._look):
                    break
            await self._keep(engine, place)
        finally:
            await self._follower.aclose()
            await self._cursor.aclose()

    async def _remember(self, position: int) -> tuple[Engine, int]:
        """Return what knows what is usual at a place that is at most this one, and the place."""
        engine = self._build_engine()
        try:
            place = await self._kept.load(engine, position)
        except Forgotten as error:
            self._health.unkept(str(error))
            engine, place = self._build_engine(), None
        return engine, await self._past.begin(position) if place is None else place

    async def _keep(self, engine: Engine, place: int) -> None:
        self._keep_next = monotonic() + self._keep_every
        if place == self._kept_place:
            return
        try:
            await self._kept.save(engine, place)
            self._kept_place = place
        except CannotRead as error:
            self._health.unkept(str(error))  # it looks all the same

    async def _take(self) -> int:
        position = await self._cursor.take()
        if position is None:
            # What was before nobody is woken for; `broker audit detect` shows it.
            position = await self._follower.size()
            await self._cursor.move(position)
        return position

    async def _see(self, engine: Engine, chunk: Followed, position: int) -> None:
        found: list[Found] = []
        for first in range(0, len(chunk.rows), _AT_ONCE):
            found += engine.feed(chunk.rows[first : first + _AT_ONCE])
            await asyncio.sleep(0)
        if chunk.next_position <= position:
            # Seen before: this is for what is usual, and the alerts are on record.
            self._health.primes()
            return
        # It may begin before the place; what alerts are of there, are on record as well.
        await self._tell(found)
        for gap in chunk.gaps:
            self._health.missing(gap)
        await self._cursor.move(chunk.next_position)
        self._health.seen(chunk)

    async def _tell(self, found: Sequence[Found]) -> None:
        known = await self._past.known([one.alert.id for one in found])
        for one in found:
            if one.suppressed is None and one.alert.id not in known:
                await self._record(one.alert)
            if one.alert.id not in known:
                self._health.found(one)


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Return whether ``stop`` was set within so many seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()


def _said(error: Exception) -> str:
    # The text of ours only: what a library says may quote values.
    return str(error) if isinstance(error, CannotRead | CommitRejected) else type(error).__name__
