"""Verification of a native export: no database, one line at a time.

What an export does not have is not checked: the columns of the tables, the checkpoints before its
own, and what was left out because it is outside of its window.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

import orjson

from broker.audit.batch import Batch, batch_statement
from broker.audit.checkpoint import CheckpointRejected, parse_checkpoint, verify_checkpoint
from broker.audit.export.native import (
    ExportedBatch,
    ExportedRow,
    ExportedTombstone,
    ExportRejected,
    Header,
    read_native,
)
from broker.audit.head import Head
from broker.audit.merkle import is_included, leaf_hash, merkle_root
from broker.audit.note import VerifierKey
from broker.audit.query import CannotRead
from broker.audit.removed import Removed
from broker.audit.tombstone import TombstoneRejected, parse_tombstone
from broker.audit.tombstone_note import verify_tombstone
from broker.audit.verify.outside import OutsideHead
from broker.audit.verify.report import Fault, Problem, Report

_NOT_CHECKED = (
    "columns, and rows outside of the export: it has none of them; verify the database for these"
)


def verify_export(
    path: Path, keys: Sequence[VerifierKey], outside: Sequence[OutsideHead] = ()
) -> Report:
    """Return what is found. Raises ``CannotRead`` for what is no whole export of the log."""
    try:
        with path.open("rb") as file:
            check = _Export(keys, outside)
            for line in read_native(file):
                match line:
                    case Header():
                        check.header(line)
                    case ExportedTombstone():
                        check.tombstone(line)
                    case ExportedBatch():
                        check.batch(line)
                    case ExportedRow():
                        check.row(line)
            return check.finish()
    except OSError as error:
        raise CannotRead(f"--export: {path}: {error.strerror}") from None
    except ExportRejected as error:
        raise CannotRead(f"--export: {error}") from None


class _Export:
    def __init__(self, keys: Sequence[VerifierKey], outside: Sequence[OutsideHead]) -> None:
        self._report = Report(not_checked=[_NOT_CHECKED])
        if not keys:
            self._report.not_checked.append(
                "the signature of its checkpoint: no --public-key was given,"
                " so all of it could be somebody else's log"
            )
        self._keys = keys
        self._outside = outside
        self._head = Head("-", 0, b"")
        self._removed = Removed()
        self._batch: ExportedBatch | None = None
        self._rows: dict[int, bytes] = {}  # leaves by seq
        self._last: dict[UUID, Batch] = {}  # of each writer
        self._places: set[int] = set()

    def header(self, header: Header) -> None:
        try:
            self._head = (
                verify_checkpoint(header.checkpoint, self._keys, header.origin)
                if self._keys
                else parse_checkpoint(header.checkpoint)
            )
        except CheckpointRejected as error:
            raise CannotRead(f"--export: its checkpoint: {error}") from None
        self._report.checkpoints = 1
        for one in self._outside:
            self._report.outside += 1
            if one.head.size == self._head.size and one.head.root != self._head.root:
                self._report.add(Problem(Fault.OUTSIDE_ROOT, size=one.head.size, source=one.source))

    def tombstone(self, line: ExportedTombstone) -> None:
        try:
            tombstone = parse_tombstone(orjson.loads(line.record))
            if self._keys:
                verify_tombstone(tombstone, self._keys)
            self._removed.add(tombstone)
        except (TombstoneRejected, ValueError):
            self._report.add(Problem(Fault.TOMBSTONE))

    def batch(self, line: ExportedBatch) -> None:
        self._end()
        self._batch, self._rows = line, {}
        batch, report = line.batch, self._report
        report.batches += 1
        statement = batch_statement(batch)
        known = line.position in self._places
        self._places.add(line.position)
        if known or not is_included(
            leaf_hash(statement), line.position, self._head.size, line.path, self._head.root
        ):
            self._add(Fault.PATH, batch, position=line.position)
        else:
            report.sealed += 1
        before = self._last.get(batch.writer)
        if before is not None and batch.number != before.number + 1:
            self._add(Fault.BATCH_MISSING, batch)
        elif before is not None and (
            batch.previous != before.hash or batch.first_seq != before.last_seq + 1
        ):
            self._add(Fault.BATCH_UNLINKED, batch)
        self._last[batch.writer] = batch

    def row(self, line: ExportedRow) -> None:
        self._report.rows += 1
        if self._batch is None:  # not possible: the reader knows the form
            raise CannotRead("--export: a row before the first batch")
        batch = self._batch.batch
        if line.seq in self._rows or not batch.first_seq <= line.seq <= batch.last_seq:
            self._add(Fault.ROW_ADDED, batch, seq=line.seq)
            return
        self._rows[line.seq] = leaf_hash(line.record)

    def finish(self) -> Report:
        self._end()
        self._report.writers = len(self._last)
        return self._report

    def _end(self) -> None:
        """Check that the batch has its rows, and that its root is over them."""
        if self._batch is None:
            return
        batch = self._batch.batch
        leaves: Mapping[int, bytes] = self._rows
        missing = [s for s in range(batch.first_seq, batch.last_seq + 1) if s not in leaves]
        if missing:
            removed = self._removed.leaves(batch.writer, batch.number)
            self._report.removed += len(missing)
            if not leaves and self._removed.covers_all(
                batch.writer, batch.first_seq, batch.last_seq
            ):
                return
            if not all(seq in removed for seq in missing):
                self._report.removed -= len(missing)
                self._add(Fault.ROWS_MISSING, batch, seq=missing[0])
                return
            leaves = {**removed, **leaves}
        ordered = [leaves[seq] for seq in range(batch.first_seq, batch.last_seq + 1)]
        if merkle_root(ordered) != batch.root:
            self._add(Fault.ROOT, batch)

    def _add(
        self, fault: Fault, batch: Batch, *, seq: int | None = None, position: int | None = None
    ) -> None:
        first = batch.first_seq if seq is None else seq
        last = batch.last_seq if seq is None else seq
        self._report.add(Problem(fault, batch.writer, first, last, batch.number, position=position))
