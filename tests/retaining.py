"""A trail of days that are long over, sealed, and a retention that works on it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from broker.audit.commit import AuditTrail
from broker.audit.outcome import build_administration
from broker.audit.retain import Retention
from broker.audit.retain_store import CannotRetain, PartitionStore
from broker.audit.seal_store import HeadLost, SealUnavailable
from broker.audit.uuid7 import build_uuid7
from broker.audit.writer import AuditWriter
from broker.db.engine import Database
from tests.audit import new_id, new_vault, now, running
from tests.fixtures.postgres import OneDatabase, execute
from tests.sealing import KEYS, seal_now

FIRST, SECOND = date(2025, 1, 1), date(2025, 1, 2)
AGE = timedelta(days=400)
MIDNIGHT = datetime(2025, 1, 2, tzinfo=UTC)
ROWS = {FIRST: 17, SECOND: 16}  # what ``write_days`` leaves there
# What a process that was killed a moment ago may still hold, or what it was doing.
NOT_YET = (CannotRetain, HeadLost, SealUnavailable)
TABLES = {day: f"audit_event_p{day:%Y%m%d}" for day in (FIRST, SECOND)}


def at_midnight(seconds: float) -> Any:
    """An event so long after the midnight between the two days."""
    at = MIDNIGHT + timedelta(seconds=seconds)
    return build_administration(
        "test", {"n": seconds}, id=new_id(), at=at, by="somebody", vault=new_vault()
    )


@dataclass(frozen=True)
class Place:
    """Where a database is, for another process."""

    owner_url: str
    app_url: str


async def write_days(made: OneDatabase) -> None:
    """Two days of one writer, with a batch that midnight cuts, and a day of another one; sealed.

    Of the days ahead only a few stay: with fewer files the database is sooner copied.
    """
    today = now().date()
    ahead = [f"audit_event_p{today + timedelta(days=n):%Y%m%d}" for n in range(3, 91)]
    execute(made.owner_url, f"DROP TABLE IF EXISTS {', '.join(ahead)}")
    for day in TABLES:
        execute(made.owner_url, f"SELECT audit_event_partition('{day}')")
    database = Database(made.app_url)
    async with old_writer(database, MIDNIGHT - timedelta(minutes=1)) as writer:
        for seconds in range(-20, -10):
            await writer.append(at_midnight(seconds))
        # One batch, and every other row of it on the next day.
        mixed = [at_midnight(s) for n in range(1, 6) for s in (-n / 10, n / 10)]
        await asyncio.gather(*(writer.append(one) for one in mixed))
        await writer.append(at_midnight(10))
    async with old_writer(database, MIDNIGHT + timedelta(hours=1)) as writer:
        await asyncio.gather(*(writer.append(at_midnight(3600 + n)) for n in range(8)))
    async with running(database) as writer:  # and somebody of today
        await writer.append(at_midnight((now() - MIDNIGHT).total_seconds()))
    await seal_now(database)
    await database.aclose()


@asynccontextmanager
async def old_writer(database: Database, at: datetime) -> AsyncIterator[AuditWriter]:
    """A writer whose clock stands still, long ago."""
    writer = AuditWriter(database, deadline=timedelta(seconds=5), clock=lambda: at)
    stop = asyncio.Event()
    flusher = asyncio.create_task(writer.run(stop))
    try:
        yield writer
    finally:
        stop.set()
        await flusher


class Told:
    """Remembers the steps that were told."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    @contextmanager
    def step(self, title: str) -> Iterator[Any]:
        """Remember that it was begun."""
        self.steps.append(title)
        yield lambda _: None


@asynccontextmanager
async def retention(
    made: OneDatabase | Place, folder: Path, *, keys: Any = KEYS, seals: bool = True
) -> AsyncIterator[Retention]:
    """A retention with a writer of its own; ``seals`` False: nobody makes checkpoints."""
    owner, database = Database(made.owner_url, timeout=None), Database(made.app_url, timeout=None)

    async def make_checkpoint() -> None:
        await (seal_now(database, keys=keys) if seals else asyncio.sleep(0.01))

    store = await PartitionStore.open(owner)
    try:
        async with running(database) as writer:
            trail = AuditTrail(
                writer,
                issuer="https://b.test",
                vault=new_vault(),
                clock=now,
                build_id=lambda: build_uuid7(now),
            )
            yield Retention(
                database,
                store,
                keys=keys,
                record=trail.record,
                seal=make_checkpoint,
                older_than=AGE,
                folder=folder,
                by="operator test",
                steps=Told(),
            )
    finally:
        await store.aclose()
        await owner.aclose()
        await database.aclose()


def days_left(made: OneDatabase | Place) -> list[date]:
    """The two days, as far as their partitions are there."""
    rows = execute(made.owner_url, "SELECT relname FROM pg_class WHERE relkind = 'r'")
    names = {row["relname"] for row in rows}
    return [day for day, table in TABLES.items() if table in names]


def remove_first(made: Place, folder: Path) -> None:
    """Remove the first day; runs in a process that is killed."""
    asyncio.run(_remove_first(made, folder))


async def _remove_first(made: Place, folder: Path) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                async with retention(made, folder) as work:
                    await work.retain(FIRST)
                    return
            except NOT_YET:
                await asyncio.sleep(0.02)
