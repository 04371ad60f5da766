"""Detection over a real trail: who looks, who is told, and rows that make an alert."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from broker.audit.cursor import StoredCursor
from broker.audit.detect.alert import Alert
from broker.audit.detect.detection import Detection
from broker.audit.detect.engine import Engine, Found
from broker.audit.detect.kept import Kept
from broker.audit.detect.past import NAME, Past
from broker.audit.follow import Followed, Follower, Gap
from broker.audit.outcome import build_refused
from broker.db.engine import Database
from broker.errors import Reason
from broker.settings.alerts import Alerts
from tests.audit import attempt, new_id, new_vault, running
from tests.builders import BROKER
from tests.fixtures.postgres import OneDatabase, execute
from tests.looking import running_trail
from tests.sealing import seal_now


@dataclass
class Heard:
    """Remembers what it was told."""

    found_: list[Found] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    unkept_: list[str] = field(default_factory=list)
    primed: int = 0
    waited: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def found(self, found: Found) -> None:
        self.found_.append(found)
        self.told.set()

    def failed(self, text: str) -> None:
        self.faults.append(text)

    def waits(self) -> None:
        self.waited.set()

    def idle(self) -> None:
        """Note nothing."""

    def primes(self) -> None:
        self.primed += 1

    def unkept(self, text: str) -> None:
        self.unkept_.append(text)

    def seen(self, chunk: Followed) -> None:
        """Note nothing."""

    def missing(self, gap: Gap) -> None:
        """Note nothing."""


def build_detection(
    database: Database,
    record: Callable[[Alert], Awaitable[None]],
    keep: float = 0,
    most: int = 3,
    build_engine: Callable[[Alerts], Engine] = Engine,
    **settings: Any,
) -> Detection:
    """One that goes on at once."""
    follower = Follower(database, most=most)
    heard = settings.pop("heard", None) or Heard()
    return Detection(
        follower=follower,
        cursor=StoredCursor(database, NAME),
        past=Past(database, follower),
        kept=Kept(database, NAME),
        build_engine=partial(build_engine, Alerts.model_validate(settings)),
        record=record,
        health=heard,
        look=0.02,
        rest=0,
        keep=keep,
    )


async def look(database: Database, **settings: Any) -> list[tuple[str, bool]]:
    """Look through what is sealed now; who was told of what."""
    heard = Heard()
    async with running_trail(database) as trail:
        made = build_detection(database, trail.record_alert, heard=heard, **settings)
        await made.watch(asyncio.Event(), once=True)
    return [(one.alert.rule, one.suppressed is not None) for one in heard.found_]


async def replay(database: Database, count: int = 3) -> None:
    """Have it on record that a client presents one token again and again."""
    async with running(database) as writer:
        for _ in range(count):
            made = attempt(id=new_id())
            reason = Reason.SUBJECT_TOKEN_REPLAYED
            await writer.append(
                build_refused(made, reason, id=new_id(), issuer=BROKER, vault=new_vault())
            )
    await seal_now(database)


def alerts(made: OneDatabase) -> list[tuple[str, str, str, dict[str, Any]]]:
    """The alerts on record: what, of whom, and the record."""
    rows = execute(
        made.auditor_url,
        "SELECT id, action, client, record FROM audit_event WHERE kind = 'alert' ORDER BY at",
    )
    return [
        (str(row["id"]), row["action"], row["client"], json.loads(row["record"])) for row in rows
    ]
