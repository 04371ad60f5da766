"""The rows of one writer, against its batches.

Nothing here reads: rows and batches are handed in, in their order.
"""

import struct
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import pairwise
from typing import Any, Final, Protocol
from uuid import UUID

import orjson

from broker.audit.batch import NOTHING_BEFORE, Batch, batch_statement
from broker.audit.event import COLUMNS, extracts_of
from broker.audit.merkle import leaf_hash, merkle_root
from broker.audit.note import VerifierKey
from broker.audit.proof_source import build_batch
from broker.audit.queue import MAX_BATCH_ROWS
from broker.audit.tombstone import ACTION, TombstoneRejected, parse_tombstone
from broker.audit.tombstone_note import verify_tombstone
from broker.audit.verify.report import Fault, Problem, Report

# The columns as one JSON array, in the order of ``COLUMNS``, the time spelled as records do: read
# at once, which takes a third of what it takes to read one after the other.
EXTRACTS: Final = "json_build_array({})::text".format(
    ", ".join(
        """to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
        if name == "at"
        else name
        for name in COLUMNS
    )
)
_ACTION: Final = COLUMNS.index("action")
_KIND: Final = COLUMNS.index("kind")
_ID: Final = COLUMNS.index("id")
_AT: Final = COLUMNS.index("at")
_LEAF: Final = b"\x00"


class Removals(Protocol):
    """Which rows may be missing."""

    async def leaves(self, writer: UUID, number: int) -> Mapping[int, bytes]:
        """Return by ``seq`` the removed leaves of a batch that was cut."""
        ...

    async def covers_all(self, writer: UUID, first: int, last: int) -> bool:
        """Whether all of these rows were removed, both ends included."""
        ...


class WriterCheck:
    """Holds what one writer's rows and batches must go on with."""

    def __init__(
        self,
        writer: UUID,
        report: Report,
        removals: Removals,
        keys: Sequence[VerifierKey],
        before: Batch | None = None,
    ) -> None:
        """``before``: the batch to go on from; None: from the beginning."""
        self._writer = writer
        self._report = report
        self._removals = removals
        self._keys = keys
        self._number = before.number if before else 0  # of the last batch read
        self._seq = before.last_seq if before else 0  # of the last row that is accounted for
        self._previous = before.hash if before else NOTHING_BEFORE
        self._skipped = range(0)  # rows of batches that are missing
        self._leaves: list[bytes] = []
        self._hollow = False  # all rows of the batch were removed
        self._found = 0  # problems when the batch began
        self._position = -1  # in the log, of the last batch that is in it
        self._waiting: Batch | None = None  # the first that is not in it
        self._ended = False

    def begin(self, row: Any) -> None:  # noqa: ANN401 — a row
        """Check that the batch follows the last one, and get ready for its rows."""
        batch = build_batch(row)
        number, first, last = batch.number, batch.first_seq, batch.last_seq
        self._found = self._report.problem_count
        if number != self._number + 1:
            self._add(Fault.BATCH_MISSING, self._seq + 1, first - 1, self._number + 1)
            # What is left of their rows is reported by this already.
            self._skipped = range(self._seq + 1, first)
            self._seq = max(self._seq, first - 1)
        elif batch.previous != self._previous:
            self._add(Fault.BATCH_UNLINKED, first, last, number)
        statement = _statement(batch)
        if (
            statement is None
            or sha256(statement).digest() != batch.hash
            or last - first >= MAX_BATCH_ROWS
        ):
            self._add(Fault.BATCH_CHANGED, first, last, number)
        elif first != self._seq + 1:
            self._add(Fault.BATCH_UNLINKED, first, last, number)
        self._check_place(batch, statement, row["position"], row["entry"])
        self._number, self._previous = number, batch.hash
        self._leaves = []
        self._hollow = False

    async def read(self, rows: Sequence[Any]) -> None:
        """Check rows that stand in the range of the batch that was begun, or before it.

        A row is seq, record, leaf and ``EXTRACTS``.
        """
        leaves = self._leaves
        for row in rows:
            seq, record, expected, extracts = row
            if seq != self._seq + 1:
                if seq in self._skipped:
                    continue
                if seq <= self._seq:
                    self._add_row(Fault.ROW_ADDED, row)
                    continue
                await self._miss(seq - 1)
            self._seq = seq
            leaf = sha256(_LEAF + record).digest()
            if len(leaves) <= MAX_BATCH_ROWS:
                leaves.append(leaf)
            found = orjson.loads(extracts)
            if leaf != expected:
                self._add_row(Fault.RECORD, row)
            else:
                column = find_false_column(record, found)
                if column is not None:
                    self._add_row(Fault.COLUMN, row, column)
            if found[_ACTION] == ACTION and not is_tombstone(record, self._keys):
                self._add_row(Fault.TOMBSTONE, row)
        self._report.rows += len(rows)
        self._note_end(rows[-1])

    async def end(self, row: Any) -> None:  # noqa: ANN401 — a row
        """Check that the batch has all of its rows, and that its root is over them."""
        first, last = row["first_seq"], row["last_seq"]
        if self._seq < last:
            await self._miss(last)
        if self._hollow and not self._leaves:
            return
        # If something was found in it already the root cannot be right, and says no more.
        if self._report.problem_count == self._found and merkle_root(self._leaves) != row["root"]:
            self._add(Fault.ROOT, first, last, self._number)

    def read_uncovered(self, rows: Sequence[Any]) -> None:
        """Report rows after the last batch: a row is never committed without its batch."""
        self._add(Fault.NOT_COVERED, rows[0][0], rows[-1][0])
        self._report.rows += len(rows)

    def finish(self) -> None:
        """Note whether the writer was ended in good order, and what waits for the log."""
        if not self._ended:
            self._report.unended.append(self._writer)
        if self._waiting is not None:
            since, at = self._report.unsealed_since, self._waiting.at
            self._report.unsealed_since = at if since is None else min(since, at)

    async def _miss(self, last: int) -> None:
        """Account for rows up to ``last`` that are not there."""
        first = self._seq + 1
        self._seq = last
        leaves = await self._removals.leaves(self._writer, self._number)
        if all(seq in leaves for seq in range(first, last + 1)):
            self._leaves += [leaves[seq] for seq in range(first, last + 1)]
        elif not self._leaves and await self._removals.covers_all(self._writer, first, last):
            # A batch that is gone as a whole has no leaves in the tombstone. One that is not has.
            self._hollow = True
        else:
            # Beside rows that were removed in good order, only the others are missing.
            known = sorted(seq for seq in leaves if first <= seq <= last)
            for start, end in pairwise((first - 1, *known, last + 1)):
                if end - start > 1:
                    self._add(Fault.ROWS_MISSING, start + 1, end - 1, self._number)
            self._report.removed += len(known)
            return
        self._report.removed += last - first + 1

    def _check_place(
        self, batch: Batch, statement: bytes | None, position: int | None, entry: bytes | None
    ) -> None:
        first, last = batch.first_seq, batch.last_seq
        if position is None:
            self._report.unsealed += 1
            self._waiting = self._waiting or batch
            return
        self._report.sealed += 1
        if self._waiting is not None:
            # The log takes the batches of a writer in their order.
            passed, self._waiting = self._waiting, None
            self._add(Fault.LOG_SKIPPED, passed.first_seq, passed.last_seq, passed.number)
        if position <= self._position or statement is None or leaf_hash(statement) != entry:
            self._add(Fault.LOG_OTHER, first, last, batch.number, position)
        self._position = position

    def _note_end(self, row: Any) -> None:  # noqa: ANN401 — a row
        found = orjson.loads(row[3])
        self._ended = (found[_KIND], found[_ACTION]) == ("writer", "stop")

    def _add_row(self, fault: Fault, row: Any, column: str | None = None) -> None:  # noqa: ANN401 — a row
        seq, found = row[0], orjson.loads(row[3])
        self._report.add(
            Problem(
                *(fault, self._writer, seq, seq, self._number, column),
                id=found[_ID],
                at=_read_time(found[_AT]),
            )
        )

    def _add(
        self,
        fault: Fault,
        first: int,
        last: int,
        batch: int | None = None,
        position: int | None = None,
    ) -> None:
        self._report.add(Problem(fault, self._writer, first, last, batch, position=position))


def is_tombstone(record: bytes, keys: Sequence[VerifierKey]) -> bool:
    """Whether the row is a tombstone of ours; without a key, whether it looks like one."""
    try:
        tombstone = parse_tombstone(orjson.loads(record))
        if keys:
            verify_tombstone(tombstone, keys)
    except (TombstoneRejected, ValueError):
        return False
    return True


def find_false_column(record: bytes, found: list[Any]) -> str | None:
    """Return the first column that is no extract of the record, ``found`` as ``EXTRACTS``."""
    try:
        true = extracts_of(orjson.loads(record))
    except (ValueError, TypeError, KeyError, AttributeError):
        # No record of ours: then none of its columns is an extract of it.
        return COLUMNS[0]
    if found == true:
        return None
    return next(
        name for name, left, right in zip(COLUMNS, true, found, strict=True) if left != right
    )


def _read_time(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None  # a time without end, or beyond what there are dates for


def _statement(batch: Batch) -> bytes | None:
    try:
        return batch_statement(batch)
    except (struct.error, TypeError, OverflowError):
        return None  # a number below zero, or a time without end: nothing that we write
