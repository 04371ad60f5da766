"""A sealed trail to tamper with, and what somebody with every right can do to its tables."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from broker.audit.batch import NOTHING_BEFORE, Batch, batch_hash, batch_statement
from broker.audit.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from broker.audit.merkle import leaf_hash, merkle_root
from broker.audit.note import SigningKeys
from broker.audit.proof_source import build_batch
from broker.audit.tree import Frontier
from broker.audit.verify import OutsideHead
from broker.db.engine import Database
from tests.audit import event, now, running
from tests.fixtures.postgres import OneDatabase, execute
from tests.sealing import KEYS, seal_now

TABLES = (
    "SELECT oid::regclass::text AS name FROM pg_class"
    " WHERE relname ~ '^audit_' AND relkind IN ('r', 'p')"
)


@dataclass
class Written:
    """What was written, and what of it was kept elsewhere."""

    writers: list[UUID] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # every checkpoint, in its order

    @property
    def outside(self) -> list[OutsideHead]:
        """The checkpoints as they were kept."""
        return [
            OutsideHead(parse_checkpoint(note), f"checkpoint {number}")
            for number, note in enumerate(self.notes, 1)
        ]


async def write_trail(made: OneDatabase, written: Written) -> None:
    """One writer more, sealed: its start, four rows each alone, five rows together, its end."""
    if not written.writers:
        # With fewer files the database is sooner copied.
        ahead = [f"audit_event_p{now().date() + timedelta(days=n):%Y%m%d}" for n in range(3, 91)]
        execute(made.owner_url, f"DROP TABLE IF EXISTS {', '.join(ahead)}")
    database = Database(made.app_url)
    try:
        async with running(database) as writer:
            written.writers.append(writer.writer)
            for number in range(4):
                await writer.append(event(f"alone.{number}"))
            await asyncio.gather(*(writer.append(event(f"together.{n}")) for n in range(5)))
        await seal_now(database)
        rows = execute(made.owner_url, "SELECT note FROM audit_checkpoint ORDER BY size")
        written.notes[:] = [row["note"] for row in rows]
    finally:
        await database.aclose()


class Intruder:
    """A connection of the superuser, before whom no trigger stands."""

    def __init__(self, connection: asyncpg.Connection, written: Written, made: OneDatabase) -> None:
        self.connection = connection
        self.made = made
        self.written = written
        self.first, self.second = written.writers[:2]

    async def run(self, statement: str, *arguments: Any) -> list[Any]:
        """Run a statement; it has to hit something."""
        rows = await self.connection.fetch(f"{statement} RETURNING *", *arguments)
        assert rows, statement
        return rows

    async def disarm(self, *, armed: bool) -> None:
        """Switch every trigger of the trail off, or on again as it was."""
        for row in await self.connection.fetch(TABLES):
            names = await self.connection.fetch(
                "SELECT tgname FROM pg_trigger WHERE tgrelid = $1::regclass AND NOT tgisinternal",
                row["name"],
            )
            for each in names:
                change = "ENABLE ALWAYS" if armed else "DISABLE"
                await self.connection.execute(
                    f"ALTER TABLE ONLY {row['name']} {change} TRIGGER {each['tgname']}"
                )

    async def batches(self, writer: UUID) -> list[Batch]:
        """The batches of a writer."""
        rows = await self.connection.fetch(
            "SELECT * FROM audit_batch WHERE writer = $1 ORDER BY number", writer
        )
        return [build_batch(row) for row in rows]

    async def edit(self, writer: UUID, seq: int, *, leaf: bool) -> None:
        """Write another record into a row, and its hash if ``leaf``."""
        (row,) = await self.connection.fetch(
            "SELECT record FROM audit_event WHERE writer = $1 AND seq = $2", writer, seq
        )
        # Another year of the same length, in the record alone, is in no column.
        record = row["record"].replace('"details":{', '"details":{"forged":true,')
        record = record.replace('"forged":true,}', '"forged":true}')
        assert record != row["record"]
        await self.run(
            "UPDATE audit_event SET record = $3 WHERE writer = $1 AND seq = $2",
            *(writer, seq, record),
        )
        if leaf:
            await self.run(
                "UPDATE audit_event SET leaf = $3 WHERE writer = $1 AND seq = $2",
                *(writer, seq, leaf_hash(record.encode())),
            )

    async def relink(self, writer: UUID) -> None:
        """Recompute every root, hash and link of a writer over the rows that are there."""
        previous = NOTHING_BEFORE
        for batch in await self.batches(writer):
            rows = await self.connection.fetch(
                "SELECT leaf FROM audit_event WHERE writer = $1 AND seq BETWEEN $2 AND $3"
                " ORDER BY seq",
                *(writer, batch.first_seq, batch.last_seq),
            )
            root = merkle_root([row["leaf"] for row in rows])
            digest = batch_hash(
                *(writer, batch.number, batch.first_seq, batch.last_seq, batch.at, root, previous)
            )
            await self.run(
                "UPDATE audit_batch SET root = $3, previous = $4, hash = $5"
                " WHERE writer = $1 AND number = $2",
                *(writer, batch.number, root, previous, digest),
            )
            previous = digest

    async def replant(self, keys: SigningKeys | None) -> None:
        """Recompute the whole log and the roots of its heads; sign them where there is a key."""
        frontier, roots = Frontier(), {}
        for row in await self.connection.fetch("SELECT * FROM audit_tree ORDER BY position"):
            (found,) = await self.connection.fetch(
                "SELECT * FROM audit_batch WHERE writer = $1 AND number = $2",
                *(row["writer"], row["number"]),
            )
            hashes = frontier.append(leaf_hash(batch_statement(build_batch(found))))
            await self.run(
                "UPDATE audit_tree SET hashes = $2 WHERE position = $1", row["position"], hashes
            )
            roots[frontier.size] = frontier.root()
        for row in await self.connection.fetch("SELECT * FROM audit_checkpoint ORDER BY size"):
            root = roots[row["size"]]
            note = row["note"]
            if keys is not None:
                head = Checkpoint(KEYS.name, row["size"], root)
                note = sign_checkpoint(head, keys, row["at"])
            await self.run(
                "UPDATE audit_checkpoint SET root = $2, note = $3 WHERE size = $1",
                *(row["size"], root, note),
            )

    async def last(self, writer: UUID) -> Batch:
        """The newest batch of a writer."""
        return (await self.batches(writer))[-1]

    async def together(self, writer: UUID) -> Batch:
        """The batch with more than one row."""
        return max(await self.batches(writer), key=lambda one: one.last_seq - one.first_seq)

    async def cut(self, batch: Batch) -> None:
        """Remove a batch and its rows."""
        await self.run(
            "DELETE FROM audit_event WHERE writer = $1 AND seq BETWEEN $2 AND $3",
            *(batch.writer, batch.first_seq, batch.last_seq),
        )
        await self.run(
            "DELETE FROM audit_batch WHERE writer = $1 AND number = $2", batch.writer, batch.number
        )


def moved(batch: Batch, at: datetime) -> Batch:
    """The batch as it would be at another time."""
    changed = replace(batch, at=at)
    return replace(changed, hash=batch_hash(*_members(changed)))


def _members(batch: Batch) -> Sequence[Any]:
    return (
        *(batch.writer, batch.number, batch.first_seq, batch.last_seq),
        *(batch.at, batch.root, batch.previous),
    )
