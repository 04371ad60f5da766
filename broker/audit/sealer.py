"""The sealer: puts the batches of all writers into one log, and signs its head.

What holds at any moment, whoever is killed:

(1) each batch has one place in the log, behind the batch before it of its writer; places have no
    gap and are never given anew (``broker.audit.seal_store``);
(2) a head is signed only over what the same transaction commits, on top of the head that the
    database has then, whose root the stored tree must have. So no two heads contradict each other;
(3) while it runs and the database answers, a batch is under a head within ``every``;
(4) nothing here is waited for by an exchange, and work is done in portions of milliseconds.

Every replica runs one. The one that sealed last is a little earlier than the others each time, so
it goes on, and when it is gone another one is in time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from typing import Final

from broker.audit.batch import Batch, batch_statement
from broker.audit.checkpoint import (
    Checkpoint,
    CheckpointRejected,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from broker.audit.merkle import leaf_hash
from broker.audit.note import SigningKeys
from broker.audit.seal_health import SealHealth, SealRefused
from broker.audit.seal_scan import Scan, Snapshot
from broker.audit.seal_store import Found, HeadLost, SealStore, SealUnavailable, Turn
from broker.audit.tree import EMPTY_ROOT, Frontier

PAGE: Final = 5_000  # batches of one transaction, about
_PORTION: Final = 50  # batches between two moments at which others have their turn
_EARLY: Final = 0.8  # of ``every``: leaves time for the seal itself
_BEHIND: Final = 0.1  # of ``every``: how much later those look who did not seal last
_FIRST_PAUSE: Final = 0.1  # seconds after a failure, doubled each time
_LONGEST_PAUSE: Final = 5.0
_BROKEN: Final = "the stored log has not the root that its newest checkpoint has signed"


class _Overlooked(Exception):  # noqa: N818 — asks for another search
    """A batch is not in the log, and should have been before the one that was found."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of one turn."""

    size: int  # of the log
    note: str | None  # of its head; None: there is none yet
    added: int = 0
    complete: bool = True  # whether everything that there was is under the head
    wait: float | None = None  # seconds until a seal is due; None: it was
    alone: bool = True  # False: somebody else was sealing
    strange: bool = False  # True: nothing was done, this head is to be examined first


class Sealer:
    """``run`` for as long as the process lives; ``seal`` for once.

    ``examine`` raises ``SealRefused`` where something outside of the database contradicts it. It
    is asked before this process appends to a head that is not its own.
    """

    def __init__(
        self,
        store: SealStore,
        keys: SigningKeys,
        *,
        every: timedelta,
        examine: Callable[[], Awaitable[None]] | None = None,
        page: int = PAGE,
    ) -> None:
        self._store = store
        self._keys = keys
        self._every = every.total_seconds()
        self._examine = examine
        self._page = page
        self._frontier: Frontier | None = None  # of the head that this process knows
        self._scan: Scan | None = None  # a search that is not over
        self._since: Snapshot | None = None  # what the last search that is over has seen
        self._examined: int | None = None  # the size at which nothing outside contradicted
        self._doubtful = False  # somebody has seen a contradiction since
        self._own = False  # whether the newest head is by this process
        self._health = SealHealth()

    @property
    def refusal(self) -> str | None:
        """Why nothing is sealed, for people; None: it is."""
        return self._health.refusal

    @property
    def failing(self) -> bool:
        """Whether the last turn did not do what it should."""
        return self._health.failing

    def doubt(self) -> None:
        """Have everything outside examined again before anything more is sealed."""
        self._doubtful = True

    async def run(self, stop: asyncio.Event, sealed: Callable[[], None] = lambda: None) -> None:
        """Seal until ``stop`` is set; ``sealed`` is called after each head.

        Fails never: an exchange does not depend on this, and must not end with it.
        """
        pause = _FIRST_PAUSE
        try:
            while not stop.is_set():
                try:
                    wait = await self._step(sealed)
                    pause = _FIRST_PAUSE
                except Exception as error:  # noqa: BLE001 — the edge of a part that never ends
                    self._failed(error)
                    wait, pause = pause, min(2 * pause, _LONGEST_PAUSE)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), wait)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._store.aclose()

    async def seal(self) -> Progress:
        """Seal whatever there is now; returns where the log stands.

        Raises ``SealRefused``, ``HeadLost`` or ``SealUnavailable``.
        """
        added = 0
        while True:
            progress = await self._turn(due=False)
            added += progress.added
            if not progress.alone:
                raise HeadLost("another one seals just now")
            if progress.complete:
                return Progress(progress.size, progress.note, added)

    async def _step(self, sealed: Callable[[], None]) -> float:
        """Take one turn if it is due; returns the seconds until the next."""
        progress = await self._turn(due=True)
        if progress.added:
            sealed()
        if not progress.alone:
            return self._every * _BEHIND
        if not progress.complete:
            return 0
        return self._rhythm() if progress.wait is None else progress.wait

    def _rhythm(self) -> float:
        return self._every * (_EARLY if self._own else _EARLY + _BEHIND)

    async def _turn(self, *, due: bool) -> Progress:
        while True:
            before = self._scan, self._since
            try:
                async with self._store.turn() as turn:
                    progress = await self._take(turn, due=due)
            except _Overlooked:
                # Looked for once more among all, in the order of each writer.
                self._frontier, self._own = None, False
                self._scan, self._since = Scan(None, turn.snapshot), None
                continue
            except BaseException:
                # What was not committed, or not known to be, must not be built upon.
                self._frontier, self._own = None, False
                self._scan, self._since = before
                raise
            if not progress.strange:
                break
            self._doubtful = False
            if self._examine is not None:
                # Never inside a transaction: whom it asks may be far away.
                await self._examine()
            self._examined = progress.size
        if progress.added:
            self._own = True
            self._examined = progress.size
        if progress.alone and progress.complete:
            self._health.succeeded()
        return progress

    async def _take(self, turn: Turn, *, due: bool) -> Progress:
        size, note = (turn.head.size, turn.head.note) if turn.head else (0, None)
        if not turn.alone:
            return Progress(size, note, alone=False)
        frontier = await self._take_up(turn)
        if due and self._scan is None and turn.head:
            wait = self._rhythm() - (turn.at - turn.head.at).total_seconds()
            if wait > 0:
                return Progress(size, note, wait=wait)
        if self._doubtful or self._examined != size:
            return Progress(size, note, strange=True)
        if self._scan is None:
            if self._since is None and turn.horizon is not None:
                self._since = Snapshot.before(turn.horizon)
            self._scan = Scan(self._since, turn.snapshot)
        return await self._append(turn, frontier, self._scan)

    async def _take_up(self, turn: Turn) -> Frontier:
        """Return the edge of the log, once it has the root that its newest head has signed."""
        size, root = (turn.head.size, turn.head.root) if turn.head else (0, EMPTY_ROOT)
        frontier = self._frontier
        if frontier is None or frontier.size != size:
            self._own = False
            try:
                frontier = Frontier(size, await turn.nodes(size))
            except KeyError:
                raise SealRefused(_BROKEN) from None
            if turn.head:
                self._take_name(turn.head.note)
        if frontier.root() != root:
            raise SealRefused(_BROKEN)
        self._frontier = frontier
        return frontier

    def _take_name(self, note: str) -> None:
        """Go on under the name that the log began with: to a verifier, another name is another log.

        An issuer may be given another address; whoever has the key of the log may go on with it.
        """
        try:
            origin = parse_checkpoint(note).origin
            keys = replace(self._keys, name=origin)
            try:
                verify_checkpoint(note, keys.public, origin)
            except CheckpointRejected:
                if origin != self._keys.name:
                    raise SealRefused(
                        f"the database has the log {origin}, which another key has signed; this"
                        f" broker would sign as {self._keys.name}"
                    ) from None
                self._health.rekeyed()
        except CheckpointRejected:
            raise SealRefused(_BROKEN) from None
        self._keys = keys

    async def _append(self, turn: Turn, frontier: Frontier, scan: Scan) -> Progress:
        """Put what a search finds into the log, a page of it, and sign the new head."""
        size, looked, complete = frontier.size, 0, False
        oldest, portion = turn.at, min(_PORTION, self._page)
        while not complete and looked < self._page:
            found = await turn.find(scan, portion)
            looked += len(found)
            complete = len(found) < portion
            if found:
                scan = scan.past(found[-1].key)
            new = self._judge(found, restart=scan.since is not None)
            if new:
                oldest = min(oldest, *(batch.at for batch in new))
                at = frontier.size
                hashes = [frontier.append(leaf_hash(batch_statement(batch))) for batch in new]
                await turn.append(at, new, hashes)
        # What committed since the search began is for the next one. Until it is over, whoever
        # takes up begins where it began.
        seen = scan.within if complete else (scan.since or Snapshot.before(0))
        added = frontier.size - size
        note = turn.head.note if turn.head else None
        if added:
            head = Checkpoint(self._keys.name, frontier.size, frontier.root())
            note = sign_checkpoint(head, self._keys, turn.at)
            await turn.checkpoint(head.size, size, head.root, note, seen.xmin)
        if complete and (added or scan.since is None):
            await turn.finish(seen.xmin)
        self._scan, self._since = (None, seen) if complete else (scan, self._since)
        self._health.sealed(added, (turn.at - oldest).total_seconds())
        return Progress(frontier.size, note, added, complete)

    def _judge(self, found: list[Found], *, restart: bool) -> list[Batch]:
        """Return the batches that are not in the log, and tell what is wrong with any of them.

        They enter all the same: what one of them is made to say must not keep the others from
        being sealed, and verification names it. Raises ``_Overlooked``, unless all was looked at.
        """
        new = []
        last: dict[object, int] = {}
        for one in found:
            batch = one.batch
            if not one.sealed:
                if not one.follows and last.get(batch.writer) != batch.number - 1:
                    if restart:
                        raise _Overlooked
                    self._health.suspect("missing", batch)
                if batch.hash != sha256(batch_statement(batch)).digest():
                    self._health.suspect("changed", batch)
                new.append(batch)
            last[batch.writer] = batch.number
        return new

    def _failed(self, error: Exception) -> None:
        match error:
            case HeadLost():
                self._health.lost()
            case SealRefused():
                self._health.refused(str(error))
            case SealUnavailable():
                self._health.failed("database", error)
            case _:
                self._health.failed("unexpected", error)
