"""The file that keeps what is removed: a native export of the day, read back before it counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import file_digest
from pathlib import Path
from typing import Any
from uuid import UUID

from broker.audit.batch import Batch, batch_statement
from broker.audit.checkpoint import Checkpoint, CheckpointRejected, verify_checkpoint
from broker.audit.export.native import (
    ExportedBatch,
    ExportedRow,
    ExportRejected,
    Header,
    Line,
    read_native,
)
from broker.audit.export.output import open_output
from broker.audit.export.window import load_window, write_window
from broker.audit.merkle import is_included, leaf_hash
from broker.audit.note import VerifierKey
from broker.audit.removal import RemovalBuilder
from broker.audit.spans import Spans
from broker.audit.survey import Survey
from broker.audit.tombstone import Exported, end_of, start_of


class FileRejected(Exception):  # noqa: N818 — an answer to the operator
    """The file does not hold the partition; ``str()`` says which file and why."""


def file_of(day: date) -> str:
    """Return the name of a day's file."""
    return f"audit-{day.isoformat()}.jsonl"


async def write_day(connection: Any, day: date, path: Path, *, origin: str) -> None:  # noqa: ANN401 — the driver's, in a snapshot
    """Write the day's rows, with the whole batches that they are in; on disk when it returns.

    Raises ``OSError``, or what reading raises.
    """
    for left in path.parent.glob(f".{path.name}.*.part"):
        left.unlink(missing_ok=True)  # of a run that was killed; only one runs
    window = await load_window(
        connection,
        lambda _: origin,
        since=start_of(day),
        until=end_of(day),
        at=datetime.now(UTC),
    )
    with open_output(path) as file:
        await write_window(connection, window, file.write)


@dataclass(frozen=True, slots=True)
class Gap:
    """Rows that are not in the file, of a batch that is."""

    batch: Batch
    first_seq: int
    last_seq: int


def check_file(
    path: Path, survey: Survey, *, keys: Sequence[VerifierKey], origin: str
) -> tuple[Exported, list[Gap]]:
    """Read the file and return what a tombstone says of it, once it holds the whole partition.

    Every row of the survey is in it byte for byte, and every batch of it stands in the log under
    the checkpoint that is in it: it verifies without the database. So the log tells as well which
    rows it does not have; each must be under a tombstone. Raises ``FileRejected`` or ``OSError``.
    """
    reading = _Reading(survey, keys, origin)
    with path.open("rb") as file:
        try:
            for line in read_native(file):
                reading.read(line)
            reading.finish()
        except (ExportRejected, CheckpointRejected, _NotIt) as error:
            raise FileRejected(f"{path}: {error}") from None
        size = file.tell()
        file.seek(0)
        digest = file_digest(file, "sha256").hexdigest()
    return Exported(path.name, size, digest), reading.gaps


class _NotIt(Exception):  # noqa: N818 — becomes ``FileRejected``
    pass


class _Reading:
    def __init__(self, survey: Survey, keys: Sequence[VerifierKey], origin: str) -> None:
        self._survey = survey
        self._keys = keys
        self._origin = origin
        self._checkpoint: Checkpoint | None = None
        self._builder = RemovalBuilder()
        self._batch: ExportedBatch | None = None
        self._leaves: dict[int, bytes] = {}  # of its rows that are the partition's
        self._next = 0  # ``seq`` of the row that should come
        self.gaps: list[Gap] = []
        self._removed: dict[UUID, Spans] = {}
        for removal in survey.removals:
            self._removed.setdefault(removal.writer, Spans()).add(removal.spans)

    def read(self, line: Line) -> None:
        """Take the next line."""
        match line:
            case Header():
                self._checkpoint = verify_checkpoint(line.checkpoint, self._keys, self._origin)
            case ExportedBatch():
                self._end()
                self._begin(line)
            case ExportedRow() if self._batch is not None:
                self._skip(self._batch.batch, line.seq)
                spans = self._removed.get(self._batch.batch.writer)
                if spans is not None and spans.covers(line.seq, line.seq):
                    self._leaves[line.seq] = leaf_hash(line.record)
            case _:
                self._end()

    def finish(self) -> None:
        """Compare with the survey: the same rows, under the same roots."""
        if self._builder.removals() != list(self._survey.removals):
            raise _NotIt("it does not hold every row of the partition as it stands there")

    def _begin(self, exported: ExportedBatch) -> None:
        checkpoint = self._checkpoint
        entry = leaf_hash(batch_statement(exported.batch))
        if checkpoint is None or not is_included(
            entry, exported.position, checkpoint.size, exported.path, checkpoint.root
        ):
            raise _NotIt(f"its batch at position {exported.position} is not of the sealed log")
        self._batch, self._leaves = exported, {}
        self._next = exported.batch.first_seq

    def _skip(self, batch: Batch, seq: int) -> None:
        if seq > self._next:
            self.gaps.append(Gap(batch, self._next, seq - 1))
        self._next = seq + 1

    def _end(self) -> None:
        if self._batch is None:
            return
        batch, leaves = self._batch.batch, self._leaves
        self._skip(batch, batch.last_seq + 1)
        if leaves:
            whole = len(leaves) == batch.last_seq - batch.first_seq + 1
            self._builder.add(batch.writer, batch.number, leaves, whole=whole)
        self._batch = None
