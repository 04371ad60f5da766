"""The keys of persons that only removed rows were sealed under: destroyed, on record.

A process seals under a key for minutes, so a key is no longer needed once every day is gone in
which it was used. What it sealed stands in files that were exported, and can be read no more there
either: as if each of these persons had been erased, up to that day.
"""

from collections.abc import Awaitable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from broker.audit.event import render_time
from broker.audit.query import CannotRead, reason_of
from broker.audit.vault import LIFE
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

ACTION: Final = "audit.forget"
# The time of a key is that of the commit that brought it; rows under it may be as much later as a
# process uses it, and as clocks differ.
_LATER: Final = timedelta(seconds=LIFE) + timedelta(days=1)
_COUNT: Final = "SELECT count(*) FROM audit_person_key WHERE at < $1"
_LEFT: Final = "SELECT EXISTS (SELECT FROM audit_event WHERE at < $1)"
# Looks once more: a broker whose clock is wrong may have written such a row a moment ago.
_DELETE: Final = f"DELETE FROM audit_person_key WHERE at < $2 AND NOT ({_LEFT})"  # noqa: S608 — made of constants


class Record(Protocol):
    """Writes an event into the trail, as ``AuditTrail.record`` does."""

    def __call__(self, action: str, details: Mapping[str, Any], *, by: str) -> Awaitable[None]:
        """Return once it is durable."""


async def count_forgettable(database: Database, before: datetime) -> int:
    """Return how many keys only rows of before ``before`` were sealed under.

    Raises ``CannotRead``.
    """
    connection = await _connect(database)
    try:
        return int(await connection.fetchval(_COUNT, before - _LATER))
    except DATABASE_ERRORS as error:
        raise CannotRead(reason_of(error)) from error
    finally:
        connection.terminate()


async def forget_persons(database: Database, record: Record, *, before: datetime, by: str) -> int:
    """Destroy these keys; returns how many. The row that says so comes first.

    Nothing is destroyed while a row of before ``before`` is left. Raises ``CannotRead``, and what
    recording raises.
    """
    count = await count_forgettable(database, before)
    if count == 0:
        return 0
    connection = await _connect(database)
    try:
        if await connection.fetchval(_LEFT, before):
            raise CannotRead(_still(before))
        await record(ACTION, {"before": render_time(before), "keys": count}, by=by)
        done = await connection.execute(_DELETE, before, before - _LATER)
    except DATABASE_ERRORS as error:
        raise CannotRead(
            f"{reason_of(error)}: it is not known whether the keys are destroyed; run it again"
        ) from error
    finally:
        connection.terminate()
    destroyed = int(done.rpartition(" ")[2])
    if destroyed == 0:
        raise CannotRead(_still(before))
    return destroyed


def _still(before: datetime) -> str:
    return f"there are rows of before {before:%Y-%m-%d}, so no key of a person was destroyed"


async def _connect(database: Database) -> Any:  # noqa: ANN401 — the driver's
    try:
        return await database.connect()
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotRead(reason_of(error)) from error
