"""Whether the audit trail is as it was written. Reads all of it once, in bounded memory.

What holds of a writer's rows and batches if nothing is reported of it:

(1) each record hashes to its leaf, and each column is what the record says;
(2) ``seq`` runs from 1 without a gap or a repeat, and every row belongs to one batch;
(3) batches run from 1, each begins where the last one ended and holds that one's hash;
(4) each batch's root is over the leaves of its rows, in their order, and its hash is over it.

What cannot be told from the database alone: that the newest batches of a writer, or a whole
writer, were cut off, or all of it was replaced by an older copy. A writer that was ended in good
order has a last row that says so; the report names those that have none.
"""

import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import orjson

from broker.audit.batch import NOTHING_BEFORE, batch_hash
from broker.audit.event import COLUMNS, columns_of
from broker.audit.merkle import leaf_hash, merkle_root
from broker.audit.protection import find_unprotected
from broker.audit.query import CannotRead, reason_of
from broker.audit.queue import MAX_BATCH_ROWS
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

_CHUNK: Final = 2000  # rows held at a time
_MOST_PROBLEMS: Final = 100  # that a report names; the rest are counted

_COLUMNS: Final = ", ".join("id::text" if name == "id" else name for name in COLUMNS)
_ROWS: Final = (
    f"SELECT seq, record, leaf, {_COLUMNS} FROM audit_event WHERE writer = $1 ORDER BY seq"  # noqa: S608 — made of constants
)
_BATCHES: Final = (
    "SELECT number, first_seq, last_seq, at, root, previous, hash"
    " FROM audit_batch WHERE writer = $1 ORDER BY number"
)
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


class Fault(StrEnum):
    """What can be wrong, in the words of the report."""

    RECORD = "the record is not the one that was hashed"
    COLUMN = "a column is not what the record says"
    ROWS_MISSING = "rows are missing"
    ROW_ADDED = "a row was added"
    ROOT = "one of these rows was changed or moved"
    BATCH_MISSING = "batches are missing"
    BATCH_CHANGED = "the batch was changed"
    BATCH_UNLINKED = "the batch does not follow the one before"
    NOT_COVERED = "no batch covers these rows"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where: rows of a writer by ``seq``, both ends included."""

    fault: Fault
    writer: UUID
    first_seq: int | None = None
    last_seq: int | None = None
    batch: int | None = None
    column: str | None = None


@dataclass(slots=True)
class Report:
    """What was read, and what is wrong with it; the first problem of a writer is its earliest."""

    rows: int = 0
    batches: int = 0
    writers: int = 0
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    unended: list[UUID] = field(default_factory=list)  # running, ended by force, or cut
    unprotected: list[str] = field(default_factory=list)  # tables that a row could be changed in

    @property
    def intact(self) -> bool:
        """Whether nothing was found."""
        return self.problem_count == 0

    def add(self, problem: Problem) -> None:
        """Note a problem; memory stays bounded, the count is right."""
        self.problem_count += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)


async def verify_trail(
    database: Database, *, progress: Callable[[int, int], None] | None = None
) -> Report:
    """Return what is found in one snapshot of the trail; rows may be appended meanwhile.

    ``database`` should have no statement timeout. ``progress`` is called with the rows read so
    far and about how many there are. Raises ``CannotRead``.
    """
    try:
        connection = await database.connect()
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await _verify(connection, progress or (lambda _done, _all: None))
        finally:
            await connection.close()
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotRead(reason_of(error)) from error


async def _verify(connection: Any, progress: Callable[[int, int], None]) -> Report:  # noqa: ANN401 — the driver's
    report = Report(unprotected=await find_unprotected(connection))
    writers = await connection.fetch(_WRITERS)
    total = sum(row["rows"] or 0 for row in writers)
    for row in writers:
        writer = UUID(int=row["name"].int)  # the driver's own kind of UUID is none to others
        rows = _Rows(await connection.cursor(_ROWS, writer))
        batches = connection.cursor(_BATCHES, writer, prefetch=_CHUNK)
        check = _WriterCheck(writer, report)
        async for batch in batches:
            check.begin(batch)
            async for chunk in rows.up_to(batch["last_seq"]):
                check.read(chunk)
            check.end(batch)
            report.batches += 1
            if report.batches % 64 == 0:
                progress(report.rows, total)
        async for chunk in rows.up_to(None):
            check.read_uncovered(chunk)
        check.finish()
        report.writers += 1
        progress(report.rows, total)
    return report


class _Rows:
    """A writer's rows in the order of ``seq``, fetched by the chunk."""

    def __init__(self, cursor: Any) -> None:  # noqa: ANN401 — the driver's
        self._cursor = cursor
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
            self._rows = await self._cursor.fetch(_CHUNK)
            self._next = 0
        return bool(self._rows)


class _WriterCheck:
    """Holds what one writer's rows and batches must go on with."""

    def __init__(self, writer: UUID, report: Report) -> None:
        self._writer = writer
        self._report = report
        self._number = 0  # of the last batch read
        self._seq = 0  # of the last row that is accounted for
        self._previous = NOTHING_BEFORE
        self._skipped = range(0)  # rows of batches that are missing
        self._leaves: list[bytes] = []
        self._found = 0  # problems when the batch began
        self._ended = False

    def begin(self, batch: Any) -> None:  # noqa: ANN401 — a row
        """Check that the batch follows the last one, and get ready for its rows."""
        number, first, last = batch["number"], batch["first_seq"], batch["last_seq"]
        self._found = self._report.problem_count
        if number != self._number + 1:
            self._add(Fault.BATCH_MISSING, self._seq + 1, first - 1, batch=self._number + 1)
            # What is left of their rows is reported by this already.
            self._skipped = range(self._seq + 1, first)
            self._seq = max(self._seq, first - 1)
        elif batch["previous"] != self._previous:
            self._add(Fault.BATCH_UNLINKED, first, last, batch=number)
        if self._digest(batch) != batch["hash"] or last - first >= MAX_BATCH_ROWS:
            self._add(Fault.BATCH_CHANGED, first, last, batch=number)
        elif first != self._seq + 1:
            self._add(Fault.BATCH_UNLINKED, first, last, batch=number)
        self._number, self._previous = number, batch["hash"]
        self._leaves = []

    def read(self, rows: list[Any]) -> None:
        """Check rows that stand in the range of the batch that was begun, or before it."""
        for row in rows:
            seq, record = row[0], row[1].encode()
            if seq in self._skipped:
                continue
            if seq <= self._seq:
                self._add(Fault.ROW_ADDED, seq, seq, batch=self._number)
                continue
            if seq > self._seq + 1:
                self._add(Fault.ROWS_MISSING, self._seq + 1, seq - 1, batch=self._number)
            self._seq = seq
            leaf = leaf_hash(record)
            if len(self._leaves) <= MAX_BATCH_ROWS:
                self._leaves.append(leaf)
            if leaf != row[2]:
                self._add(Fault.RECORD, seq, seq, batch=self._number)
            elif (column := _false_column(record, row)) is not None:
                self._add(Fault.COLUMN, seq, seq, batch=self._number, column=column)
        self._report.rows += len(rows)
        self._note_end(rows[-1])

    def end(self, batch: Any) -> None:  # noqa: ANN401 — a row
        """Check that the batch has all of its rows, and that its root is over them."""
        first, last = batch["first_seq"], batch["last_seq"]
        if self._seq < last:
            self._add(Fault.ROWS_MISSING, self._seq + 1, last, batch=self._number)
            self._seq = last
        # If something was found in it already the root cannot be right, and says no more.
        if self._report.problem_count == self._found and merkle_root(self._leaves) != batch["root"]:
            self._add(Fault.ROOT, first, last, batch=self._number)

    def read_uncovered(self, rows: list[Any]) -> None:
        """Report rows after the last batch: a row is never committed without its batch."""
        self._add(Fault.NOT_COVERED, rows[0][0], rows[-1][0])
        self._report.rows += len(rows)

    def finish(self) -> None:
        """Note whether the writer was ended in good order."""
        if not self._ended:
            self._report.unended.append(self._writer)

    def _note_end(self, row: Any) -> None:  # noqa: ANN401 — a row
        self._ended = (row["kind"], row["action"]) == ("writer", "stop")

    def _digest(self, batch: Any) -> bytes | None:  # noqa: ANN401 — a row
        try:
            return batch_hash(
                self._writer,
                *(batch["number"], batch["first_seq"], batch["last_seq"]),
                *(batch["at"], batch["root"], batch["previous"]),
            )
        except (struct.error, TypeError, OverflowError):
            return None  # a number below zero, or a time without end: nothing that we write

    def _add(
        self, fault: Fault, first: int, last: int, *, batch: int | None = None, column: str = ""
    ) -> None:
        self._report.add(Problem(fault, self._writer, first, last, batch, column or None))


def _false_column(record: bytes, row: Any) -> str | None:  # noqa: ANN401 — a row
    try:
        true = columns_of(orjson.loads(record))
    except (ValueError, TypeError, KeyError, AttributeError):
        # No record of ours: then none of its columns is an extract of it.
        return COLUMNS[0]
    found = row[3:]
    if found == true:
        return None
    return next(
        name for name, left, right in zip(COLUMNS, true, found, strict=True) if left != right
    )
