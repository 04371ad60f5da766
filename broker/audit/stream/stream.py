"""A stream: the sealed trail, row by row, to one receiver.

What holds of it:

(1) a row that a checkpoint covers arrives at least once: the place is moved after the receiver has
    what is before it, so whoever is killed in between sends some rows again, and leaves none out;
(2) rows arrive in the order of the log;
(3) of one name one process sends at a time, but for the lot that is under way when its connection
    to the database ends;
(4) it holds two lots of rows and no more: a receiver that takes nothing is waited for, and what is
    new meanwhile waits in the database. Nothing of it is waited for by an exchange.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from broker.audit.cursor import Cursor, CursorBusy
from broker.audit.follow import Followed, Follower, Gap
from broker.audit.query import CannotRead
from broker.audit.stream.message import Message
from broker.audit.stream.render import Renderer
from broker.audit.stream.sink import Sink, Undelivered

Start = Literal["start", "now"] | datetime

_LOOK: Final = 1.0  # seconds between two looks for what is new
_BUSY: Final = 5.0  # seconds between two looks whether another process has gone
_FIRST_PAUSE: Final = 1.0  # seconds after a failure, doubled each time
_LONGEST_PAUSE: Final = 60.0
_GRACE: Final = 5.0  # seconds for what is under way when it is told to stop


class Watcher(Protocol):
    """Whoever is told how a stream fares."""

    def began(self, position: int, size: int) -> None:
        """Hear where in the log it goes on, which has ``size`` batches sealed."""

    def delivered(self, found: Followed, refused: int) -> None:
        """Hear what the receiver has, and how many of these rows it has refused for good."""

    def idle(self) -> None:
        """Hear that the receiver has all that is sealed."""

    def missing(self, gap: Gap) -> None:
        """Hear of what should be in the trail and is not."""

    def failed(self, text: str, wait: float) -> None:
        """Hear what is wrong; it is tried again in ``wait`` seconds."""

    def waits(self) -> None:
        """Hear that another process sends."""


class _Stopped(Exception):  # noqa: N818 — ends a delivery that nobody waits for any more
    pass


def _jitter(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1)  # noqa: S311 — so that many do not come back at once


class Stream:
    """``run`` for as long as the process lives, ``send`` until it is told to end, or for once."""

    def __init__(
        self,
        *,
        follower: Follower,
        cursor: Cursor,
        sink: Sink,
        renderer: Renderer,
        start: Start,
        watcher: Watcher,
        record: Callable[[], Awaitable[None]],
        look: float = _LOOK,
        grace: float = _GRACE,
        rest: float = 0,
    ) -> None:
        """``start``: where a new name begins. ``record``: has it on record that rows leave.

        ``rest``: seconds after each lot in which others have the process to themselves.
        """
        self._follower = follower
        self._cursor = cursor
        self._sink = sink
        self._renderer = renderer
        self._start = start
        self._watcher = watcher
        self._record = record
        self._recorded = False
        self._look = look
        self._grace = grace
        self._rest = rest

    async def run(self, stop: asyncio.Event) -> None:
        """Send until ``stop`` is set, whatever fails; where another process does, wait for it."""
        pause = _FIRST_PAUSE
        try:
            while not stop.is_set():
                wait = _BUSY
                try:
                    await self.send(stop)
                    pause = _FIRST_PAUSE
                except CursorBusy:
                    self._watcher.waits()
                except Exception as error:  # noqa: BLE001 — the edge of a part that never ends
                    wait, pause = _jitter(pause), min(2 * pause, _LONGEST_PAUSE)
                    self._watcher.failed(_said(error), wait)
                await _stopped(stop, wait)
        finally:
            await self._sink.aclose()

    async def send(self, stop: asyncio.Event, *, once: bool = False) -> None:
        """Send until ``stop`` is set; ``once``: what is sealed now, and wait for no receiver.

        Raises ``CannotRead``, and with ``once`` ``Undelivered``.
        """
        try:
            position = await self._take()
            size = await self._follower.size()
            if not self._recorded:
                await self._record()
                self._recorded = True
            self._watcher.began(position, size)

            async def pause() -> bool:
                self._watcher.idle()
                return not (once or await _stopped(stop, self._look))

            async with aclosing(self._follower.follow(position, pause)) as chunks:
                async for found in chunks:
                    await self._pass_on(found, stop, once=once)
                    if stop.is_set() or (once and found.next_position >= size):
                        return
                    await asyncio.sleep(self._rest)
        except _Stopped:
            return
        finally:
            await self._follower.aclose()
            await self._cursor.aclose()

    async def _take(self) -> int:
        position = await self._cursor.take()
        if position is None:
            match self._start:
                case "start":
                    position = 0
                case "now":
                    position = await self._follower.size()
                case datetime():
                    position = await self._follower.place_of(self._start)
            # At once: after a crash, "now" would be later.
            await self._cursor.move(position)
        return position

    async def _pass_on(self, found: Followed, stop: asyncio.Event, *, once: bool) -> None:
        for gap in found.gaps:
            self._watcher.missing(gap)
        messages = await self._renderer.render(found.rows)
        refused = await self._deliver(messages, stop, once=once) if messages else 0
        await self._cursor.move(found.next_position)
        self._watcher.delivered(found, refused)

    async def _deliver(
        self, messages: Sequence[Message], stop: asyncio.Event, *, once: bool
    ) -> int:
        pause = _FIRST_PAUSE
        while True:
            try:
                return await _in_time(self._sink.deliver(messages), stop, self._grace)
            except Undelivered as error:
                if once:
                    raise
                wait = max(_jitter(pause), error.after or 0)
                pause = min(2 * pause, _LONGEST_PAUSE)
                self._watcher.failed(str(error), wait)
            if await _stopped(stop, wait):
                raise _Stopped


async def _in_time(work: Coroutine[Any, Any, int], stop: asyncio.Event, grace: float) -> int:
    """Return what ``work`` does; once ``stop`` is set, it has ``grace``. Raises ``_Stopped``."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=grace)
        if not task.done():
            raise _Stopped
        return task.result()
    finally:
        stopping.cancel()
        task.cancel()


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Return whether ``stop`` was set within so many seconds."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _said(error: Exception) -> str:
    # The text of ours only: what a library says may quote values.
    return str(error) if isinstance(error, CannotRead) else type(error).__name__
