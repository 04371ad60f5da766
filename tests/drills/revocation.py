"""Revocations that reach several processes: by notification, by the poll alone, or not at all.

Nothing here waits for a fixed time. Each process is asked about a token again and again, by
introspection, until it says that the token is not active; what is told is how long that took.
"""

import asyncio
import re
import time
from collections.abc import Sequence

import asyncpg
import httpx

from broker.blocklist.rule import Scope
from broker.blocklist.store import Ledger
from broker.db.engine import Database
from tests.drills.load import exchange
from tests.fixtures.postgres import execute
from tests.jwts import BROKER_ISSUER, unverified_claims
from tests.server import BrokerProcess
from tests.wire import ACCESS_TOKEN, basic, exchange_form

# Asked as often as a drill likes.
GENEROUS = {
    "audit": {"deadline": "10s", "unauthenticated_refusals": "100000/1m"},
    "limits": {"introspections": "1000000/1m", "authentication_failures": "100000/1m"},
}
REFUSED = "refused"
_PAUSE = 0.002  # seconds between two questions


class Platform:
    """Several brokers on one database, and somebody who revokes."""

    def __init__(self, replicas: Sequence[BrokerProcess], database_url: str) -> None:
        self.replicas = replicas
        self.database = Database(database_url)
        self.ledger = Ledger(self.database)
        self.client = httpx.AsyncClient(timeout=30, limits=httpx.Limits(max_connections=200))

    async def aclose(self) -> None:
        """Leave nothing open."""
        await self.client.aclose()
        await self.database.aclose()

    async def issue(self, where: int = 0, *, onward: str | None = None) -> str:
        """Return a token for ``svc-b``, or for ``svc-c`` what ``svc-b`` makes of one."""
        form, auth = exchange_form(), basic()
        if onward is not None:
            form = exchange_form(
                subject_token=onward, subject_token_type=ACCESS_TOKEN, audience="svc-c"
            )
            auth = basic("svc-b")
        answer = await exchange(self.client, self.replicas[where].url, form, auth)
        assert 200 == answer.status, answer.body
        return str(answer.body["access_token"])

    async def ask(self, where: int, token: str) -> str:
        """What a process says of a token: ``active``, ``inactive``, or that it cannot say."""
        audience = unverified_claims(token)["aud"]
        response = await self.client.post(
            f"{self.replicas[where].url}/introspect", data={"token": token}, auth=basic(audience)
        )
        if response.status_code == 503:
            return REFUSED
        assert 200 == response.status_code, response.text
        return "active" if response.json()["active"] else "inactive"

    async def revoke(self, token: str) -> float:
        """Revoke it; return when that was durable, on the monotonic clock."""
        await self.ledger.append(
            Scope.JTI,
            issuer=BROKER_ISSUER,
            key=unverified_claims(token)["jti"],
            reason="drill 11",
            by="drill 11",
        )
        return time.monotonic()

    async def not_active(self, where: int, token: str, *, seconds: float = 30.0) -> str:
        """Return what a process says once it no longer says ``active``."""
        async with asyncio.timeout(seconds):
            # Another process sets no event of ours.
            while (said := await self.ask(where, token)) == "active":  # noqa: ASYNC110 — see above
                await asyncio.sleep(_PAUSE)
        return said

    async def follow(self, token: str) -> list[float]:
        """Revoke a token; return for each process how many seconds later it refused."""
        durable_at = await self.revoke(token)

        async def refuses(where: int) -> float:
            assert "inactive" == await self.not_active(where, token)
            return time.monotonic() - durable_at

        return list(await asyncio.gather(*map(refuses, range(len(self.replicas)))))


async def sample(platform: Platform, count: int, *, at_once: int) -> list[float]:
    """Return for ``count`` revocations how long the last of the processes took to refuse."""
    slowest: list[float] = []
    waiting = iter(range(count))

    async def one_after_the_other() -> None:
        for number in waiting:
            token = await platform.issue(number % len(platform.replicas))
            slowest.append(max(await platform.follow(token)))

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_the_other())
    return slowest


def silence(owner_url: str) -> None:
    """Let nobody be notified any more: what is left is the poll."""
    ((text,),) = execute(owner_url, "SELECT pg_get_functiondef('revocation_number'::regproc)")
    quiet, count = re.subn(r"PERFORM pg_notify\([^)]*\);", "", text)
    assert 1 == count
    execute(owner_url, quiet)


async def storm(database_url: str, count: int, seconds: float) -> float:
    """Revoke ``count`` transactions, one commit each, spread over ``seconds``; return how long."""
    began = time.monotonic()
    connections = [await asyncpg.connect(database_url) for _ in range(4)]
    numbers = iter(range(count))

    async def pour(connection: asyncpg.Connection) -> None:
        insert = await connection.prepare(
            "INSERT INTO revocation (scope, issuer, key, reason, by, at)"
            " VALUES ('txn', '', $1, 'drill 11', 'drill 11', clock_timestamp())"
        )
        for number in numbers:
            ahead = number / count * seconds - (time.monotonic() - began)
            if ahead > 0:
                await asyncio.sleep(ahead)
            await insert.fetch(f"storm-{began}-{number}")

    try:
        await asyncio.gather(*map(pour, connections))
    finally:
        for connection in connections:
            await connection.close()
    return time.monotonic() - began
