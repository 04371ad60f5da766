"""Lifts what auditors did out of ``audit_access`` and into the trail, where nobody can change it.

What holds, however often this is interrupted, and however many brokers do it:

(1) a row leaves the table only once the trail has it;
(2) the trail has it once, under the id that it had in the table: whoever lifts looks first, and an
    advisory lock lets one lift at a time. Where the answer to a commit was lost, perhaps twice.

Auditors can write into the table by hand, whatever they like. So (3) nothing that stands there
keeps other rows from being lifted, and (4) nothing becomes another row of the trail than a look:
no tombstone, and nobody's erasure.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final, Protocol

import orjson

from broker.audit.access import LOOKS, bound_details
from broker.audit.event import render_text, render_time
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.errors import CommitRejected
from broker.telemetry import meter

UNKNOWN: Final = "audit.unknown"  # what is no look of ours
_EVERY: Final = 5.0  # seconds
_MOST: Final = 200  # rows at a time
_WITHIN: Final = 5.0  # seconds for these, after which PostgreSQL would soon end the transaction
_LOCK: Final = 0x6C696674  # any number that is nobody else's
_CLOCKS: Final = timedelta(days=1)  # by which those of the database and of brokers may differ

_ALONE: Final = "SELECT pg_try_advisory_xact_lock($1)"
_FIND: Final = "SELECT id, at, role, by, action, details FROM audit_access ORDER BY at, id LIMIT $1"
# The time leaves out the partitions of days before.
_TAKEN: Final = "SELECT id, action FROM audit_event WHERE id = ANY($1::uuid[]) AND at >= $2"
_DELETE: Final = "DELETE FROM audit_access WHERE id = ANY($1::uuid[])"

_log = logging.getLogger(__name__)
_counter = meter.create_counter(
    "broker.audit.access.lifted",
    unit="1",
    description="Looks at the trail, by auditors, that were brought into it.",
)
_waiting = meter.create_gauge(
    "broker.audit.access.waiting",
    unit="1",
    description="Looks at the trail that this process saw and has not brought in yet; at most 200.",
)


class Record(Protocol):
    """Writes an event into the trail, as ``AuditTrail.record`` does."""

    async def __call__(
        self,
        action: str,
        details: dict[str, Any],
        *,
        by: str,
        id: str | None,  # noqa: A002 — the column's name
    ) -> None:
        """Return once it is durable. Raises ``CommitRejected``."""


class Lifter:
    """Part of a broker."""

    def __init__(self, database: Database, record: Record) -> None:
        self._database = database
        self._record = record
        self._complained = False

    async def run(self, stop: asyncio.Event) -> None:
        """Lift what there is every few seconds, until ``stop``; a failing database ends nothing."""
        while not stop.is_set():
            more = False
            try:
                more = await self.lift() == _MOST
                self._complained = False
            except (NotDurable, CommitRejected, *DATABASE_ERRORS) as error:
                self._complain(error)
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
                _waiting.set(len(rows))
                if rows:
                    async with asyncio.timeout(_WITHIN):
                        await self._lift(connection, rows)
        finally:
            connection.terminate()
        _waiting.set(0)
        return len(rows)

    async def _lift(self, connection: Any, rows: list[Any]) -> None:  # noqa: ANN401 — the driver's
        ids = [row["id"] for row in rows]
        found = await connection.fetch(_TAKEN, ids, rows[0]["at"] - _CLOCKS)
        taken = {row["id"]: row["action"] for row in found}
        for row in rows:
            action, details = describe_look(row)
            id = str(row["id"])  # noqa: A001 — the column's name
            if row["id"] not in taken:
                await self._record(action, details, by=render_text(row["by"]), id=id)
            elif taken[row["id"]] != action:
                # Somebody took the id of a row that was there, which stays the only one of it.
                details |= {"id": id}
                await self._record(action, details, by=render_text(row["by"]), id=None)
            _counter.add(1)
        await connection.execute(_DELETE, ids)

    def _complain(self, error: BaseException) -> None:
        if not self._complained:
            self._complained = True
            _log.warning(
                "what auditors did could not be brought into the trail; that is tried again",
                extra={"fault": type(error).__name__},
            )


def describe_look(row: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the action and the details of a row of ``audit_access``, whatever stands there.

    When and as whom is what the database says of it; who and what for is what they say themselves.
    """
    details = _parse(row["details"]) | {
        "role": row["role"],
        "recorded_at": render_time(row["at"]),
    }
    if row["action"] in LOOKS:
        return row["action"], details
    return UNKNOWN, details | {"claimed": row["action"]}


def _parse(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except ValueError:
        found = None
    bounded = bound_details(found) if isinstance(found, dict) else None
    return (
        {"omitted": f"sha256:{sha256(text.encode()).hexdigest()}"} if bounded is None else bounded
    )
