"""The proof of a row, from the database."""

from typing import Any, Final
from uuid import UUID

from broker.audit.batch import Batch, batch_statement
from broker.audit.buried import load_buried, removed_leaves
from broker.audit.checkpoint import CheckpointRejected, parse_checkpoint
from broker.audit.merkle import inclusion_path, is_included, leaf_hash, merkle_root
from broker.audit.proof import Proof, short_checkpoint
from broker.audit.proof_source import (
    NotSealed,
    find_batch,
    find_position,
    load_paths,
    load_seal,
    read_snapshot,
)
from broker.audit.query import CannotRead
from broker.db.engine import Database

_ROW: Final = "SELECT writer, seq, record FROM audit_event WHERE id = $1 LIMIT 2"
_LEAVES: Final = (
    "SELECT seq, leaf FROM audit_event WHERE writer = $1 AND seq BETWEEN $2 AND $3"
    " ORDER BY seq LIMIT $4"
)


class NotProvable(Exception):  # noqa: N818 — an answer to whoever asks
    """The row is not what the log has: the trail was tampered with; ``str()`` says where."""


async def load_proof(database: Database, id: UUID, *, post_quantum: bool = False) -> Proof:  # noqa: A002 — the column's name
    """Return the proof of the row with this id, with its record, under the newest checkpoint.

    ``post_quantum`` keeps signatures of ML-DSA-44 in the checkpoint, which are longer than all of
    the rest. Raises ``NotSealed``, ``NotProvable`` or ``CannotRead``.
    """
    async with read_snapshot(database) as connection:
        rows = await connection.fetch(_ROW, id)
        if len(rows) != 1:
            if rows:
                raise NotProvable("several rows have this id")
            raise CannotRead("there is no row with this id")
        writer, seq = UUID(int=rows[0]["writer"].int), rows[0]["seq"]
        record = rows[0]["record"].encode()
        leaf = leaf_hash(record)
        batch = await find_batch(connection, writer, seq)
        if batch is None:
            raise NotProvable("no batch has this row")
        seal = await load_seal(connection)
        position = await find_position(connection, batch)
        if position is None or position >= seal.size:
            raise NotSealed(
                f"the row of {batch.at:%Y-%m-%d %H:%M:%S} UTC is not sealed yet, and the newest"
                f" checkpoint is of {seal.at:%Y-%m-%d %H:%M:%S} UTC; brokers make one every"
                " `audit.checkpoints.every` while one runs: ask again then, or run"
                " `broker audit seal`"
            )
        leaves = await _load_leaves(connection, batch)
        leaves[seq - batch.first_seq] = leaf
        if merkle_root(leaves) != batch.root:
            raise NotProvable("this row, or another one of its batch, was changed")
        path = (await load_paths(connection, [position], seal.size))[position]
        try:
            root = parse_checkpoint(seal.note).root
            checkpoint = seal.note if post_quantum else short_checkpoint(seal.note)
        except CheckpointRejected:
            raise NotProvable("the newest checkpoint in the database is none") from None
        if not is_included(leaf_hash(batch_statement(batch)), position, seal.size, path, root):
            raise NotProvable("the batch of this row, or the sealed log, was changed")
        inner = tuple(inclusion_path(leaves, seq - batch.first_seq))
        return Proof(batch, seq, leaf, inner, position, path, checkpoint, record)


async def _load_leaves(connection: Any, batch: Batch) -> list[bytes]:  # noqa: ANN401 — the driver's
    """Return the leaves of a batch; of rows that were removed, as their tombstones have them."""
    first, last = batch.first_seq, batch.last_seq
    rows = await connection.fetch(_LEAVES, batch.writer, first, last, last - first + 2)
    leaves = {row["seq"]: row["leaf"] for row in rows}
    if len(leaves) <= last - first:
        removed = removed_leaves(await load_buried(connection, batch.at), batch)
        leaves = {**removed, **leaves}
    if sorted(leaves) != list(range(first, last + 1)):
        raise CannotRead(
            "rows of its batch are missing, and no tombstone has them: `broker audit verify` tells"
            " which"
        )
    return [leaves[seq] for seq in range(first, last + 1)]
