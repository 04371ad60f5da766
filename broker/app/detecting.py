"""The part of a broker that looks through its trail, over database connections of its own."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from broker.audit.commit import AuditTrail
from broker.audit.cursor import StoredCursor
from broker.audit.detect.detection import Detection
from broker.audit.detect.engine import Engine
from broker.audit.detect.health import DetectionHealth
from broker.audit.detect.kept import Kept
from broker.audit.detect.past import NAME, Past
from broker.audit.follow import Follower
from broker.db.engine import Database
from broker.settings.alerts import Alerts

_PATIENCE: Final = timedelta(minutes=1)  # for one statement; nobody waits for it
_MOST: Final = 64  # rows at once: what is made of them takes milliseconds of this loop


class Detecting:
    """Every replica runs one. The first has the lock, and the others wait."""

    def __init__(
        self, settings: Alerts, url: str, trail: AuditTrail, clock: Callable[[], datetime]
    ) -> None:
        """Nothing is opened yet."""
        # None of the connections that exchanges take.
        self._database = Database(url, timeout=_PATIENCE, pool_size=1)
        self._health = DetectionHealth(clock)
        self._enabled = settings.enabled
        follower = Follower(self._database, most=_MOST)
        self._detection = Detection(
            follower=follower,
            cursor=StoredCursor(self._database, NAME),
            past=Past(self._database, follower),
            kept=Kept(self._database, NAME),
            build_engine=partial(Engine, settings),
            record=trail.record_alert,
            health=self._health,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Look until ``stop`` is set; a failing database ends nothing here."""
        try:
            if self._enabled:
                await self._detection.run(stop)
            else:
                await stop.wait()
        finally:
            await self._database.aclose()

    def describe(self) -> dict[str, str | None]:
        """Return what it does, and what is wrong, for operators."""
        return {
            "state": self._health.state if self._enabled else "off",
            "fault": self._health.fault,
        }
