"""How far the trail is sealed, for whoever looks from outside. Nothing is changed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from broker.audit.proof_source import NotSealed, load_seal
from broker.audit.query import CannotRead, reason_of
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

MOST: Final = 10_000  # that are counted of what waits
# Of this cluster: numbers of transactions mean nothing in another one.
_HORIZON: Final = """
SELECT position FROM audit_cursor
WHERE name = (SELECT 'seal:' || system_identifier FROM pg_control_system())
"""
_WAITING: Final = """
SELECT count(*) AS batches, min(at) AS since, now() AS now
FROM (
    SELECT b.at FROM audit_batch AS b
    WHERE ($1 = 0 OR b.tx >= $1) AND NOT EXISTS (
        SELECT FROM audit_tree AS t WHERE t.writer = b.writer AND t.number = b.number
    )
    LIMIT $2
) AS waiting
"""
_ACCESS: Final = """
SELECT count(*) AS rows, min(at) AS since
FROM (SELECT at FROM audit_access LIMIT $1) AS access
"""


@dataclass(frozen=True, slots=True)
class SealState:
    """What waits, by the clock of the database."""

    now: datetime
    size: int  # of the log, in batches
    sealed_at: datetime | None  # of its newest checkpoint; None: there is none
    note: str | None
    batches: int  # without a checkpoint, at most ``MOST``
    batches_since: datetime | None  # of the oldest of them
    accesses: int  # what auditors did and no broker has lifted into the trail yet; 0: not asked
    accesses_since: datetime | None


async def load_seal_state(database: Database, *, accesses: bool = True) -> SealState:
    """Return how far the trail is sealed. Raises ``CannotRead``.

    ``accesses`` asks for what auditors did, too, which auditors themselves may not read.
    """
    try:
        connection = await database.connect()
        try:
            return await _load(connection, accesses=accesses)
        finally:
            await connection.close()
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotRead(reason_of(error)) from error


async def _load(connection: Any, *, accesses: bool) -> SealState:  # noqa: ANN401 — the driver's
    try:
        seal = await load_seal(connection)
    except NotSealed:
        seal = None
    # Every batch of an older transaction is sealed, so only newer ones are looked through.
    horizon = await connection.fetchval(_HORIZON) or 0
    waiting = await connection.fetchrow(_WAITING, horizon, MOST)
    access = await connection.fetchrow(_ACCESS, MOST) if accesses else None
    return SealState(
        now=waiting["now"],
        size=0 if seal is None else seal.size,
        sealed_at=None if seal is None else seal.at,
        note=None if seal is None else seal.note,
        batches=waiting["batches"],
        batches_since=waiting["since"],
        accesses=0 if access is None else access["rows"],
        accesses_since=None if access is None else access["since"],
    )
