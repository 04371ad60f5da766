"""Erasing a person: the keys are destroyed, and what was sealed under them cannot be read again.

First the row that says so, then the keys. If the row cannot be written nothing is erased. If the
process dies in between, the trail says more than was done, and the command is run again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import text

from broker.audit.query import CannotRead, reason_of
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

ACTION: Final = "subject.erased"
_COUNT: Final = text(
    "SELECT count(*), min(at), max(at) FROM audit_person_key"
    " WHERE issuer = :issuer AND person = :person"
)
_DELETE: Final = text("DELETE FROM audit_person_key WHERE issuer = :issuer AND person = :person")


class Trail(Protocol):
    """What of the audit trail is needed here."""

    async def record(self, action: str, details: Mapping[str, Any], *, by: str) -> None:
        """Return once it is durable that ``action`` was, or is about to be, done."""
        ...


@dataclass(frozen=True, slots=True)
class Erased:
    """What came of it."""

    person: str  # the pseudonym
    keys: int  # that were destroyed


async def count_keys(database: Database, issuer: str, person: str) -> int:
    """Return how many keys a person has: as many as there were five minutes of use.

    Raises ``CannotRead``.
    """
    try:
        async with database.engine.connect() as connection:
            row = (await connection.execute(_COUNT, {"issuer": issuer, "person": person})).one()
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotRead(reason_of(error)) from error
    return int(row[0])


async def erase(
    database: Database, trail: Trail, *, issuer: str, person: str, reason: str, by: str
) -> Erased:
    """Destroy every key of a person, on record. Doing it again is harmless.

    ``person`` is the pseudonym. What a process writes of the person within five minutes, under a
    key that it used before, is erased with it. Raises ``CannotRead``, and what the trail raises.
    """
    found = await count_keys(database, issuer, person)
    details = {"issuer": issuer, "person": person, "keys": found, "reason": reason}
    await trail.record(ACTION, details, by=by)
    try:
        async with database.engine.begin() as connection:
            done = await connection.execute(_DELETE, {"issuer": issuer, "person": person})
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotRead(f"{reason_of(error)}; nothing was erased: run it again") from error
    return Erased(person, done.rowcount)
