"""What a day's partition holds, read and checked row by row before any of it may go.

What holds of a survey that ``survey_day`` returns:

(1) each record hashes to its leaf, and each column is what the record says;
(2) each row is in a batch, once, and the batch's root is over the leaves of all of its rows; those
    in other partitions, and those under tombstones, are taken from there;
(3) each of these batches stands in the log under the newest checkpoint, which our key has signed.
"""

import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from uuid import UUID

import orjson

from broker.audit.batch import Batch, batch_statement
from broker.audit.checkpoint import Checkpoint, CheckpointRejected, verify_checkpoint
from broker.audit.event import COLUMNS, columns_of
from broker.audit.merkle import is_included, leaf_hash, merkle_root
from broker.audit.note import VerifierKey
from broker.audit.proof_source import build_batch, find_batch, load_paths, load_seal
from broker.audit.queue import MAX_BATCH_ROWS
from broker.audit.removal import RemovalBuilder
from broker.audit.tombstone import Removal, end_of, start_of
from broker.audit.tombstone_lookup import RemovedRows

_CHUNK: Final = 2000  # rows held at a time
_AHEAD: Final = 500  # batches held at a time
_TOGETHER: Final = 128  # batches whose paths are looked up at once
_COLUMNS: Final = ", ".join("id::text" if name == "id" else name for name in COLUMNS)
# By the bounds of the partition, of which the planner makes the one partition: those who may read
# the trail may not read its partitions by their names.
_ROWS: Final = (
    f"SELECT writer, seq, record, leaf, {_COLUMNS} FROM audit_event"  # noqa: S608 — made of constants
    " WHERE at >= $1 AND at < $2 ORDER BY writer, seq"
)
_BATCHES: Final = (
    "SELECT writer, number, first_seq, last_seq, at, root, previous, hash FROM audit_batch"
    " WHERE writer = $1 AND number >= $2 ORDER BY number LIMIT $3"
)
_ELSEWHERE: Final = (
    "SELECT seq, record FROM audit_event WHERE writer = $1 AND seq BETWEEN $2 AND $3 LIMIT $4"
)
_POSITIONS: Final = (
    "SELECT n - 1 AS n, position FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY"
    " AS batch (writer, number, n) JOIN audit_tree USING (writer, number)"
)


class Suspicious(Exception):  # noqa: N818 — an answer to the operator
    """Something is not as it was written, or not sealed; ``str()`` says what and where."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a partition holds."""

    day: date
    removals: Sequence[Removal]

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(removal.rows for removal in self.removals)


async def survey_day(
    connection: Any,  # noqa: ANN401 — the driver's, in a snapshot
    day: date,
    *,
    keys: Sequence[VerifierKey],
    origin: str,
    removed: RemovedRows,
    progress: Callable[[int], None] = lambda _: None,
) -> Survey:
    """Return what the day's partition holds, once (1) to (3) hold of it.

    ``progress`` is called with the rows read so far. Raises ``Suspicious``, ``NotSealed``, or what
    reading raises.
    """
    seal = await load_seal(connection)
    try:
        checkpoint = verify_checkpoint(seal.note, keys, origin)
    except CheckpointRejected as error:
        raise Suspicious(f"the newest checkpoint is not to be trusted: {error}") from None
    reading = _Reading(connection, checkpoint, removed)
    rows = 0
    async for row in connection.cursor(_ROWS, start_of(day), end_of(day), prefetch=_CHUNK):
        await reading.read(row)
        rows += 1
        if rows % _CHUNK == 0:
            progress(rows)
    return Survey(day, await reading.finish())


class _Reading:
    def __init__(self, connection: Any, checkpoint: Checkpoint, removed: RemovedRows) -> None:  # noqa: ANN401 — the driver's
        self._connection = connection
        self._checkpoint = checkpoint
        self._tombs = removed
        self._builder = RemovalBuilder()
        self._ahead: deque[Batch] = deque()
        self._batch: Batch | None = None
        self._leaves: dict[int, bytes] = {}  # of its rows in this partition
        self._unproven: list[Batch] = []

    async def read(self, row: Any) -> None:  # noqa: ANN401 — a row
        """Take the next row in the order of writer and ``seq``."""
        writer, seq = UUID(int=row["writer"].int), row["seq"]
        batch = self._batch
        if batch is None or batch.writer != writer or seq > batch.last_seq:
            await self._end()
            self._batch = await self._find(writer, seq)
        if seq in self._leaves:
            raise Suspicious(f"{_row(writer, seq)} is there twice")
        record = row["record"].encode()
        leaf = leaf_hash(record)
        if leaf != row["leaf"]:
            raise Suspicious(f"{_row(writer, seq)}: its record is not the one that was hashed")
        if not _is_extract(record, tuple(row)[4:]):
            raise Suspicious(f"{_row(writer, seq)}: a column is not what its record says")
        self._leaves[seq] = leaf

    async def finish(self) -> list[Removal]:
        """Return what was read; now all of it is checked."""
        await self._end()
        await self._prove()
        return self._builder.removals()

    async def _find(self, writer: UUID, seq: int) -> Batch:
        ahead = self._ahead
        while ahead and (ahead[0].writer != writer or ahead[0].last_seq < seq):
            ahead.popleft()
        if not ahead:
            found = await find_batch(self._connection, writer, seq)
            if found is None:
                raise Suspicious(f"{_row(writer, seq)}: no batch has it")
            rows = await self._connection.fetch(_BATCHES, writer, found.number, _AHEAD)
            ahead.extend(build_batch(row) for row in rows)
        if not ahead[0].first_seq <= seq <= ahead[0].last_seq:
            raise Suspicious(f"{_row(writer, seq)}: no batch has it")
        return ahead.popleft()

    async def _end(self) -> None:
        """Check the batch of which every row of this partition was read."""
        batch, leaves = self._batch, self._leaves
        if batch is None:
            return
        size = batch.last_seq - batch.first_seq + 1
        if size > MAX_BATCH_ROWS:
            raise Suspicious(f"{_of(batch)} was changed")
        whole = len(leaves) == size
        every = leaves if whole else await self._complete(batch, leaves)
        if merkle_root([every[seq] for seq in sorted(every)]) != batch.root:
            raise Suspicious(f"{_of(batch)}: one of its rows was changed or moved")
        self._builder.add(batch.writer, batch.number, leaves, whole=whole)
        self._batch, self._leaves = None, {}
        self._unproven.append(batch)
        if len(self._unproven) == _TOGETHER:
            await self._prove()

    async def _complete(self, batch: Batch, leaves: Mapping[int, bytes]) -> dict[int, bytes]:
        """Return the leaves of all rows of a batch that has some of them elsewhere."""
        where = (batch.writer, batch.first_seq, batch.last_seq)
        rows = await self._connection.fetch(_ELSEWHERE, *where, MAX_BATCH_ROWS + 1)
        every = {row["seq"]: leaf_hash(row["record"].encode()) for row in rows}
        if len(every) != len(rows) or any(every.get(seq) != leaf for seq, leaf in leaves.items()):
            raise Suspicious(f"{_of(batch)}: one of its rows is there twice")
        missing = set(range(batch.first_seq, batch.last_seq + 1)) - every.keys()
        if missing:
            removed = await self._tombs.leaves(batch.writer, batch.number)
            if missing - removed.keys():
                raise Suspicious(f"{_of(batch)}: {_row(batch.writer, min(missing))} is missing")
            every |= {seq: removed[seq] for seq in missing}
        return every

    async def _prove(self) -> None:
        """Check that the batches gathered so far stand in the log."""
        batches, self._unproven = self._unproven, []
        found = await self._connection.fetch(
            _POSITIONS, [one.writer for one in batches], [one.number for one in batches]
        )
        positions = {row["n"]: row["position"] for row in found}
        size, root = self._checkpoint.size, self._checkpoint.root
        for index, batch in enumerate(batches):
            if not 0 <= positions.get(index, size) < size:
                raise Suspicious(f"{_of(batch)} is not sealed yet: a running broker does that")
        paths = await load_paths(self._connection, positions.values(), size)
        for index, batch in enumerate(batches):
            position = positions[index]
            try:
                entry = leaf_hash(batch_statement(batch))
            except (struct.error, OverflowError):
                raise Suspicious(f"{_of(batch)} was changed") from None
            if not is_included(entry, position, size, paths[position], root):
                raise Suspicious(f"{_of(batch)} is not the one that was sealed")


def _is_extract(record: bytes, columns: tuple[Any, ...]) -> bool:
    try:
        return columns_of(orjson.loads(record)) == columns
    except (ValueError, TypeError, KeyError, AttributeError):
        return False  # no record of ours


def _row(writer: UUID, seq: int) -> str:
    return f"row {seq} of writer {writer}"


def _of(batch: Batch) -> str:
    return f"batch {batch.number} of writer {batch.writer}"
