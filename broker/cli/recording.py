"""What a command that changes something records it with: a writer of its own, and who runs it."""

import asyncio
import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from broker.audit.commit import AuditTrail
from broker.audit.uuid7 import build_uuid7
from broker.audit.vault import load_vault
from broker.audit.writer import AuditWriter
from broker.db.engine import Database
from broker.settings import Settings

_PATIENCE: Final = timedelta(seconds=5)  # for the audit trail to be ready


@asynccontextmanager
async def open_trail(settings: Settings, database: Database) -> AsyncIterator[AuditTrail]:
    """Yield an audit trail with a writer of its own, for as long as one command takes.

    Raises ``TimeoutError`` if it cannot be written, and ``ConfigurationError`` for its key.
    """
    vault = load_vault(settings)
    writer = AuditWriter(database, deadline=settings.audit.deadline, clock=utc_now)
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    try:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            while not writer.available:  # noqa: ASYNC110 — it has no event for it, and none is due
                await asyncio.sleep(0.02)
        yield AuditTrail(
            writer,
            issuer=settings.issuer,
            vault=vault,
            clock=utc_now,
            build_id=lambda: build_uuid7(utc_now),
        )
    finally:
        stop.set()
        await running


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def operator() -> str:
    """Return who runs the command, for the record."""
    try:
        return f"operator {getpass.getuser()}"
    except (OSError, KeyError):  # a container's user may have no name
        return "operator unknown"
