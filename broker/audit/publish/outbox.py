"""The checkpoints that the database has, and how far each place outside has come with them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.audit.tree import (
    Node,
    consistency_nodes,
    consistency_proof,
    node_position,
    root_nodes,
    tree_root,
)
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.tables import audit_checkpoint, audit_cosignature, audit_cursor, audit_tree

PAGE: Final = 100  # checkpoints held at a time


class OutboxUnavailable(Exception):  # noqa: N818 — a state of the database
    """The database did not answer, or not in time."""


@dataclass(frozen=True, slots=True)
class Due:
    """A checkpoint that is to leave."""

    size: int
    note: str


class Outbox:
    """Read by those that bring checkpoints out, each by its name."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine

    async def size(self) -> int:
        """Return the size of the newest head; 0: there is none."""
        query = select(func.coalesce(func.max(audit_checkpoint.c.size), 0))
        async with self._connection() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def root_at(self, size: int) -> bytes | None:
        """Return the root of the first ``size`` batches; None: there are not so many."""
        if size > await self.size():
            return None
        return tree_root(size, await self._nodes(root_nodes(size)))

    async def due(self, after: int, patience: timedelta, limit: int = PAGE) -> list[Due]:
        """Return checkpoints behind a size, those older than ``patience``, in order."""
        query = (
            select(audit_checkpoint.c.size, audit_checkpoint.c.note)
            .where(audit_checkpoint.c.size > after, _older(patience))
            .order_by(audit_checkpoint.c.size)
            .limit(limit)
        )
        async with self._connection() as connection:
            return [Due(row.size, row.note) for row in await connection.execute(query)]

    async def newest(self, patience: timedelta) -> Due | None:
        """Return the newest checkpoint that is older than ``patience``."""
        query = (
            select(audit_checkpoint.c.size, audit_checkpoint.c.note)
            .where(_older(patience))
            .order_by(audit_checkpoint.c.size.desc())
            .limit(1)
        )
        async with self._connection() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Due(row.size, row.note)

    async def proof(self, old: int, size: int) -> list[bytes]:
        """Return that the log of ``size`` only adds to that of ``old``."""
        return consistency_proof(old, size, await self._nodes(consistency_nodes(old, size)))

    async def cursor(self, name: str) -> int:
        """Return the size up to which everything was brought to a place; 0: nothing yet."""
        query = select(audit_cursor.c.position).where(audit_cursor.c.name == _cursor(name))
        async with self._connection() as connection:
            return (await connection.execute(query)).scalar_one_or_none() or 0

    async def advance(self, name: str, size: int) -> None:
        """Record that a place has everything up to ``size``; never less than before."""
        statement = insert(audit_cursor).values(
            name=_cursor(name), position=size, at=func.clock_timestamp()
        )
        later = func.greatest(audit_cursor.c.position, statement.excluded.position)
        values = {"position": later, "at": statement.excluded.at}
        async with self._connection() as connection:
            await connection.execute(
                statement.on_conflict_do_update(index_elements=["name"], set_=values)
            )

    async def add_cosignature(self, size: int, name: str, line: str) -> None:
        """Keep what a witness has signed; the first one of each size stays."""
        statement = insert(audit_cosignature).values(
            size=size, name=name, line=line, at=func.clock_timestamp()
        )
        async with self._connection() as connection:
            await connection.execute(statement.on_conflict_do_nothing())

    async def _nodes(self, nodes: list[Node]) -> Mapping[Node, bytes]:
        positions = {node: node_position(node) for node in nodes}
        query = select(audit_tree.c.position, audit_tree.c.hashes).where(
            audit_tree.c.position.in_(positions.values())
        )
        async with self._connection() as connection:
            hashes = {row.position: row.hashes for row in await connection.execute(query)}
        try:
            return {node: hashes[position][node[0]] for node, position in positions.items()}
        except (KeyError, IndexError):
            raise OutboxUnavailable("the stored log is not whole") from None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (NotDurable, *DATABASE_ERRORS) as error:
            raise OutboxUnavailable("the database does not answer") from error


def _cursor(name: str) -> str:
    return f"publish:{name}"


def _older(patience: timedelta) -> ColumnElement[bool]:
    return audit_checkpoint.c.at <= func.clock_timestamp() - patience
