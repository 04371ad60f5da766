"""A sealer over a real database, and what the log looks like to whoever reads all of it."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

from broker.audit.batch import batch_statement
from broker.audit.checkpoint import Checkpoint, verify_checkpoint
from broker.audit.checkpoint_key import derive_keys
from broker.audit.merkle import leaf_hash, merkle_root
from broker.audit.proof_source import build_batch
from broker.audit.seal_store import SealStore
from broker.audit.sealer import Sealer
from broker.audit.tree import Frontier
from broker.db.engine import Database
from tests.audit import event, running

ORIGIN = "broker.test/audit"
KEYS = derive_keys(b"c" * 32, ORIGIN)


def build_sealer(database: Database, **overrides: Any) -> Sealer:
    values: dict[str, Any] = {"every": timedelta(seconds=10)}
    keys = overrides.pop("keys", KEYS)
    return Sealer(SealStore(database), keys, **values | overrides)


async def seal_now(database: Database, **overrides: Any) -> Checkpoint:
    """Seal all there is; the head, verified."""
    progress = await build_sealer(database, **overrides).seal()
    assert progress.note is not None
    return verify_checkpoint(progress.note, overrides.get("keys", KEYS).public)


async def write_rows(database: Database, count: int = 1) -> None:
    """A new writer: a batch for its start, for each row, and for its end."""
    async with running(database) as writer:
        for number in range(count):
            await writer.append(event(f"test.{number}"))


@dataclass(frozen=True)
class Log:
    """The whole log, read by its key."""

    batches: list[tuple[Any, int]]  # (writer, number) by position
    checkpoints: list[Checkpoint]  # verified, by size
    unsealed: int


async def read_log(database: Database) -> Log:
    """The log, once everything in it is as it must be: places, order, nodes, heads, signatures."""
    connection = await database.connect()
    try:
        tree = await connection.fetch("SELECT * FROM audit_tree ORDER BY position")
        found = await connection.fetch("SELECT * FROM audit_batch")
        heads = await connection.fetch("SELECT * FROM audit_checkpoint ORDER BY size")
    finally:
        await connection.close()
    batches = {(row["writer"], row["number"]): build_batch(row) for row in found}
    assert list(range(len(tree))) == [row["position"] for row in tree]
    frontier = Frontier()
    leaves = []
    last: dict[Any, int] = {}
    for row in tree:
        leaf = leaf_hash(batch_statement(batches[row["writer"], row["number"]]))
        assert frontier.append(leaf) == row["hashes"]
        leaves.append(leaf)
        # Within a writer nothing is left out, and nothing comes before its time.
        assert row["number"] == last.get(row["writer"], 0) + 1
        last[row["writer"]] = row["number"]
    checkpoints = [verify_checkpoint(row["note"], KEYS.public, ORIGIN) for row in heads]
    for head, row in zip(checkpoints, heads, strict=True):
        assert (row["size"], row["root"]) == (head.size, head.root)
        assert merkle_root(leaves[: head.size]) == head.root
    assert all(after["previous"] == before["size"] for before, after in pairwise(heads))
    assert (heads[-1]["size"] if heads else 0) == len(tree)
    sealed = [(row["writer"], row["number"]) for row in tree]
    assert len(sealed) == len(set(sealed))
    return Log(sealed, checkpoints, len(found) - len(tree))
