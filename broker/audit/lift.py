"""Lifts what auditors did out of ``audit_access`` and into the trail, where nobody can change it.

What holds, however often this is interrupted, and however many brokers do it:

(1) a row leaves the table only once the trail has it;
(2) the trail has it once, under the id that it had in the table: whoever lifts looks first, and an
    advisory lock lets one lift at a time. Where the answer to a commit was lost, perhaps twice.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final, Protocol

import orjson

from broker.audit.event import render_time
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.errors import CommitRejected
from broker.telemetry import meter

_EVERY: Final = 5.0  # seconds
_MOST: Final = 200  # rows at a time
_LOCK: Final = 0x6C696674  # any number that is nobody else's

_ALONE: Final = "SELECT pg_try_advisory_xact_lock($1)"
_FIND: Final = "SELECT id, at, role, by, action, details FROM audit_access ORDER BY at, id LIMIT $1"
_LIFTED: Final = "SELECT id FROM audit_event WHERE id = ANY($1::uuid[])"
_DELETE: Final = "DELETE FROM audit_access WHERE id = ANY($1::uuid[])"

_log = logging.getLogger(__name__)
_counter = meter.create_counter(
    "broker.audit.access.lifted",
    unit="1",
    description="Looks at the trail, by auditors, that were brought into it.",
)


class Record(Protocol):
    """Writes an event into the trail, as ``AuditTrail.record`` does."""

    async def __call__(self, action: str, details: dict[str, Any], *, by: str, id: str) -> None:  # noqa: A002 — the column's name
        """Return once it is durable. Raises ``CommitRejected``."""


class Lifter:
    """Part of a broker."""

    def __init__(self, database: Database, record: Record) -> None:
        self._database = database
        self._record = record

    async def run(self, stop: asyncio.Event) -> None:
        """Lift what there is every few seconds, until ``stop``; a failing database ends nothing."""
        while not stop.is_set():
            more = False
            try:
                more = await self.lift() == _MOST
            except (OSError, NotDurable, CommitRejected, *DATABASE_ERRORS) as error:
                _log.warning(
                    "what auditors did could not be brought into the trail; that is tried again",
                    extra={"fault": type(error).__name__},
                )
            if not more:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _EVERY)

    async def lift(self) -> int:
        """Bring what there is into the trail, at most ``_MOST``; returns how much that was.

        Raises what the database raises, or ``CommitRejected``.
        """
        connection = await self._database.connect()
        try:
            async with connection.transaction():
                if not await connection.fetchval(_ALONE, _LOCK):
                    return 0
                rows = await connection.fetch(_FIND, _MOST)
                ids = [row["id"] for row in rows]
                lifted = {row["id"] for row in await connection.fetch(_LIFTED, ids)} if ids else ()
                for row in rows:
                    if row["id"] not in lifted:
                        await self._lift(row)
                if ids:
                    await connection.execute(_DELETE, ids)
        finally:
            connection.terminate()
        return len(rows)

    async def _lift(self, row: Any) -> None:  # noqa: ANN401 — the driver's
        # When and as whom is what the database says of it; who is what they say themselves.
        details = {
            **orjson.loads(row["details"]),
            "role": row["role"],
            "recorded_at": render_time(row["at"]),
        }
        await self._record(row["action"], details, by=row["by"], id=str(row["id"]))
        _counter.add(1)
