"""What proofs are made of, read from the database: the newest checkpoint, batches, and paths.

All of it takes a connection of the driver, best in one snapshot: ``read_snapshot`` gives one.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from broker.audit.batch import Batch
from broker.audit.query import CannotRead, reason_of
from broker.audit.tree import inclusion_nodes, inclusion_proof, node_position
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

_SEAL: Final = "SELECT size, at, note FROM audit_checkpoint ORDER BY size DESC LIMIT 1"
_COSIGNATURES: Final = "SELECT line FROM audit_cosignature WHERE size = $1 ORDER BY name"
_BATCH: Final = (
    "SELECT writer, number, first_seq, last_seq, at, root, previous, hash"
    " FROM audit_batch WHERE writer = $1 AND number = $2"
)
_LAST_NUMBER: Final = "SELECT max(number) FROM audit_batch WHERE writer = $1"
_POSITION: Final = "SELECT position FROM audit_tree WHERE writer = $1 AND number = $2"
_HASHES: Final = "SELECT position, hashes FROM audit_tree WHERE position = ANY($1::bigint[])"


class NotSealed(Exception):  # noqa: N818 — an answer to whoever asks
    """No checkpoint covers this yet; ``str()`` says by when one will."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A checkpoint as the database has it, unverified."""

    size: int
    at: datetime
    note: str  # with what witnesses signed of it


@asynccontextmanager
async def read_snapshot(database: Database) -> AsyncIterator[Any]:
    """Yield a connection that sees the trail as it is now, however long it is read.

    Raises ``CannotRead``, also for what fails inside.
    """
    try:
        connection = await database.connect()
        try:
            # Whoever reads may wait for whoever takes it, a pager or a slow disk.
            await connection.execute("SET idle_in_transaction_session_timeout = 0")
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield connection
        finally:
            await connection.close()
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotRead(reason_of(error)) from error


async def load_seal(connection: Any) -> Seal:  # noqa: ANN401 — the driver's
    """Return the newest checkpoint. Raises ``NotSealed`` if there is none."""
    found = await connection.fetchrow(_SEAL)
    if found is None:
        raise NotSealed(
            "nothing is sealed yet: brokers do so every `audit.checkpoints.every` while one runs;"
            " ask again then, or run `broker audit seal`"
        )
    lines = await connection.fetch(_COSIGNATURES, found["size"])
    signed = "".join(row["line"].removesuffix("\n") + "\n" for row in lines)
    return Seal(found["size"], found["at"], found["note"] + signed)


async def find_batch(connection: Any, writer: UUID, seq: int) -> Batch | None:  # noqa: ANN401 — the driver's
    """Return the batch that has row ``seq`` of a writer, in some twenty look-ups by key.

    The batches of a writer go up in ``seq`` as they do in ``number``; where somebody broke that,
    none is found.
    """
    low, high = 1, await connection.fetchval(_LAST_NUMBER, writer) or 0
    while low <= high:
        middle = (low + high) // 2
        batch = await load_batch(connection, writer, middle)
        if batch is None:
            return None
        if seq < batch.first_seq:
            high = middle - 1
        elif seq > batch.last_seq:
            low = middle + 1
        else:
            return batch
    return None


async def load_batch(connection: Any, writer: UUID, number: int) -> Batch | None:  # noqa: ANN401 — the driver's
    """Return a batch of a writer."""
    found = await connection.fetchrow(_BATCH, writer, number)
    return None if found is None else build_batch(found)


async def find_position(connection: Any, batch: Batch) -> int | None:  # noqa: ANN401 — the driver's
    """Return where a batch stands in the log; None: not sealed yet."""
    position: int | None = await connection.fetchval(_POSITION, batch.writer, batch.number)
    return position


async def load_paths(
    connection: Any,  # noqa: ANN401 — the driver's
    positions: Iterable[int],
    size: int,
) -> Mapping[int, tuple[bytes, ...]]:
    """Return for each position the path to the root of the tree of ``size``; one look-up for all.

    Raises ``CannotRead`` where the tree has a hole.
    """
    wanted = {position: inclusion_nodes(position, size) for position in positions}
    places = {node_position(node) for nodes in wanted.values() for node in nodes}
    rows = await connection.fetch(_HASHES, list(places))
    hashes = {row["position"]: row["hashes"] for row in rows}
    try:
        nodes = {
            node: hashes[node_position(node)][node[0]]
            for needed in wanted.values()
            for node in needed
        }
    except (KeyError, IndexError):
        raise CannotRead("the sealed log is incomplete: run `broker audit verify`") from None
    return {position: tuple(inclusion_proof(position, size, nodes)) for position in wanted}


def build_batch(row: Mapping[str, Any]) -> Batch:
    """Return the batch of a row of ``audit_batch``."""
    return Batch(
        writer=UUID(int=row["writer"].int),  # the driver's own kind of UUID is none to others
        number=row["number"],
        first_seq=row["first_seq"],
        last_seq=row["last_seq"],
        at=row["at"],
        root=row["root"],
        previous=row["previous"],
        hash=row["hash"],
    )
