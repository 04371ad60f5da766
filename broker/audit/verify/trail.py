"""Verification of a live database. Reads all of it once, in one snapshot and bounded memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from broker.audit.batch import Batch
from broker.audit.note import VerifierKey
from broker.audit.proof_source import load_batch, read_snapshot
from broker.audit.protection import find_unprotected
from broker.audit.query import CannotRead
from broker.audit.tombstone_lookup import RemovedRows
from broker.audit.verify.ahead import Ahead, OneAtATime
from broker.audit.verify.log import LogCheck
from broker.audit.verify.outside import OutsideHead
from broker.audit.verify.report import Report
from broker.audit.verify.rows import EXTRACTS, WriterCheck
from broker.db.engine import Database

# Rows are read in the order of an index, from the first on. Left to itself PostgreSQL would rather
# read the whole trail for each writer, sort its rows on disk, and only then begin.
_IN_ORDER: Final = "SET LOCAL enable_sort = off; SET LOCAL jit = off"
_TURN: Final = 2  # batches, after which what has come is taken in
_TOLD: Final = 64  # batches, after which progress is told
# As bytes: they are hashed and parsed, and never needed as text.
_ROWS: Final = (
    f"SELECT seq, convert_to(record, 'UTF8'), leaf, {EXTRACTS} FROM audit_event"  # noqa: S608 — made of constants
    " WHERE writer = $1 AND seq > $2 AND ($3::bigint IS NULL OR seq <= $3) ORDER BY seq"
)
_BATCHES: Final = """
SELECT b.*, t.position, t.hashes[1] AS entry
FROM audit_batch AS b LEFT JOIN audit_tree AS t USING (writer, number)
WHERE b.writer = $1 AND b.number BETWEEN $2 AND $3 ORDER BY b.number
"""
# One look-up in the index for each writer, instead of a scan of every row.
_WRITERS: Final = """
WITH RECURSIVE event_writer (name) AS (
    (SELECT writer FROM audit_event ORDER BY writer LIMIT 1)
    UNION ALL
    SELECT (SELECT writer FROM audit_event WHERE writer > name ORDER BY writer LIMIT 1)
    FROM event_writer WHERE name IS NOT NULL
), batch_writer (name) AS (
    (SELECT writer FROM audit_batch ORDER BY writer LIMIT 1)
    UNION ALL
    SELECT (SELECT writer FROM audit_batch WHERE writer > name ORDER BY writer LIMIT 1)
    FROM batch_writer WHERE name IS NOT NULL
), every_writer (name) AS (SELECT name FROM event_writer UNION SELECT name FROM batch_writer)
SELECT name,
       (SELECT last_seq FROM audit_batch WHERE writer = name ORDER BY number DESC LIMIT 1) AS rows
FROM every_writer WHERE name IS NOT NULL ORDER BY name
"""
_WINDOW: Final = """
SELECT min(number) AS first, max(number) AS last FROM audit_batch
WHERE writer = $1 AND at >= $2 AND at < $3
"""
_ALL: Final = (1, 2**63 - 1)
_NEVER: Final = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
_NEEDED: Final = ("audit_event", "audit_batch", "audit_tree", "audit_checkpoint")
_TABLES: Final = "SELECT count(to_regclass(name)) FROM unnest($1::text[]) AS name"


@dataclass(frozen=True, slots=True)
class Question:
    """What to verify, and by what."""

    keys: Sequence[VerifierKey] = ()  # none: signatures are not checked
    outside: Sequence[OutsideHead] = ()
    since: datetime | None = None  # batches from then on; None: from the beginning
    until: datetime | None = None  # batches before then
    now: datetime | None = None  # of this clock, for where to look for tombstones first


async def verify_trail(
    database: Database,
    question: Question = Question(),
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Return what is found in one snapshot of the trail; rows may be appended meanwhile.

    ``database`` should have no statement timeout. ``progress`` is called with the rows read so
    far and about how many there are. Raises ``CannotRead``.
    """
    async with read_snapshot(database) as connection:
        if await connection.fetchval(_TABLES, list(_NEEDED)) != len(_NEEDED):
            raise CannotRead("this database lacks tables of this version; run: broker migrate")
        await connection.execute(_IN_ORDER)
        return await _Trail(
            OneAtATime(connection), question, progress or (lambda _done, _all: None)
        ).verify()


class _Trail:
    def __init__(
        self,
        connection: OneAtATime,
        question: Question,
        progress: Callable[[int, int], None],
    ) -> None:
        self._connection = connection
        self._question = question
        self._progress = progress
        self._report = Report(not_checked=_not_checked(question))
        self._removed = RemovedRows(connection, question.keys, question.now or datetime.now(UTC))
        self._total = 0

    async def verify(self) -> Report:
        report = self._report
        report.unprotected = await find_unprotected(self._connection)
        writers = await self._connection.fetch(_WRITERS)
        self._total = sum(row["rows"] or 0 for row in writers)
        for row in writers:
            writer = UUID(int=row["name"].int)  # the driver's own kind of UUID is none to others
            numbers = await self._numbers(writer)
            if numbers is not None:
                await self._verify_writer(writer, *numbers)
        await LogCheck(self._connection, report, self._question.keys, self._question.outside).run(
            lambda _: self._progress(report.rows, max(self._total, report.rows))
        )
        return report

    async def _numbers(self, writer: UUID) -> tuple[int, int] | None:
        """Return which batches of a writer are asked for, both ends included."""
        since, until = self._question.since, self._question.until
        if since is None and until is None:
            return _ALL
        found = await self._connection.fetchrow(
            _WINDOW, writer, since or _NEVER[0], until or _NEVER[1]
        )
        return None if found["first"] is None else (found["first"], found["last"])

    async def _verify_writer(self, writer: UUID, first: int, last: int) -> None:
        connection, report = self._connection, self._report
        before = await load_batch(connection, writer, first - 1) if first > 1 else None
        ending = None if last == _ALL[1] else await load_batch(connection, writer, last)
        check = WriterCheck(writer, report, self._removed, self._question.keys, before)
        async with (
            Ahead.open(connection, _BATCHES, writer, first, last) as batches,
            Ahead.open(connection, _ROWS, writer, *_range(before, ending)) as ahead,
        ):
            rows = _Rows(ahead)
            while chunk := await batches.fetch():
                for batch in chunk:
                    await self._check_batch(check, batch, rows)
            async for uncovered in rows.up_to(None):
                check.read_uncovered(uncovered)
        check.finish()
        report.writers += 1
        self._progress(report.rows, self._total)

    async def _check_batch(self, check: WriterCheck, batch: Any, rows: "_Rows") -> None:  # noqa: ANN401 — a row
        report = self._report
        check.begin(batch)
        async for chunk in rows.up_to(batch["last_seq"]):
            await check.read(chunk)
        await check.end(batch)
        report.batches += 1
        if report.batches % _TURN == 0:
            await asyncio.sleep(0)
        if report.batches % _TOLD == 0:
            self._progress(report.rows, self._total)


class _Rows:
    """A writer's rows in the order of ``seq``, fetched by the chunk."""

    def __init__(self, ahead: Ahead) -> None:
        self._ahead = ahead
        self._rows: list[Any] = []
        self._next = 0

    async def up_to(self, seq: int | None) -> AsyncIterator[list[Any]]:
        """Yield the next rows, none after ``seq``, in lists of bounded length; None: all."""
        while await self._fill():
            rows, start = self._rows, self._next
            stop = len(rows)
            if seq is not None and rows[-1][0] > seq:
                stop = next(i for i in range(start, stop) if rows[i][0] > seq)
            self._next = stop
            if stop > start:
                yield rows[start:stop]
            if stop < len(rows):
                return

    async def _fill(self) -> bool:
        if self._next == len(self._rows):
            self._rows = await self._ahead.fetch()
            self._next = 0
        return bool(self._rows)


def _range(before: Batch | None, ending: Batch | None) -> tuple[int, int | None]:
    return (before.last_seq if before else -1, ending.last_seq if ending else None)


def _not_checked(question: Question) -> list[str]:
    said = []
    if not question.keys:
        said.append(
            "signatures of checkpoints and tombstones: no --public-key was given,"
            " so all of it could be somebody else's log"
        )
    if not question.outside:
        said.append(
            "checkpoints from outside: no --checkpoints were given, so an older copy of the"
            " database, or one that was written anew with the stolen key, would not show"
        )
    return said
