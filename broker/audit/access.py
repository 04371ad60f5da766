"""Who looked at the trail, and for what: on record before anything is shown.

Auditors can add to ``audit_access`` and not read, change or delete it; role and time are the
database's to say. A broker lifts what stands there into the trail.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert

from broker.audit.event import canonical_json, render_text
from broker.audit.query import CannotRead, reason_of
from broker.audit.uuid7 import build_uuid7
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.tables import audit_access


class NotRecorded(CannotRead):
    """It cannot be recorded who looks, so nothing is shown; ``str()`` says why."""


async def record_access(
    database: Database, action: str, details: Mapping[str, Any], *, by: str
) -> None:
    """Return once it is durable that ``by`` did ``action``, like ``audit.query``.

    ``details`` are what was looked for, and hold no secret. Raises ``NotRecorded``.
    """
    values = {
        "id": UUID(build_uuid7(lambda: datetime.now(UTC))),
        "by": render_text(by),
        "action": action,
        "details": canonical_json(dict(details)).decode(),
    }
    try:
        async with database.engine.begin() as connection:
            await connection.execute(insert(audit_access).values(values))
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise NotRecorded(
            f"who looks at the trail is on record, and that failed: {reason_of(error)}"
        ) from error
