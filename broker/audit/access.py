"""Who looked at the trail, and for what: on record before anything is shown.

Auditors can add to ``audit_access`` and not read, change or delete it; role and time are the
database's to say. A broker lifts what stands there into the trail (``broker.audit.lift``).

Whom somebody looked for stands there as a pseudonym, or as ``NAMED`` where there is no audit key to
make one: what is looked for must not name persons whose names the trail itself does not have.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import insert

from broker.audit.event import canonical_json, render_text, render_time
from broker.audit.query import CannotRead, Filter, reason_of
from broker.audit.uuid7 import build_uuid7
from broker.audit.vault import PSEUDONYM
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.tables import audit_access

NAMED: Final = "somebody, by name"
_PERSONS: Final = frozenset({"subject", "actor"})


class NotRecorded(CannotRead):
    """It cannot be recorded who looks, so nothing is shown; ``str()`` says why."""


async def record_access(
    database: Database,
    action: str,
    details: Mapping[str, Any],
    *,
    by: str,
    pseudonym: Callable[[str], str] | None,
) -> None:
    """Return once it is durable that ``by`` did ``action``, like ``audit.query``.

    ``details`` are what was looked for, and hold no secret. Raises ``NotRecorded``.
    """
    values = {
        "id": UUID(build_uuid7(lambda: datetime.now(UTC))),
        "by": render_text(by),
        "action": action,
        "details": canonical_json(_without_names(details, pseudonym)).decode(),
    }
    try:
        async with database.engine.begin() as connection:
            await connection.execute(insert(audit_access).values(values))
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise NotRecorded(
            f"who looks at the trail is on record, and that failed: {reason_of(error)}"
        ) from error


def describe_filter(wanted: Filter) -> dict[str, Any]:
    """Return what a search asks for, as ``details``."""
    return {
        one.name: render_time(value) if isinstance(value, datetime) else value
        for one in fields(wanted)
        if (value := getattr(wanted, one.name)) is not None
    }


def _without_names(
    details: Mapping[str, Any], pseudonym: Callable[[str], str] | None
) -> dict[str, Any]:
    def name(value: str) -> str:
        if value.startswith(PSEUDONYM):
            return value
        return NAMED if pseudonym is None else pseudonym(value)

    return {
        member: name(str(value)) if member in _PERSONS else value
        for member, value in details.items()
    }
