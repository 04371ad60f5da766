"""The sealer's transaction on PostgreSQL: batches enter the log together with its signed head.

What holds whatever else runs, or dies:

(1) a head and all that is new below it are committed in one transaction, or neither is;
(2) of two that append to one head one fails: position, (writer, number), size and the size before
    are unique. The advisory lock only spares the loser its work;
(3) the lock is of the transaction, so whoever stops in the middle of one keeps nobody waiting for
    longer than PostgreSQL bears with an idle transaction.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from broker.audit.batch import Batch
from broker.audit.seal_scan import Key, Scan, Snapshot
from broker.audit.tree import Node, node_position, root_nodes
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

_ADVISORY_LOCK: Final = 0x7365616C  # "seal"
_BEGIN: Final = """
SELECT pg_try_advisory_xact_lock($1) AS alone,
    pg_current_snapshot()::text AS snapshot,
    clock_timestamp() AS at,
    cluster.name AS cluster,
    (SELECT position FROM audit_cursor WHERE name = cluster.name) AS horizon,
    head.*
FROM (SELECT 'seal:' || system_identifier AS name FROM pg_control_system()) AS cluster
LEFT JOIN (
    SELECT size, root, at AS sealed_at, note FROM audit_checkpoint ORDER BY size DESC LIMIT 1
) AS head ON true
"""
_NODES: Final = "SELECT position, hashes FROM audit_tree WHERE position = ANY($1::bigint[])"
_CHECKPOINT: Final = """
INSERT INTO audit_checkpoint (size, previous, root, at, note, horizon)
VALUES ($1, $2, $3, $4, $5, $6)
"""
_FINISH: Final = """
INSERT INTO audit_cursor (name, position, at) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET position = excluded.position, at = excluded.at
"""
# Everything here is looked up by key. A plan that was made while the tables were empty must not
# read all of them when they are full.
_PLAN: Final = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
_UNIQUE_VIOLATION: Final = "23505"


class SealUnavailable(Exception):  # noqa: N818 — a state of the database
    """The database did not answer, or not in time. What became of the last head is not known."""


class HeadLost(Exception):  # noqa: N818 — somebody else was faster; nothing is wrong
    """Another one has appended to the same head, and nothing of this was."""


@dataclass(frozen=True, slots=True)
class StoredHead:
    """The newest row of ``audit_checkpoint``."""

    size: int
    root: bytes
    at: datetime
    note: str


@dataclass(frozen=True, slots=True)
class Found:
    """A batch, and whether it is in the log, and the one before it of its writer."""

    batch: Batch
    key: Key
    sealed: bool
    follows: bool


class Turn:
    """One transaction, as long as it is open."""

    def __init__(self, connection: Any, row: Mapping[str, Any]) -> None:  # noqa: ANN401 — the driver's
        self._connection = connection
        self._cluster: str = row["cluster"]
        self.alone: bool = row["alone"]  # False: somebody else seals just now
        self.snapshot = Snapshot.parse(row["snapshot"])
        self.at: datetime = row["at"]  # by the clock that all processes share
        self.horizon: int | None = row["horizon"]  # None: nobody looked at all of this cluster
        self.head: StoredHead | None = None
        if row["size"] is not None:
            self.head = StoredHead(row["size"], row["root"], row["sealed_at"], row["note"])

    async def find(self, scan: Scan, limit: int) -> list[Found]:
        """Return the next batches of a search, sealed ones too; less than ``limit``: the last."""
        query, arguments = scan.query(limit)
        tx = "tx" if scan.since is not None else None
        return [
            Found(
                _build_batch(row),
                ((row[tx] if tx else 0), row["writer"], row["number"]),
                row["sealed"],
                row["follows"],
            )
            for row in await self._connection.fetch(query, *arguments)
        ]

    async def nodes(self, size: int) -> dict[Node, bytes]:
        """Return the nodes of ``root_nodes(size)`` that are there."""
        return await load_nodes(self._connection, root_nodes(size))

    async def append(
        self, position: int, batches: Sequence[Batch], hashes: Iterable[list[bytes]]
    ) -> None:
        """Put batches into the log, from ``position`` on."""
        records = [
            (position + index, batch.writer, batch.number, each)
            for index, (batch, each) in enumerate(zip(batches, hashes, strict=True))
        ]
        await self._connection.copy_records_to_table(
            "audit_tree", records=records, columns=("position", "writer", "number", "hashes")
        )

    async def checkpoint(
        self, size: int, previous: int, root: bytes, note: str, horizon: int
    ) -> None:
        """Add the head that goes with what was appended."""
        values = (size, previous, root, self.at, note, horizon)
        await self._connection.execute(_CHECKPOINT, *values)

    async def finish(self, horizon: int) -> None:
        """Record that every transaction below ``horizon`` was looked at, in this cluster."""
        await self._connection.execute(_FINISH, self._cluster, horizon, self.at)


class SealStore:
    """One connection of the driver itself, opened when it is needed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Any = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Yield a transaction; what was done in it is durable when this ends without an error.

        Raises ``HeadLost`` or ``SealUnavailable``; whatever is raised, nothing of it was done,
        unless the connection broke during the commit: then the next turn finds what is true.
        """
        try:
            connection = await self._connected()
            async with connection.transaction(isolation="repeatable_read"):
                yield Turn(connection, await connection.fetchrow(_BEGIN, _ADVISORY_LOCK))
        except (NotDurable, *DATABASE_ERRORS) as error:
            if getattr(error, "sqlstate", None) == _UNIQUE_VIOLATION:
                raise HeadLost("another one has sealed") from error
            self.terminate()
            raise SealUnavailable(f"the trail cannot be sealed ({_said(error)})") from error
        except asyncio.CancelledError:
            self.terminate()  # a statement may be under way on it
            raise

    def terminate(self) -> None:
        """Drop the connection; the server rolls back what is open on it."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def aclose(self) -> None:
        """Close the connection in good order, if that is quick."""
        if self._connection is not None:
            with suppress(*DATABASE_ERRORS):
                await self._connection.close(timeout=1)
            self.terminate()

    async def _connected(self) -> Any:  # noqa: ANN401 — the driver's
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.connect()
            await self._connection.execute(_PLAN)
        return self._connection


async def load_nodes(connection: Any, nodes: Iterable[Node]) -> dict[Node, bytes]:  # noqa: ANN401 — the driver's
    """Return those of the nodes that are in the log, in one look-up."""
    wanted = {node: node_position(node) for node in nodes}
    rows = await connection.fetch(_NODES, list(wanted.values()))
    hashes = {row["position"]: row["hashes"] for row in rows}
    return {
        node: hashes[position][node[0]]
        for node, position in wanted.items()
        if len(hashes.get(position, ())) > node[0]
    }


def _build_batch(row: Mapping[str, Any]) -> Batch:
    writer: UUID = row["writer"]
    return Batch(
        *(writer, row["number"], row["first_seq"], row["last_seq"]),
        *(row["at"], row["root"], row["previous"], row["hash"]),
    )


def _said(error: BaseException) -> str:
    # Its name and, from the server, its code: what the driver says may quote values.
    state = getattr(error, "sqlstate", None)
    return type(error).__name__ if state is None else f"{type(error).__name__} {state}"
