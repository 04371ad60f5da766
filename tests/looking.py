"""Looks at a trail: the commands that leave them, what waits to be lifted, and what was."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from typer.testing import CliRunner, Result

from broker.audit.commit import AuditTrail
from broker.cli.audit import app
from broker.db.engine import Database
from tests import builders
from tests.audit import new_id, new_vault, now, open_records, running
from tests.fixtures.postgres import OneDatabase, execute


def audit(url: str, *arguments: str) -> Result:
    """Run ``broker audit …`` as whoever the URL names."""
    return CliRunner().invoke(app, [*arguments, "--database-url", url], env={"COLUMNS": "110"})


def looks(made: OneDatabase) -> list[dict[str, Any]]:
    """What waits to be lifted."""
    rows = execute(made.app_url, "SELECT * FROM audit_access ORDER BY at, id")
    return [dict(row) | {"details": json.loads(row["details"])} for row in rows]


def lifted(made: OneDatabase) -> list[dict[str, Any]]:
    """What of it is in the trail."""
    rows = execute(
        made.auditor_url,
        "SELECT record FROM audit_event WHERE action LIKE 'audit.%' ORDER BY writer, seq",
    )
    return open_records(made.auditor_url, [row["record"] for row in rows])


def add_by_hand(made: OneDatabase, action: str, details: str, id: str | None = None) -> UUID:  # noqa: A002 — the column's name
    """Add to the table as an auditor can who does not use our commands."""
    found = UUID(id or new_id())
    literal = details.replace("'", "''")
    execute(
        made.auditor_url,
        "INSERT INTO audit_access (id, by, action, details)"
        f" VALUES ('{found}', 'operator eve', '{action}', '{literal}')",
    )
    return found


@asynccontextmanager
async def running_trail(database: Database) -> AsyncIterator[AuditTrail]:
    """A trail that a broker writes."""
    async with running(database) as writer:
        yield AuditTrail(
            writer, issuer=builders.BROKER, vault=new_vault(), clock=now, build_id=new_id
        )
