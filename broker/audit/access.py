"""Who looked at the trail, and for what: on record before anything is shown.

Auditors can add to ``audit_access`` and not read, change or delete it; role and time are the
database's to say. A broker lifts what stands there into the trail (``broker.audit.lift``).

Whom somebody looked for stands there as a pseudonym, or as ``NAMED`` where there is no audit key to
make one: what is looked for must not name persons whose names the trail itself does not have.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args
from uuid import UUID

from sqlalchemy import insert

from broker.audit.event import canonical_json, render_text, render_time
from broker.audit.query import CannotRead, Filter, cause_of, reason_of
from broker.audit.uuid7 import build_uuid7
from broker.audit.vault import PSEUDONYM
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.tables import audit_access

Look = Literal[
    "audit.query",
    "audit.show",
    "audit.explain",
    "audit.export",
    "audit.prove",
    "audit.explore",
    "audit.verify",
    "audit.stream",
    "audit.replay",
]
LOOKS: Final[frozenset[str]] = frozenset(get_args(Look))
NAMED: Final = "somebody, by name"
_PERSONS: Final = frozenset({"subject", "actor"})
_PSEUDONYM: Final = re.compile(rf"{PSEUDONYM}[A-Za-z0-9_-]{{24}}")
_MEMBER: Final = re.compile(r"[a-z_]{1,32}")
_MOST: Final = 16 * 1024  # bytes, as the table has it
# What to do about it, by SQLSTATE, where it is not the database that is ill.
_REMEDIES: Final = {
    "42P01": "this database has no table for it yet: run broker migrate",
    "42501": "this role may not add to audit_access: take broker_auditor, whose rights broker"
    " migrate sets",
    "25006": "this is a standby, which takes no record: ask the primary",
}


class NotRecorded(CannotRead):
    """It cannot be recorded who looks, so nothing is shown; ``str()`` says why."""


async def record_access(
    database: Database,
    action: Look,
    details: Mapping[str, Any],
    *,
    by: str,
    pseudonym: Callable[[str], str] | None,
) -> None:
    """Return once it is durable that ``by`` did ``action``, like ``audit.query``.

    ``details`` are what was looked for: texts, numbers, yes or no. Raises ``NotRecorded``.
    """
    described = bound_details(details)
    if described is None:
        raise NotRecorded("what was asked for cannot be recorded: it is no text")
    text = canonical_json(described | _persons(details, pseudonym))
    if len(text) > _MOST:
        raise NotRecorded("what was asked for cannot be recorded: it is too long")
    values = {
        "id": UUID(build_uuid7(lambda: datetime.now(UTC))),
        "by": render_text(by),
        "action": action,
        "details": text.decode(),
    }
    try:
        async with database.engine.begin() as connection:
            await connection.execute(insert(audit_access).values(values))
    except (NotDurable, *DATABASE_ERRORS) as error:
        why = _REMEDIES.get(getattr(cause_of(error), "sqlstate", ""), reason_of(error))
        raise NotRecorded(f"who looks at the trail is on record, and that failed: {why}") from error


def describe_filter(wanted: Filter) -> dict[str, Any]:
    """Return what a search asks for, as ``details``."""
    return {
        one.name: render_time(value) if isinstance(value, datetime) else value
        for one in fields(wanted)
        if (value := getattr(wanted, one.name)) is not None
    }


def bound_details(details: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what may stand in the trail, without tokens; None: this describes no look."""
    if not all(_MEMBER.fullmatch(name) for name in details):
        return None
    if not all(value is None or isinstance(value, str | int) for value in details.values()):
        return None
    rendered = {
        name: render_text(value) if isinstance(value, str) else value
        for name, value in details.items()
    }
    try:
        canonical_json(rendered)  # a command line may hold what is no text
    except TypeError:
        return None
    return rendered


def _persons(details: Mapping[str, Any], pseudonym: Callable[[str], str] | None) -> dict[str, str]:
    """Return the members that name somebody, without the name."""

    def render(name: str) -> str:
        if _PSEUDONYM.fullmatch(name):
            return name
        return NAMED if pseudonym is None else pseudonym(name)

    return {member: render(str(details[member])) for member in _PERSONS & details.keys()}
