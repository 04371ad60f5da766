"""A sealer over a real database, and what the log looks like to whoever reads all of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from broker.audit.batch import batch_statement
from broker.audit.checkpoint import Checkpoint, parse_checkpoint, verify_checkpoint
from broker.audit.checkpoint_file import read_checkpoints
from broker.audit.checkpoint_key import derive_keys
from broker.audit.merkle import leaf_hash, merkle_root
from broker.audit.proof_source import build_batch
from broker.audit.seal_store import SealStore
from broker.audit.sealer import Sealer
from broker.audit.tree import Frontier
from broker.db.engine import Database
from tests.audit import event, running
from tests.fixtures.postgres import OneDatabase, execute

ORIGIN = "broker.test/audit"
KEYS = derive_keys(b"c" * 32, ORIGIN)
_TABLES = (
    *("audit_batch", "audit_tree", "audit_checkpoint"),
    *("audit_cursor", "audit_cosignature"),
)


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
        # In one snapshot: somebody may be sealing.
        async with connection.transaction(isolation="repeatable_read"):
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


def empty_log(database: OneDatabase) -> None:
    """Have the log begin anew, as a superuser can."""
    as_superuser(database, _TABLES, f"TRUNCATE {', '.join(_TABLES)}")


def go_back(database: OneDatabase, size: int) -> None:
    """Have the database as it was when its log was of that size, as from a backup."""
    as_superuser(
        database,
        _TABLES,
        f"DELETE FROM audit_tree WHERE position >= {size}",
        f"DELETE FROM audit_checkpoint WHERE size > {size}",
        "DELETE FROM audit_batch WHERE (writer, number) NOT IN"
        " (SELECT writer, number FROM audit_tree)",
        f"UPDATE audit_cursor SET position = {size} WHERE name LIKE 'publish:%'",
    )


def as_superuser(database: OneDatabase, tables: Sequence[str], *statements: str) -> None:
    """What only a superuser can do to tables that are append-only."""
    execute(
        database.superuser_url,
        *(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in tables),
        *statements,
        *(f"ALTER TABLE {table} ENABLE TRIGGER ALL" for table in tables),
    )


def sizes_in(path: Path) -> list[int]:
    """The sizes of the checkpoints in a file."""
    with path.open("rb") as file:
        return [parse_checkpoint(note).size for _, note in read_checkpoints(file)]
