"""Follows the sealed trail in the order of its log: whoever stops goes on where it was.

A place in the log is a number of batches. What is read below the newest checkpoint never changes
its place, so going on from ``Followed.next_position`` yields every row once, and going on from an
earlier one yields some of them again and leaves none out.

Rows under a tombstone are passed over. Whether a tombstone is ours is for whoever verifies; rows
that are missing without one are named, and what is left is followed all the same: who deletes a
row must not silence whoever watches.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, TypeVar
from uuid import UUID

from broker.audit.batch import Batch
from broker.audit.buried import load_buried
from broker.audit.proof_source import build_batch
from broker.audit.query import CannotRead, reason_of
from broker.audit.queue import MAX_BATCH_ROWS
from broker.audit.removed import Removed
from broker.audit.spans import Span, spans_of
from broker.audit.tombstone import TombstoneRejected
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.tables import audit_event

_T = TypeVar("_T")

MOST: Final = 256  # rows of a chunk, and at most one batch more
_MOST_BATCHES: Final = 256  # where most of them have no rows any more
_RECENT: Final = timedelta(days=7)  # of tombstones that are looked at first
_BEGINNING: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
_HEAD: Final = "SELECT size, at FROM audit_checkpoint ORDER BY size DESC LIMIT 1"
_BEFORE: Final = "SELECT size FROM audit_checkpoint WHERE at < $1 ORDER BY size DESC LIMIT 1"
_BATCHES: Final = """
SELECT t.position, t.writer, t.number AS place, b.number, b.first_seq, b.last_seq, b.at, b.root,
    b.previous, b.hash
FROM audit_tree AS t LEFT JOIN audit_batch AS b USING (writer, number)
WHERE t.position >= $1 AND t.position < $2 ORDER BY t.position LIMIT $3
"""
_ROWS: Final = (
    f"SELECT {', '.join(column.name for column in audit_event.columns)} FROM audit_event"  # noqa: S608 — names of columns
    " WHERE writer = $1 AND seq >= $2 AND seq <= $3 AND at >= $4 AND at <= $5 ORDER BY seq LIMIT $6"
)
# A row is as old as its batch, but for a deadline of seconds. So only the partitions of then are
# asked, unless rows are missing there.
_AROUND: Final = timedelta(hours=1)
_END: Final = datetime.fromisoformat("9999-01-01T00:00:00+00:00")

Row = Mapping[str, Any]  # the columns of ``audit_event``


class OtherLog(CannotRead):
    """The place to go on from is none of this log."""


@dataclass(frozen=True, slots=True)
class Gap:
    """What should be there and is not, and no tombstone says why."""

    position: int  # in the log
    writer: UUID | None = None  # None: nothing stands at this position
    rows: Span | None = None  # None: the batch itself is missing, or was changed

    def __str__(self) -> str:
        """Return it for people."""
        if self.writer is None:
            return f"position {self.position} of the log is empty"
        if self.rows is None:
            return f"the batch at position {self.position} of the log is missing or was changed"
        first, last = self.rows
        return f"rows {first} to {last} of writer {self.writer} are missing"


@dataclass(frozen=True, slots=True)
class Followed:
    """Some batches of the log, all of them sealed."""

    position: int  # of the first one
    next_position: int  # to go on from
    size: int  # of the log under its newest checkpoint
    at: datetime | None  # when the last one was committed; None: nobody knows
    rows: Sequence[Row] = field(repr=False)  # in the order of the log
    gaps: Sequence[Gap] = ()


class Follower:
    """Reads the log by the chunk, in bounded memory, over one connection of its own."""

    def __init__(self, database: Database, *, most: int = MOST) -> None:
        """``most``: rows of a chunk; it has whole batches, so it may have one batch more."""
        self._database = database
        self._most = most
        self._connection: Any = None
        self._graves = _Graves()

    async def follow(
        self, position: int, pause: Callable[[], Awaitable[bool]]
    ) -> AsyncGenerator[Followed]:
        """Yield what is sealed from ``position`` on.

        ``pause`` is awaited when there is no more, and says whether to look again. Raises
        ``OtherLog`` or ``CannotRead``; whoever tries again goes on where it was.
        """
        while True:
            found = await self.read(position)
            if found is not None:
                yield found
                position = found.next_position
            elif not await pause():
                return

    async def read(self, position: int) -> Followed | None:
        """Return what is sealed from ``position`` on; None: nothing yet.

        Raises ``OtherLog`` or ``CannotRead``.
        """
        return await self._asked(lambda connection: self._read(connection, position))

    async def size(self) -> int:
        """Return how many batches are sealed. Raises ``CannotRead``."""

        async def ask(connection: Any) -> int:  # noqa: ANN401 — the driver's
            head = await connection.fetchrow(_HEAD)
            return int(head["size"]) if head else 0

        return await self._asked(ask)

    async def place_of(self, since: datetime) -> int:
        """Return from where on everything is that was written since then. Raises ``CannotRead``."""

        async def ask(connection: Any) -> int:  # noqa: ANN401 — the driver's
            # What was sealed by then was written before, and what was not comes later in the log.
            return int(await connection.fetchval(_BEFORE, since) or 0)

        return await self._asked(ask)

    async def aclose(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def _asked(self, ask: Callable[[Any], Awaitable[_T]]) -> _T:
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._database.connect()
            return await ask(self._connection)
        except (NotDurable, *DATABASE_ERRORS) as error:
            await self.aclose()
            raise CannotRead(reason_of(error)) from error
        except BaseException:
            await self.aclose()  # a statement may be under way on it
            raise

    async def _read(self, connection: Any, position: int) -> Followed | None:  # noqa: ANN401 — the driver's
        head = await connection.fetchrow(_HEAD)
        size = head["size"] if head else 0
        if position > size:
            raise OtherLog(
                f"it has come to position {position}, and the log has {size}: this is another log,"
                " or it is older than it was"
            )
        if position == size:
            return None
        places = await connection.fetch(_BATCHES, position, size, _MOST_BATCHES)
        batches, gaps, after = _take(places, position, size, self._most)
        stored = await _load_rows(connection, list(batches.values()))
        rows: list[Row] = []
        for place, batch in batches.items():
            found = stored.get(batch.writer, ())
            own = [row for row in found if batch.first_seq <= row["seq"] <= batch.last_seq]
            rows += own
            gaps += [
                Gap(place, batch.writer, span)
                for span in _missing(batch, own)
                if not await self._graves.cover(connection, batch.writer, span, head["at"])
            ]
        at = next(reversed(batches.values())).at if batches else None
        self._graves.rest()
        return Followed(position, after, size, at, rows, tuple(sorted(gaps, key=_place)))


def _place(gap: Gap) -> int:
    return gap.position


def _take(
    places: Sequence[Any], position: int, size: int, most: int
) -> tuple[dict[int, Batch], list[Gap], int]:
    """Return batches with some ``most`` rows, what is missing between, and where to go on."""
    batches: dict[int, Batch] = {}
    gaps: list[Gap] = []
    rows = 0
    for place in places:
        if rows >= most:
            break
        holes = range(position, min(place["position"], position + most))
        gaps += [Gap(hole) for hole in holes]
        position = place["position"] + 1
        writer = UUID(int=place["writer"].int)  # the driver's own kind of UUID is none to others
        if place["number"] is None or place["last_seq"] - place["first_seq"] >= MAX_BATCH_ROWS:
            gaps.append(Gap(place["position"], writer))
            continue
        batches[place["position"]] = batch = build_batch(place)
        rows += batch.last_seq - batch.first_seq + 1
    if not places:  # up to the head, somebody has deleted all of them
        gaps, position = [Gap(position)], size
    return batches, gaps, position


async def _load_rows(connection: Any, batches: Sequence[Batch]) -> Mapping[UUID, Sequence[Row]]:  # noqa: ANN401 — the driver's
    """Return the rows of these batches by writer, in the order of ``seq``.

    The batches of a writer stand in the log in its order, so they are one stretch of rows, unless
    one is missing.
    """
    stretches: dict[UUID, list[Span]] = {}
    for batch in batches:
        known = stretches.setdefault(batch.writer, [])
        if known and known[-1][1] + 1 == batch.first_seq:
            known[-1] = (known[-1][0], batch.last_seq)
        else:
            known.append((batch.first_seq, batch.last_seq))
    times = [batch.at for batch in batches]
    then = (min(times) - _AROUND, max(times) + _AROUND) if times else (_BEGINNING, _END)
    rows: dict[UUID, list[Row]] = {}
    for writer, spans in stretches.items():
        for first, last in spans:
            count = last - first + 1
            found = await connection.fetch(_ROWS, writer, first, last, *then, count)
            if len(found) < count:
                found = await connection.fetch(_ROWS, writer, first, last, _BEGINNING, _END, count)
            rows.setdefault(writer, []).extend(dict(row) for row in found)
    return rows


def _missing(batch: Batch, rows: Sequence[Row]) -> list[Span]:
    """Return which rows of a batch are not there."""
    if len(rows) == batch.last_seq - batch.first_seq + 1:
        return []
    spans = spans_of(sorted({row["seq"] for row in rows}))
    edges = [(0, batch.first_seq - 1), *spans, (batch.last_seq + 1, 0)]
    return [
        (before[1] + 1, after[0] - 1)
        for before, after in pairwise(edges)
        if before[1] + 1 < after[0]
    ]


class _Graves:
    """What tombstones cover, looked for when rows are missing: most never are."""

    def __init__(self) -> None:
        self._removed = Removed()
        self._known: set[tuple[UUID, int]] = set()
        self._complete = False  # whether all of the trail was searched once
        self._fresh = False  # whether what is new was, since ``rest``

    def rest(self) -> None:
        """Look for new ones again when the next row is missing."""
        self._fresh = False

    async def cover(self, connection: Any, writer: UUID, span: Span, now: datetime) -> bool:  # noqa: ANN401 — the driver's
        """Whether all of these rows were removed. A retention that runs daily was days ago."""
        while not self._removed.covers_all(writer, *span):
            if not self._fresh:
                self._fresh = True
                await self._load(connection, now - _RECENT)
            elif not self._complete:
                self._complete = True
                await self._load(connection, _BEGINNING)
            else:
                return False
        return True

    async def _load(self, connection: Any, since: datetime) -> None:  # noqa: ANN401 — the driver's
        for one in await load_buried(connection, since):
            tombstone = one.unverified
            if (tombstone.run, tombstone.part) in self._known:
                continue
            try:
                self._removed.add(tombstone)
            except TombstoneRejected:
                continue  # none of ours: it covers nothing
            self._known.add((tombstone.run, tombstone.part))
