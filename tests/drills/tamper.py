"""Drill 14: what a superuser can do to a trail, each kind of it found and located.

Each kind is done to a copy of one sealed trail, as the superuser, whom neither rights nor triggers
stop. Then the trail is verified twice: by the public key alone, and with the checkpoints that were
kept outside of the database. What only those find is the point of keeping them.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import asyncpg
import orjson

from broker.audit.checkpoint import Checkpoint, sign_checkpoint
from broker.audit.checkpoint_key import derive_keys
from broker.audit.outcome import build_administration
from broker.audit.verify import Fault, Problem, Question, Report, verify_trail
from broker.db.engine import Database
from tests.audit import new_id, new_vault, now, running
from tests.drills.trail import Intruder, Written, moved
from tests.fixtures.postgres import OneDatabase
from tests.sealing import KEYS, ORIGIN, seal_now

OTHER_KEYS = derive_keys(b"x" * 32, ORIGIN)
Act = Callable[[Intruder], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Kind:
    """One kind of tampering: what is done, and what the verification is to say first of it.

    ``act`` returns where it was done, as members of the ``Problem`` that is to be found.
    """

    name: str
    act: Act
    fault: Fault | None  # by the key alone; None: nothing
    outside: Fault | None = None  # with the checkpoints from outside; None: the same
    armed: bool = True  # the triggers are switched on again afterwards

    @property
    def slug(self) -> str:
        """The name as an id of a test."""
        return re.sub(r"\W+", "-", self.name)


@dataclass(frozen=True)
class Outcome:
    """What was found of one kind, without and with checkpoints from outside."""

    kind: Kind
    place: dict[str, Any]
    alone: Report
    outside: Report

    @property
    def found(self) -> bool:
        """Whether both verifications said what they had to, and where."""
        return self._says(self.alone, self.kind.fault) and self._says(
            self.outside, self.kind.outside or self.kind.fault
        )

    def _says(self, report: Report, fault: Fault | None) -> bool:
        if fault is None:
            return report.intact and (self.kind.armed or bool(report.unprotected))
        return any(
            problem.fault is fault
            and all(getattr(problem, name) == value for name, value in self.place.items())
            for problem in report.problems
        )

    @property
    def first(self) -> Problem | None:
        """The first problem that the better of both found."""
        return next(iter([*self.alone.problems, *self.outside.problems]), None)


async def tamper(kind: Kind, made: OneDatabase, written: Written) -> Outcome:
    """Do it to a database, and verify."""
    connection = await asyncpg.connect(made.superuser_url)
    try:
        intruder = Intruder(connection, written, made)
        await intruder.disarm(armed=False)
        place = await kind.act(intruder)
        if kind.armed:
            await intruder.disarm(armed=True)
    finally:
        await connection.close()
    database = Database(made.auditor_url, timeout=None)
    try:
        question = Question(keys=KEYS.public)
        return Outcome(
            kind,
            place,
            await verify_trail(database, question),
            await verify_trail(database, replace(question, outside=written.outside)),
        )
    finally:
        await database.aclose()


async def _nothing(intruder: Intruder) -> dict[str, Any]:
    return {}


async def _edit(intruder: Intruder) -> dict[str, Any]:
    await intruder.edit(intruder.first, 3, leaf=False)
    return {"writer": intruder.first, "first_seq": 3}


async def _edit_with_leaf(intruder: Intruder) -> dict[str, Any]:
    await intruder.edit(intruder.first, 3, leaf=True)
    return {"writer": intruder.first, "batch": 3}


async def _edit_with_batches(intruder: Intruder) -> dict[str, Any]:
    await intruder.edit(intruder.first, 3, leaf=True)
    await intruder.relink(intruder.first)
    return {"writer": intruder.first, "batch": 3}


async def _edit_with_log(intruder: Intruder) -> dict[str, Any]:
    await _edit_with_batches(intruder)
    await intruder.replant(None)
    return {}


async def _rewrite(intruder: Intruder) -> dict[str, Any]:
    await _edit_with_batches(intruder)
    await intruder.replant(KEYS)
    return {}


async def _rewrite_with_another_key(intruder: Intruder) -> dict[str, Any]:
    await _edit_with_batches(intruder)
    await intruder.replant(OTHER_KEYS)
    return {}


async def _delete(intruder: Intruder) -> dict[str, Any]:
    await intruder.run("DELETE FROM audit_event WHERE writer = $1 AND seq = 4", intruder.first)
    return {"writer": intruder.first, "first_seq": 4, "last_seq": 4}


async def _insert(intruder: Intruder) -> dict[str, Any]:
    batch = await intruder.last(intruder.first)
    await intruder.run(
        "INSERT INTO audit_event SELECT (jsonb_populate_record(e, jsonb_build_object('seq',"
        " $2::int))).* FROM audit_event AS e WHERE writer = $1 AND seq = 2",
        *(intruder.first, batch.last_seq + 1),
    )
    return {"writer": intruder.first, "first_seq": batch.last_seq + 1}


async def _repeat(intruder: Intruder) -> dict[str, Any]:
    await intruder.run(
        "INSERT INTO audit_event SELECT (jsonb_populate_record(e, jsonb_build_object('at', at +"
        " interval '1 microsecond'))).* FROM audit_event AS e WHERE writer = $1 AND seq = 2",
        intruder.first,
    )
    return {"writer": intruder.first, "first_seq": 2}


async def _swap(intruder: Intruder) -> dict[str, Any]:
    batch = await intruder.together(intruder.first)
    await _exchange(intruder, batch.first_seq, batch.first_seq + 1)
    return {"writer": intruder.first, "batch": batch.number}


async def _swap_across_batches(intruder: Intruder) -> dict[str, Any]:
    await _exchange(intruder, 2, 3)
    return {"writer": intruder.first, "batch": 2}


async def _exchange(intruder: Intruder, one: int, other: int) -> None:
    for before, after in ((one, -1), (other, one), (-1, other)):
        await intruder.run(
            "UPDATE audit_event SET seq = $3 WHERE writer = $1 AND seq = $2",
            *(intruder.first, before, after),
        )


async def _cut_tail(intruder: Intruder) -> dict[str, Any]:
    batch = await intruder.last(intruder.first)
    await intruder.cut(batch)
    return {"writer": intruder.first, "batch": batch.number}


async def _cut_tail_with_log(intruder: Intruder) -> dict[str, Any]:
    """As if the newest checkpoint and all that it added had never been."""
    heads = await intruder.connection.fetch("SELECT * FROM audit_checkpoint ORDER BY size DESC")
    newest, before = heads[0]["size"], heads[0]["previous"]
    gone = await intruder.run("DELETE FROM audit_tree WHERE position >= $1", before)
    await intruder.run("DELETE FROM audit_checkpoint WHERE size = $1", newest)
    for row in gone:
        (batch,) = [
            each for each in await intruder.batches(row["writer"]) if each.number == row["number"]
        ]
        await intruder.cut(batch)
    return {}


async def _remove_writer(intruder: Intruder) -> dict[str, Any]:
    for table in ("audit_event", "audit_batch"):
        await intruder.run(f"DELETE FROM {table} WHERE writer = $1", intruder.second)
    return {"writer": intruder.second, "batch": 1}


async def _remove_batch(intruder: Intruder) -> dict[str, Any]:
    batches = await intruder.batches(intruder.first)
    await intruder.cut(batches[1])
    return {"writer": intruder.first, "batch": 2}


async def _drop_partition(intruder: Intruder) -> dict[str, Any]:
    name = await intruder.connection.fetchval(
        "SELECT tableoid::regclass::text FROM audit_event WHERE writer = $1 AND seq = 1",
        intruder.first,
    )
    await intruder.connection.execute(f"DROP TABLE {name}")
    return {"writer": intruder.first, "first_seq": 1}


async def _move_batch(intruder: Intruder) -> dict[str, Any]:
    batch = (await intruder.batches(intruder.first))[2]
    await intruder.run(
        "UPDATE audit_batch SET at = $3 WHERE writer = $1 AND number = $2",
        *(intruder.first, batch.number, batch.at - timedelta(days=1)),
    )
    return {"writer": intruder.first, "batch": 3}


async def _move_last_batch_with_hash(intruder: Intruder) -> dict[str, Any]:
    batch = await intruder.last(intruder.first)
    other = moved(batch, batch.at - timedelta(days=1))
    await intruder.run(
        "UPDATE audit_batch SET at = $3, hash = $4 WHERE writer = $1 AND number = $2",
        *(intruder.first, batch.number, other.at, other.hash),
    )
    return {"writer": intruder.first, "batch": batch.number}


async def _reorder_log(intruder: Intruder) -> dict[str, Any]:
    for before, after in ((1, 99), (2, 1), (99, 2)):
        await intruder.run("UPDATE audit_tree SET position = $2 WHERE position = $1", before, after)
    return {"writer": intruder.first, "batch": 3}


async def _cut_log(intruder: Intruder) -> dict[str, Any]:
    await intruder.run("DELETE FROM audit_tree WHERE position = 2")
    return {"position": 2}


async def _cut_log_tail(intruder: Intruder) -> dict[str, Any]:
    (row,) = await intruder.connection.fetch("SELECT max(size) AS size FROM audit_checkpoint")
    await intruder.run("DELETE FROM audit_tree WHERE position >= $1", row["size"] - 2)
    return {"size": row["size"]}


async def _swap_checkpoints(intruder: Intruder) -> dict[str, Any]:
    first, second = (
        row
        for row in await intruder.connection.fetch(
            "SELECT size, note FROM audit_checkpoint ORDER BY size LIMIT 2"
        )
    )
    for size, note in ((first["size"], second["note"]), (second["size"], first["note"])):
        await intruder.run("UPDATE audit_checkpoint SET note = $2 WHERE size = $1", size, note)
    return {"size": first["size"]}


async def _forge_checkpoint(intruder: Intruder) -> dict[str, Any]:
    row = (await intruder.connection.fetch("SELECT * FROM audit_checkpoint ORDER BY size"))[0]
    note = sign_checkpoint(Checkpoint(ORIGIN, row["size"], row["root"]), OTHER_KEYS, row["at"])
    await intruder.run("UPDATE audit_checkpoint SET note = $2 WHERE size = $1", row["size"], note)
    return {"size": row["size"]}


async def _remove_checkpoint(intruder: Intruder) -> dict[str, Any]:
    heads = await intruder.connection.fetch("SELECT size FROM audit_checkpoint ORDER BY size")
    await intruder.run("DELETE FROM audit_checkpoint WHERE size = $1", heads[0]["size"])
    return {"size": heads[1]["size"]}


async def _change_column(intruder: Intruder) -> dict[str, Any]:
    await intruder.run(
        "UPDATE audit_event SET action = 'nothing' WHERE writer = $1 AND seq = 2", intruder.first
    )
    return {"writer": intruder.first, "first_seq": 2, "column": "action"}


async def _change_array(intruder: Intruder) -> dict[str, Any]:
    await intruder.run(
        "UPDATE audit_event SET actors = '{mallory}' WHERE writer = $1 AND seq = 2",
        intruder.first,
    )
    return {"writer": intruder.first, "first_seq": 2, "column": "actors"}


async def _change_id(intruder: Intruder) -> dict[str, Any]:
    await intruder.run(
        "UPDATE audit_event SET id = gen_random_uuid() WHERE writer = $1 AND seq = 2",
        intruder.first,
    )
    return {"writer": intruder.first, "first_seq": 2, "column": "id"}


async def _forge_tombstone(intruder: Intruder) -> dict[str, Any]:
    """Remove a row, and have a real writer record that its time was over."""
    (row,) = await intruder.run(
        "DELETE FROM audit_event WHERE writer = $1 AND seq = 4", intruder.first
    )
    details = orjson.loads(row["record"])["details"] | {"partition": "audit_event_p20250101"}
    forged = build_administration(
        "audit.retain", details, id=new_id(), at=now(), by="operator mallory", vault=new_vault()
    )
    database = Database(intruder.made.app_url)
    try:
        async with running(database) as writer:
            await writer.append(forged)
        await seal_now(database)
    finally:
        await database.aclose()
    return {}


KINDS = (
    Kind("a record is edited", _edit, Fault.RECORD),
    Kind("a record and its hash are edited", _edit_with_leaf, Fault.ROOT),
    Kind(
        "a record is edited, batches and links are recomputed", _edit_with_batches, Fault.LOG_OTHER
    ),
    Kind("the same, and the log is recomputed", _edit_with_log, Fault.HEAD_TEXT),
    Kind("the same, and signed with another key", _rewrite_with_another_key, Fault.HEAD_UNSIGNED),
    Kind("the same, and signed with the stolen key", _rewrite, None, Fault.OUTSIDE_ROOT),
    Kind("a row is deleted", _delete, Fault.ROWS_MISSING),
    Kind("a row is added behind the last one", _insert, Fault.NOT_COVERED),
    Kind("a row is repeated", _repeat, Fault.ROW_ADDED),
    Kind("two rows of a batch are swapped", _swap, Fault.ROOT),
    Kind("two rows of two batches are swapped", _swap_across_batches, Fault.ROOT),
    Kind("the tail of a writer is cut off", _cut_tail, Fault.LOG_LOST),
    Kind(
        "the tail is cut off the log as well",
        _cut_tail_with_log,
        None,
        Fault.OUTSIDE_AHEAD,
    ),
    Kind("a whole writer is removed", _remove_writer, Fault.LOG_LOST),
    Kind("a batch in the middle is removed", _remove_batch, Fault.BATCH_MISSING),
    Kind("a partition is dropped", _drop_partition, Fault.ROWS_MISSING),
    Kind("the time of a batch is changed", _move_batch, Fault.BATCH_CHANGED),
    Kind("the same, with its hash", _move_last_batch_with_hash, Fault.LOG_OTHER),
    Kind("two places of the log are swapped", _reorder_log, Fault.LOG_OTHER),
    Kind("a place of the log is removed", _cut_log, Fault.LOG_GAP),
    Kind("the tail of the log is cut off", _cut_log_tail, Fault.HEAD_AHEAD),
    Kind("two checkpoints are swapped", _swap_checkpoints, Fault.HEAD_TEXT),
    Kind("a checkpoint is forged", _forge_checkpoint, Fault.HEAD_UNSIGNED),
    Kind("a checkpoint is removed", _remove_checkpoint, Fault.HEAD_UNLINKED),
    Kind("a column alone is changed", _change_column, Fault.COLUMN),
    Kind("the chain of actors in the columns is changed", _change_array, Fault.COLUMN),
    Kind("the id in the columns is changed", _change_id, Fault.COLUMN),
    Kind("a tombstone is forged for a deleted row", _forge_tombstone, Fault.TOMBSTONE),
    Kind("triggers are switched off", _nothing, None, armed=False),
)


async def verify_backup(made: OneDatabase, written: Written) -> tuple[Report, Report]:
    """Verify an older copy of the trail, without and with what was kept outside since."""
    database = Database(made.auditor_url, timeout=None)
    try:
        question = Question(keys=KEYS.public)
        return (
            await verify_trail(database, question),
            await verify_trail(database, replace(question, outside=written.outside)),
        )
    finally:
        await database.aclose()
