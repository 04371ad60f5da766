"""``/admin/revocations``: what a help desk or an incident bot sends, and what it is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import Router

from broker.blocklist.store import Ledger
from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database
from broker.endpoints.bearer import Bearer
from broker.endpoints.health import AdminEndpoints, Readiness
from broker.endpoints.revocations import MAX_BODY, RevocationsEndpoint
from broker.revocation.operator import OperatorRevocation, Survey
from tests.audit import VAULT, now, open_records
from tests.fixtures.postgres import OneDatabase, execute, one_more
from tests.jwts import BROKER_ISSUER, IDP, subject_jwt
from tests.server import BrokerClient, BrokerProcess, talk_to, write_configuration
from tests.wire import assert_issued, assert_refused, basic, exchange_form

TOKEN = "a" * 40
PATH = "/admin/revocations"


@pytest.fixture(scope="module")
def made(postgres: EmbeddedPostgres, template: OneDatabase) -> Iterator[OneDatabase]:
    """A database of this file's own: what is revoked here stays revoked."""
    with one_more(postgres, template.name) as one:
        yield one


@pytest.fixture(scope="module")
def process(made: OneDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """A broker with an admin API."""
    folder = tmp_path_factory.mktemp("admin")
    (folder / "admin").write_text(TOKEN)
    admin = {"host": "127.0.0.1", "port": 0, "token_file": "admin"}
    process = BrokerProcess(write_configuration(folder, made.app_url, admin=admin))
    try:
        process.wait_ready()
        yield process
    finally:
        assert 0 == process.stop()


@pytest.fixture
async def broker(process: BrokerProcess, made: OneDatabase) -> AsyncIterator[BrokerClient]:
    """A client of it."""
    async with talk_to(process, made.auditor_url) as client:
        yield client


class Admin:
    """Whoever has the bearer token."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def post(self, body: Any, **headers: str) -> httpx.Response:
        """Revoke; ``body`` is sent as JSON unless it is bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self._client.post(PATH, content=content, headers=self._headers(headers))

    async def find(self, **headers: str) -> httpx.Response:
        """List what is revoked."""
        return await self._client.get(PATH, headers=self._headers(headers))

    @staticmethod
    def _headers(others: dict[str, str]) -> dict[str, str]:
        mine = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        return mine | {name.replace("_", "-"): value for name, value in others.items()}


@pytest.fixture
async def admin(process: BrokerProcess) -> AsyncIterator[Admin]:
    """An operator of that broker."""
    async with httpx.AsyncClient(base_url=process.admin_url, timeout=20) as client:
        yield Admin(client)


def of(subject: str, **members: Any) -> dict[str, Any]:
    """A body that cuts off a subject; None leaves a member out."""
    body = {"scope": "subject", "issuer": IDP, "key": subject, "reason": "left"} | members
    return {name: value for name, value in body.items() if value is not None}


def ledger(made: OneDatabase) -> int:
    return int(execute(made.auditor_url, "SELECT count(*) FROM revocation")[0][0])


@pytest.mark.row("INV-10", "OP-01", "RV-2.1-05")
async def test_a_user_is_cut_off_when_the_answer_is_there(broker, admin, made):
    """201 with the rule and what it hit; from then on every token of theirs is refused here."""
    inbound = subject_jwt(sub="carol")
    issued = assert_issued(await broker.exchange(exchange_form(subject_token=inbound)))
    token = issued["access_token"]
    before = await introspect(broker, token)
    answer = await admin.post(of("carol"))
    after = await introspect(broker, token)
    again = await broker.exchange(exchange_form(subject_token=inbound))
    onward = exchange_form(subject_token=token, audience="svc-c", scope="orders.read")
    derived = await broker.exchange(onward, auth=basic("svc-b"))
    rule, hits = answer.json()["rule"], answer.json()["hits"]

    assert (201, "no-store") == (answer.status_code, answer.headers["cache-control"])
    assert rule | of("carol") | {"by": "admin"} == rule
    assert 1 == hits["tokens"]
    assert ["svc-a"] == [one["client"] for one in hits["clients"]]
    assert hits["accepted_offline_until"] > hits["counted_at"]
    assert before["active"]
    assert {"active": False} == after
    assert_refused(again, "invalid_request")
    assert_refused(derived, "invalid_request")
    assert ["issued", *["subject_token.revoked"] * 2] == await broker.audited()
    listed = (await admin.find()).json()["revocations"]
    assert rule in listed
    row = execute(
        made.auditor_url,
        "SELECT record FROM audit_event WHERE action = 'revocation' ORDER BY at DESC LIMIT 1",
    )
    (record,) = await asyncio.to_thread(open_records, made.auditor_url, [row[0]["record"]])
    assert "admin" == record["personal"]["by"]


async def introspect(broker: BrokerClient, token: str) -> dict[str, Any]:
    """What the target is told of it."""
    response = await broker.request(
        "POST", "/introspect", data=[("token", token)], auth=basic("svc-b")
    )
    assert 200 == response.status_code
    return dict(response.json())


async def test_a_client_is_kept_out_for_a_day_unless_it_is_said(admin):
    """As by the command, for a bot must not do something else than a person."""
    usual = await admin.post({"scope": "client", "key": "svc-shallow", "reason": "leaked"})
    said = await admin.post(
        {"scope": "client", "key": "svc-narrow", "reason": "x", "not_before": "+1h"}
    )
    aheads = [
        datetime.fromisoformat(answer.json()["rule"]["not_before"]) - datetime.now(UTC)
        for answer in (usual, said)
    ]

    assert abs(aheads[0] - timedelta(hours=24)) < timedelta(minutes=1)
    assert abs(aheads[1] - timedelta(hours=1)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "authorization",
    [
        pytest.param("", id="none"),
        pytest.param(f"Basic {TOKEN}", id="another-scheme"),
        pytest.param(f"Bearer {TOKEN}x", id="longer"),
        pytest.param(f"Bearer {TOKEN[:-1]}", id="shorter"),
        pytest.param("Bearer", id="empty"),
    ],
)
async def test_a_stranger_neither_revokes_nor_reads(admin, made, authorization):
    """401 before anything of the body is looked at; the ledger is as it was."""
    before = ledger(made)
    answers = [
        await admin.post(of("dave"), authorization=authorization),
        await admin.post(b"x" * (MAX_BODY + 1), authorization=authorization),
        await admin.find(authorization=authorization),
    ]

    assert [401] * 3 == [answer.status_code for answer in answers]
    assert {'Bearer realm="admin"'} == {answer.headers["www-authenticate"] for answer in answers}
    assert [{"error": "unauthorized"}] * 3 == [answer.json() for answer in answers]
    assert before == ledger(made)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 400, id="empty"),
        pytest.param(b"[]", 400, id="no-object"),
        pytest.param(b"{", 400, id="no-json"),
        pytest.param(b"\xff{}", 400, id="no-utf-8"),
        pytest.param(b'{"scope":"all","scope":"txn","reason":"x"}', 400, id="a-repeated-member"),
        pytest.param(of("x", reason=None), 400, id="without-a-reason"),
        pytest.param(of("x", reason=""), 400, id="an-empty-reason"),
        pytest.param(of("x", scope=None), 400, id="without-a-scope"),
        pytest.param(of("x", scope="user"), 400, id="an-unknown-scope"),
        pytest.param(of("x", issuer=None), 400, id="half-an-identity"),
        pytest.param(of("x", issuer=""), 400, id="an-empty-issuer"),
        pytest.param(of("x", key=None), 400, id="without-a-key"),
        pytest.param(of("x", sub="y"), 400, id="an-unknown-member"),
        pytest.param(of("x", key=7), 400, id="a-number"),
        pytest.param(of("x", issuer=[IDP]), 400, id="a-list"),
        pytest.param(of("x", not_before="24h"), 400, id="a-duration-without-a-sign"),
        pytest.param(of("x", not_before=1795647314), 400, id="a-number-of-seconds"),
        pytest.param(of("x", key="a\0b"), 400, id="a-nul"),
        pytest.param(of("x", key="k" * 2049), 400, id="a-long-key"),
        pytest.param({"scope": "all", "key": "x", "reason": "x"}, 400, id="a-key-too-many"),
        pytest.param(
            {"scope": "jti", "issuer": IDP, "key": "j", "reason": "x", "not_before": "+1h"},
            400,
            id="a-time-for-a-token",
        ),
        pytest.param(b"[" * 100, 400, id="too-deep"),
        pytest.param(b" " * (MAX_BODY + 1), 413, id="too-large"),
    ],
)
async def test_what_is_not_as_it_should_be_revokes_nothing(admin, made, body, status):
    """Said what would be; the ledger is as it was."""
    before = ledger(made)
    answer = await admin.post(body)

    assert status == answer.status_code, answer.text
    assert {"error", "error_description"} == {*answer.json()}
    assert "invalid_request" == answer.json()["error"]
    assert before == ledger(made)


async def test_only_json_is_read(admin, made):
    """A form that a browser could be made to send is not."""
    before = ledger(made)
    answer = await admin.post(of("x"), content_type="text/plain")

    assert 415 == answer.status_code
    assert before == ledger(made)


async def test_the_public_listener_has_no_such_path(broker):
    """Clients do not reach it."""
    assert 404 == (await broker.request("POST", PATH, json=of("x"))).status_code


@pytest.mark.row("RV-2.2-03")
async def test_without_the_database_it_is_never_a_success(tmp_path: Path):
    """503, and when to come again: for revoking as for listing."""
    database = Database(f"postgresql://broker_app@/broker?host={tmp_path}")
    survey = Survey(
        issuer=BROKER_ISSUER,
        ledger=Ledger(database),
        database=database,
        pseudonym=VAULT.pseudonym,
        longest_life=timedelta(minutes=5),
        memory=lambda: timedelta(1),
        clock=now,
    )
    revocations = RevocationsEndpoint(OperatorRevocation(survey, _Unreached()), now)
    endpoints = AdminEndpoints(
        readiness=lambda: Readiness({}, {}),
        status=dict,
        metrics=None,  # type: ignore[arg-type] — nobody asks for metrics here
        revocations=revocations,
        bearer=Bearer(TOKEN.encode()),
    )
    transport = httpx.ASGITransport(Router(endpoints.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://admin.test") as client:
        answers = [await Admin(client).post(of("x")), await Admin(client).find()]
    await database.aclose()

    assert [503, 503] == [answer.status_code for answer in answers]
    assert ["1", "1"] == [answer.headers["retry-after"] for answer in answers]
    assert {"temporarily_unavailable"} == {answer.json()["error"] for answer in answers}


class _Unreached:
    """A trail that nothing comes to: the ledger is asked first."""

    async def record(self, *_: Any, **__: Any) -> None:
        raise AssertionError("recorded, though the ledger is away")
