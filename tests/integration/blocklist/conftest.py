"""Processes that share one ledger, each with its own feed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from broker.blocklist.feed import Blocklist
from broker.blocklist.rule import Rule, Scope
from broker.blocklist.store import Ledger
from broker.db.engine import Database
from tests.audit import now


class Process:
    """What one process of the broker has of revocations. Its monotonic clock is the test's."""

    def __init__(self, url: str, **options: Any) -> None:
        self.database = Database(url)
        self.ledger = Ledger(self.database)
        self.seconds = 0.0
        settings: dict[str, Any] = {"memory": timedelta(days=2), "clock": now}
        self.blocklist = Blocklist(
            self.ledger, monotonic=lambda: self.seconds, **settings | options
        )

    async def revoke(self, txn: str) -> Rule:
        """Revoke a transaction, of which there is one by this name."""
        return await self.ledger.append(Scope.TXN, key=txn, reason="a test", by="a test")

    def revoked(self) -> list[str]:
        """What is revoked as far as this process knows, in order."""
        return [rule.key for rule in sorted(self.blocklist.current, key=lambda rule: rule.seq)]

    async def until(self, *txns: str) -> None:
        """Return once it knows exactly of these."""
        async with asyncio.timeout(20):
            # Asked and not told: it is the snapshot that readers see.
            while not self.blocklist.loaded or list(txns) != self.revoked():  # noqa: ASYNC110 — see above
                await asyncio.sleep(0.005)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The feed, ended in good order."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.blocklist.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task


@pytest.fixture
async def start(fresh):
    """Start one more process over the same database."""
    started = []

    def begin(url: str = fresh.app_url, **options: Any) -> Process:
        started.append(Process(url, **options))
        return started[-1]

    yield begin
    for process in started:
        await process.database.aclose()
