"""Load on brokers, and what must be true of it whatever was killed, cut or filled meanwhile.

Each request presents a token of its own. What is remembered of an answer is what a client has of
it: status, how long it took, and the token.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.jwts import ONCE, client_assertion, subject_jwt, unverified_claims
from tests.server import ROOT, BrokerProcess, eventually
from tests.wire import ASSERTION_TYPE, Form, basic, exchange_form

# Seconds. The deadline is one; the rest is for a machine that does much else at the same time,
# and is still far below what any client or connection of ours waits.
WITHIN = 1.0 + 4.0

_PATIENCE = 20.0  # seconds that a client waits before it counts as a hang
_SERIAL = itertools.count()

Request = tuple[Form, tuple[str, str] | None]


def plain() -> Request:
    """A token of the identity provider, presented with a secret."""
    return exchange_form(), basic()


def one_time() -> Request:
    """A token that is claimed in the transaction of its audit row."""
    return exchange_form(subject_token=subject_jwt(iss=ONCE)), basic()


def asserted() -> Request:
    """A client that signs: its assertion is claimed before anything else is looked at."""
    token = subject_jwt(aud="svc-jwt")
    assertion = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": client_assertion()}
    return exchange_form(subject_token=token, **assertion), None


def of_all_kinds() -> Request:
    """Each of these in turn."""
    return (plain, one_time, asserted)[next(_SERIAL) % 3]()


def without_one_time() -> Request:
    """The first and the last in turn."""
    return (plain, asserted)[next(_SERIAL) % 2]()


# Where nothing is wrong with the database: then a machine that has too much to do is no outage.
PATIENT = {"audit": {"deadline": "10s", "unauthenticated_refusals": "100000/1m"}}


def with_secrets() -> Request:
    """The first two in turn: what waits for nothing but the deadline of the audit trail."""
    return (plain, one_time)[next(_SERIAL) % 2]()


@dataclass(frozen=True)
class Answer:
    """What a client has of one answer."""

    status: int
    seconds: float
    retry_after: str | None
    body: dict[str, Any]
    request_id: str

    @property
    def jti(self) -> str:
        """The id of the token."""
        return str(unverified_claims(self.body["access_token"])["jti"])


@dataclass
class Load:
    """Some connections, each of which asks again as soon as it was answered."""

    answers: list[Answer] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # connections that ended without an answer

    @property
    def statuses(self) -> Counter[int]:
        """How many answers had which status."""
        return Counter(answer.status for answer in self.answers)

    @property
    def issued(self) -> set[str]:
        """The ``jti`` of every token that arrived."""
        return {answer.jti for answer in self.answers if answer.status == 200}

    async def more(self, status: int, count: int = 1, *, seconds: float = 60.0) -> None:
        """Return once there are ``count`` more answers with this status."""
        wanted = self.statuses[status] + count

        async def there() -> bool:
            return self.statuses[status] >= wanted

        await eventually(there, seconds=seconds)

    async def more_of_any(self, count: int) -> None:
        """Return once there are ``count`` more answers, whatever they say."""
        wanted = len(self.answers) + count

        async def there() -> bool:
            return len(self.answers) >= wanted

        await eventually(there, seconds=60)

    def assert_refused_in_time(self) -> None:
        """Every answer is a token, or a 503 that says when to come again; none was a hang."""
        assert {200, 503} >= set(self.statuses), self.statuses
        late = [answer for answer in self.answers if answer.seconds > WITHIN]
        assert [] == late
        refused = [answer for answer in self.answers if answer.status == 503]
        assert all(int(answer.retry_after or 0) >= 1 for answer in refused)
        assert {"temporarily_unavailable"} >= {answer.body["error"] for answer in refused}


@asynccontextmanager
async def load(
    where: Callable[[], str],
    *,
    connections: int = 8,
    request: Callable[[], Request] = plain,
    pause: float = 0.0,
) -> AsyncIterator[Load]:
    """Load on the broker at ``where()`` for as long as the block lasts."""
    seen = Load()
    stop = asyncio.Event()

    async def ask(client: httpx.AsyncClient) -> None:
        while not stop.is_set():
            try:
                seen.answers.append(await exchange(client, where(), *request()))
            except httpx.TransportError as error:
                seen.broken.append(repr(error))
                await asyncio.sleep(0.02)  # nobody is there, and asking faster brings nobody back
            await asyncio.sleep(pause)

    async with (
        httpx.AsyncClient(timeout=_PATIENCE, limits=_limits(connections)) as client,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(connections):
            group.create_task(ask(client))
        try:
            yield seen
        finally:
            stop.set()


def _limits(connections: int) -> httpx.Limits:
    return httpx.Limits(max_connections=connections, max_keepalive_connections=connections)


async def exchange(
    client: httpx.AsyncClient, url: str, form: Form, auth: tuple[str, str] | None
) -> Answer:
    """Ask once."""
    began = time.monotonic()
    response = await client.post(f"{url}/token", data=dict(form), auth=auth)
    assert "application/json" == response.headers.get("content-type"), (
        response.status_code,
        response.headers,
        response.content,
    )
    return Answer(
        response.status_code,
        time.monotonic() - began,
        response.headers.get("retry-after"),
        response.json(),
        response.headers["x-request-id"],
    )


async def find_missing(auditor_url: str, ids: set[str]) -> set[str]:
    """Return those of the tokens that have no audit row."""
    connection = await asyncpg.connect(auditor_url)
    try:
        rows = await connection.fetch(
            "SELECT id FROM audit_event WHERE id = ANY($1::uuid[]) AND outcome = 'issued'",
            sorted(ids),
        )
    finally:
        await connection.close()
    return ids - {str(row["id"]) for row in rows}


async def assert_whole(auditor_url: str) -> dict[str, Any]:
    """No writer has a gap, and ``broker audit verify`` says intact; return its report."""
    connection = await asyncpg.connect(auditor_url)
    try:
        writers = await connection.fetch(
            "SELECT writer, min(seq) AS first, max(seq) AS last, count(*) AS rows"
            " FROM audit_event GROUP BY writer"
        )
    finally:
        await connection.close()
    assert [] == [dict(w) for w in writers if (w["first"], w["last"]) != (1, w["rows"])]
    code, report = await audit_verify(auditor_url)
    assert (0, True, []) == (code, report["intact"], report["problems"])
    return report


async def audit_verify(auditor_url: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit code and its report."""
    code, output = await run_broker("audit", "verify", "--database-url", auditor_url, json=True)
    return code, output


async def run_broker(*arguments: str, json: bool = False) -> tuple[int, Any]:
    """Run ``broker`` with these arguments; return its exit code and what it printed."""
    return await asyncio.to_thread(_run, [*arguments, *(("--format", "json") if json else ())])


def _run(arguments: list[str]) -> tuple[int, Any]:
    command = [sys.executable, "-m", "broker.cli", *arguments]
    done = subprocess.run(
        command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        return done.returncode, done.stdout + done.stderr


async def read_metrics(process: BrokerProcess) -> dict[str, float]:
    """What the broker counts, by name and labels as they are written in the text format."""
    async with httpx.AsyncClient(timeout=_PATIENCE) as client:
        response = await client.get(f"{process.admin_url}/metrics")
    return dict(_samples(response.text))


async def count_reasons(process: BrokerProcess) -> dict[str, int]:
    """How many exchanges were issued, or refused for which reason, as the broker counts them."""
    prefix = "broker_exchange_outcomes_total{reason="
    counted = await read_metrics(process)
    return {
        name.removeprefix(prefix)[:-1]: int(value)
        for name, value in counted.items()
        if name.startswith(prefix)
    }


def _samples(text: str) -> Iterator[tuple[str, float]]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            yield f"{sample.name}{{{labels}}}" if labels else sample.name, sample.value


async def is_ready(process: BrokerProcess) -> bool:
    """Whether it says so."""
    async with httpx.AsyncClient(timeout=_PATIENCE) as client:
        return (await client.get(f"{process.admin_url}/health/ready")).status_code == 200


async def fetch_jwks(process: BrokerProcess) -> httpx.Response:
    """What it publishes."""
    async with httpx.AsyncClient(timeout=_PATIENCE) as client:
        return await client.get(f"{process.url}/.well-known/jwks.json")


async def rotate_keys(process: BrokerProcess) -> None:
    """Rotate by hand, as an operator does."""
    arguments = ["keys", "rotate", "--config", str(process.config), "--algorithm", "ES256"]
    code, said = await run_broker(*arguments, "--force")
    assert 0 == code, said
