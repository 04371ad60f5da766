"""What verification found, in words that a report prints and a script compares."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

_MOST_PROBLEMS: Final = 100  # that a report names; the rest are counted


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
    TOMBSTONE = "a tombstone that the key of the log has not signed"
    LOG_OTHER = "the log has something else of this batch"
    LOG_SKIPPED = "the log has passed over this batch"
    LOG_LOST = "the log has a batch that is gone"
    LOG_GAP = "positions of the log are missing"
    LOG_NODE = "hashes of the log are not over its leaves"
    LOG_UNSIGNED = "the log goes on behind its newest checkpoint"
    HEAD_ROOT = "the checkpoint is over another log"
    HEAD_TEXT = "the checkpoint says something else than its row"
    HEAD_UNLINKED = "the checkpoint does not follow the one before"
    HEAD_UNSIGNED = "the checkpoint is not signed by the key of the log"
    HEAD_AHEAD = "the checkpoint is over more than the log has"
    OUTSIDE_ROOT = "a checkpoint from outside is over another history"
    OUTSIDE_AHEAD = "a checkpoint from outside is over more than there is"
    PATH = "the batch does not stand under the checkpoint"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where.

    Rows of a writer by ``seq``, both ends included; ``id`` and ``at`` where it is one row that is
    there. In the log by ``position``, from 0; of a checkpoint its ``size``.
    """

    fault: Fault
    writer: UUID | None = None
    first_seq: int | None = None
    last_seq: int | None = None
    batch: int | None = None
    column: str | None = None
    id: str | None = None
    at: datetime | None = None
    position: int | None = None
    size: int | None = None
    source: str | None = None  # of a checkpoint from outside


@dataclass(slots=True)
class Report:
    """What was read, and what is wrong with it; the first problem of a writer is its earliest."""

    rows: int = 0
    batches: int = 0
    writers: int = 0
    removed: int = 0  # rows that a tombstone stands for
    sealed: int = 0  # batches that are in the log
    unsealed: int = 0
    unsealed_since: datetime | None = None  # of the oldest that waits for the log
    checkpoints: int = 0
    outside: int = 0
    newest: datetime | None = None  # of the checkpoints in the database
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    unended: list[UUID] = field(default_factory=list)  # running, ended by force, or cut
    unprotected: list[str] = field(default_factory=list)  # tables that a row could be changed in
    not_checked: list[str] = field(default_factory=list)  # and what would not be noticed, therefore

    @property
    def intact(self) -> bool:
        """Whether nothing was found."""
        return self.problem_count == 0

    def add(self, problem: Problem) -> None:
        """Note a problem; memory stays bounded, the count is right."""
        self.problem_count += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)
