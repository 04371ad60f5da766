"""The partitions of the trail, as their owner has them: which are old, and dropping one.

Dropping takes a lock on the whole trail, for which it waits a tenth of a second at most: while it
waits, every broker does, and each of their rows has a second. Then it makes way and tries again.

A partition that is going to be dropped is *retired*: a check that nothing satisfies keeps rows
from being added to it once it was read. It says since when, and stays through a crash.
"""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final, Self

from broker.audit.query import reason_of
from broker.audit.tombstone import end_of, partition_of, start_of
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

_OWNER: Final = "broker_owner"
_LOCK: Final = 0x72657461696E  # "retain"
_RETIRED: Final = "ck_audit_event_retired"
_LOCK_TIMEOUT: Final = "100ms"
_PAUSE: Final = 0.4  # seconds between two tries, in which writers catch up
_PATIENCE: Final = 120.0  # seconds
_LOCK_NOT_AVAILABLE: Final = "55P03"
_INSUFFICIENT_PRIVILEGE: Final = "42501"

_MAY: Final = (
    "SELECT current_user AS name, EXISTS (SELECT FROM pg_roles WHERE rolname = $1"
    " AND pg_has_role(current_user, oid, 'MEMBER')) AS may, pg_is_in_recovery() AS standby"
)
_PARTITIONS: Final = """
SELECT c.relname AS name, pg_total_relation_size(c.oid) AS bytes,
    pg_get_expr(c.relpartbound, c.oid) AS bound,
    to_date(substring(c.relname FROM '^audit_event_p([0-9]{8})$'), 'YYYYMMDD') AS day
FROM pg_inherits JOIN pg_class AS c ON c.oid = inhrelid
WHERE inhparent = 'audit_event'::regclass AND c.relname ~ '^audit_event_p[0-9]{8}$'
ORDER BY c.relname
"""
_COUNT: Final = "SELECT count(*) AS rows, min(at) AS oldest, max(at) AS newest FROM {}"
_UNPREPARED: Final = "SELECT count(*) FROM audit_event_default WHERE at < $1"
_SINCE: Final = (
    "SELECT obj_description(oid, 'pg_constraint') AS since FROM pg_constraint"
    " WHERE conrelid = $1::text::regclass AND conname = $2"
)


class CannotRetain(Exception):  # noqa: N818 — an answer to the operator
    """It could not be done, and nothing is half done; ``str()`` says what to mend."""


class Busy(CannotRetain):
    """Somebody holds on to the trail for longer than we wait."""


@dataclass(frozen=True, slots=True)
class Partition:
    """A day that is old enough."""

    day: date
    size: int  # bytes, indexes included


@dataclass(frozen=True, slots=True)
class Content:
    """What is in it."""

    rows: int
    oldest: datetime | None
    newest: datetime | None


class PartitionStore:
    """One connection of the owner, which holds the lock under which only one retention runs."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 — the driver's
        self._connection = connection

    @classmethod
    async def open(cls, database: Database) -> Self:
        """Return a store that has the lock. Raises ``CannotRetain``."""
        try:
            connection = await database.connect()
        except (NotDurable, *DATABASE_ERRORS) as error:
            raise CannotRetain(f"database.owner_url: {reason_of(error)}") from error
        store = cls(connection)
        try:
            await store._enter()
        except BaseException as error:
            connection.terminate()
            if isinstance(error, DATABASE_ERRORS):
                raise CannotRetain(f"database.owner_url: {reason_of(error)}") from error
            raise
        return store

    async def _enter(self) -> None:
        row = await self._connection.fetchrow(_MAY, _OWNER)
        if not row["may"]:
            raise CannotRetain(
                f"database.owner_url: {row['name']} may not drop partitions; set it to a URL of"
                f" {_OWNER}, as for broker migrate"
            )
        await self._connection.execute(f"SET ROLE {_OWNER}")
        await self._connection.execute("SET timezone = 'UTC'")
        if not await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            raise CannotRetain("another retention runs on this database: wait for it to end")

    async def aclose(self) -> None:
        """Give the lock back."""
        try:
            await self._connection.close(timeout=5)
        except DATABASE_ERRORS:
            self._connection.terminate()

    async def partitions(self, before: datetime) -> list[Partition]:
        """Return the days that were over by ``before``, oldest first. Raises ``CannotRetain``."""
        rows = await self._asked(self._connection.fetch(_PARTITIONS))
        old = [row for row in rows if end_of(row["day"]) <= before]
        for row in old:
            # By its name alone it could be another day's, or all of them.
            if row["bound"] != _bound(row["day"]):
                raise CannotRetain(f"{row['name']} does not hold the day that it is named after")
        return [Partition(row["day"], row["bytes"]) for row in old]

    async def kept_since(self, before: datetime) -> datetime:
        """Return when the first day begins that was not over by ``before``; never after that."""
        rows = await self._asked(self._connection.fetch(_PARTITIONS))
        starts = (start_of(row["day"]) for row in rows if end_of(row["day"]) > before)
        return min((before, *starts))

    async def content(self, day: date) -> Content:
        """Return what is in a partition; reads all of it."""
        row = await self._asked(self._connection.fetchrow(_COUNT.format(partition_of(day))))
        return Content(row["rows"], row["oldest"], row["newest"])

    async def count_unprepared(self, before: datetime) -> int:
        """Return how many rows are as old and in no day's partition."""
        count: int = await self._asked(self._connection.fetchval(_UNPREPARED, before))
        return count

    async def retire(self, day: date) -> datetime:
        """Keep rows from being added to a partition; returns since when that is so."""
        since = await self._asked(self._connection.fetchval(_SINCE, partition_of(day), _RETIRED))
        if since is not None:
            return datetime.fromisoformat(since)
        now = datetime.now(UTC)
        name = partition_of(day)
        await self._locking(
            f"ALTER TABLE {name} ADD CONSTRAINT {_RETIRED} CHECK (false) NOT VALID",
            f"COMMENT ON CONSTRAINT {_RETIRED} ON {name} IS '{now.isoformat()}'",
        )
        return now

    async def readmit(self, day: date) -> None:
        """Take ``retire`` back."""
        await self._locking(f"ALTER TABLE {partition_of(day)} DROP CONSTRAINT IF EXISTS {_RETIRED}")

    async def drop(self, day: date) -> None:
        """Drop a partition that is retired, with all its rows. Raises ``CannotRetain``."""
        name = partition_of(day)
        if await self._asked(self._connection.fetchval(_SINCE, name, _RETIRED)) is None:
            raise CannotRetain(f"{name} takes rows again: somebody changed it meanwhile")
        await self._locking(f"DROP TABLE {name}")

    async def _locking(self, *statements: str) -> None:
        """Run statements in one transaction, each of which may have to wait for a lock."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                async with self._connection.transaction():
                    await self._connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                    for statement in statements:
                        await self._connection.execute(statement)
            except DATABASE_ERRORS as error:
                if getattr(error, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                    raise CannotRetain(_explain(error)) from error
                if time.monotonic() > deadline:
                    raise Busy(
                        "somebody reads the whole trail, like broker audit verify or a backup:"
                        " run this again when that has ended, and it goes on from here"
                    ) from error
            else:
                return
            await asyncio.sleep(_PAUSE)

    async def _asked(self, query: Awaitable[Any]) -> Any:  # noqa: ANN401 — whatever was asked
        try:
            return await query
        except DATABASE_ERRORS as error:
            raise CannotRetain(_explain(error)) from error


def _explain(error: Exception) -> str:
    if getattr(error, "sqlstate", None) == _INSUFFICIENT_PRIVILEGE:
        return f"the partitions do not belong to {_OWNER}: run broker migrate as it"
    return reason_of(error)


def _bound(day: date) -> str:
    start, end = start_of(day), end_of(day)
    return f"FOR VALUES FROM ('{start:%Y-%m-%d %H:%M:%S}+00') TO ('{end:%Y-%m-%d %H:%M:%S}+00')"
