"""RFC 8693 §2.1: a revocation reaches whatever was made of what is revoked; ours always does."""

import re
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from broker.blocklist.rule import OUTRIGHT, Scope
from broker.blocklist.store import Ledger
from broker.db.engine import Database
from broker.errors import PUBLIC, Reason
from tests.jwts import IDP, OTHER, actor_jwt, subject_jwt, unverified_claims
from tests.server import eventually
from tests.wire import JWT, assert_issued, assert_refused, basic, exchange_form

REVOKED = PUBLIC[Reason.SUBJECT_TOKEN_REVOKED].description


@pytest.fixture
async def revoke(broker, broker_postgres):
    """Revoke as any process of the broker does, and return once this one knows it."""
    database = Database(broker_postgres.app_url)

    async def append(scope: Scope, issuer: str = "", key: str = "", until=timedelta()) -> int:
        rule = await Ledger(database).append(
            scope,
            issuer=issuer,
            key=key,
            not_before=None if scope in OUTRIGHT else datetime.now(UTC) + until,
            reason="a test",
            by="a test",
        )
        # It is known everywhere within the bound; here, which number was last is what tells.
        await eventually(lambda: known(rule.seq))
        return rule.seq

    async def known(seq: int) -> bool:
        metrics = (await broker.admin("/metrics")).text
        newest = re.search(r"^broker_blocklist_newest ([0-9.e+]+)$", metrics, re.MULTILINE)
        return newest is not None and float(newest[1]) >= seq

    yield append
    await database.aclose()


async def exchanged(broker, token, client, audience) -> str:
    form = exchange_form(subject_token=token, audience=audience)
    return assert_issued(await broker.exchange(form, auth=basic(client)))["access_token"]


async def outcome(broker, token, client, audience="svc-b") -> str:
    form = exchange_form(subject_token=token, audience=audience)
    response = await broker.exchange(form, auth=basic(client))
    if response.status_code == 200:
        return "issued"
    return assert_refused(response, response.json()["error"], response.status_code)


async def active(broker, token, client) -> bool:
    """Whether introspection says so."""
    return (await broker.introspect(token, auth=basic(client))).json()["active"]


@pytest.mark.row("TX-2.1-19", "RV-2.1-07", "CVE-2026-9097", "TX-2.2.2-01")
async def test_s2_1_a_revoked_subject_token_takes_along_all_that_was_made_of_it(broker, revoke):
    """RFC 8693 §2.1 leaves it open; ours cascades: itself, child and grandchild, and no other."""
    first, second = subject_jwt(jti=str(uuid.uuid4())), subject_jwt(jti=str(uuid.uuid4()))
    child = await exchanged(broker, first, "svc-a", "svc-b")
    grandchild = await exchanged(broker, child, "svc-b", "svc-c")
    sibling = await exchanged(broker, second, "svc-a", "svc-b")
    seq = await revoke(Scope.JTI, IDP, unverified_claims(first)["jti"])

    assert [REVOKED] * 3 == [
        await outcome(broker, first, "svc-a"),
        await outcome(broker, child, "svc-b", "svc-c"),
        await outcome(broker, grandchild, "svc-c"),
    ]
    assert "issued" == await outcome(broker, second, "svc-a")
    assert "issued" == await outcome(broker, sibling, "svc-b", "svc-c")
    assert [False, False, True] == [
        await active(broker, child, "svc-b"),
        await active(broker, grandchild, "svc-c"),
        await active(broker, sibling, "svc-b"),
    ]
    assert ["subject_token.revoked"] * 3 == (await broker.audited())[3:6]
    assert [seq] * 3 == [record["revocation"] for record in (await broker.records())[3:6]]


@pytest.mark.row("TX-2.1-26", "RV-2.1-05", "INV-10")
async def test_s2_1_a_revoked_token_of_ours_is_refused_and_its_parent_is_not(broker, revoke):
    """RFC 8693 §2.2.2: invalid_request; downwards, never upwards."""
    subject_token = subject_jwt()
    child = await exchanged(broker, subject_token, "svc-a", "svc-b")
    claims = unverified_claims(child)
    await revoke(Scope.JTI, claims["iss"], claims["jti"])

    assert REVOKED == await outcome(broker, child, "svc-b", "svc-c")
    assert "issued" == await outcome(broker, subject_token, "svc-a")


@pytest.mark.row("TX-2.1-19", "INV-10")
async def test_s2_1_a_transaction_ends_as_a_whole(broker, revoke):
    """Its root exchange and every hop since; a second exchange of the same token is another."""
    subject_token = subject_jwt()
    one, other = [await exchanged(broker, subject_token, "svc-a", "svc-b") for _ in range(2)]
    later = await exchanged(broker, one, "svc-b", "svc-c")
    await revoke(Scope.TXN, key=unverified_claims(one)["txn"])

    assert REVOKED == await outcome(broker, one, "svc-b", "svc-c")
    assert REVOKED == await outcome(broker, later, "svc-c")
    assert "issued" == await outcome(broker, other, "svc-b", "svc-c")


@pytest.mark.row("CVE-2026-1609", "INV-9", "INV-10")
async def test_s2_1_a_subject_is_revoked_at_its_issuer_and_not_elsewhere(broker, revoke):
    """Until it comes with a token that began later."""
    name = f"mallory-{uuid.uuid4()}"
    before = subject_jwt(sub=name)
    child = await exchanged(broker, before, "svc-a", "svc-b")
    await revoke(Scope.SUBJECT, IDP, name)
    later = int(datetime.now(UTC).timestamp()) + 1

    assert REVOKED == await outcome(broker, before, "svc-a")
    assert REVOKED == await outcome(broker, child, "svc-b", "svc-c")
    assert "issued" == await outcome(broker, subject_jwt(sub=name, iss=OTHER), "svc-a")
    assert "issued" == await outcome(broker, subject_jwt(sub=name, iat=later), "svc-a")


@pytest.mark.row("ATK-ACT-02", "CVE-2026-1609", "INV-10")
async def test_s2_1_an_actor_that_was_revoked_meanwhile_ends_the_chain(broker, revoke):
    """Its own token, what it acted in, and what others made of that."""
    name = f"batch-{uuid.uuid4()}"
    actor_token = actor_jwt(sub=name)
    form = exchange_form(actor_token=actor_token, actor_token_type=JWT)
    acted = assert_issued(await broker.exchange(form))["access_token"]
    later = await exchanged(broker, acted, "svc-b", "svc-c")
    await revoke(Scope.ACTOR, IDP, name, until=timedelta(seconds=10))
    refused = await broker.exchange(form)

    assert PUBLIC[Reason.ACTOR_TOKEN_REVOKED].description == assert_refused(
        refused, "invalid_request"
    )
    assert REVOKED == await outcome(broker, acted, "svc-b", "svc-c")
    assert REVOKED == await outcome(broker, later, "svc-c")
    assert "actor_token.revoked" == (await broker.audited())[2]


@pytest.mark.row("CA-D-01", "CVE-2025-64521", "OA-5.2-02")
async def test_s2_1_a_revoked_client_gets_nothing_and_what_it_got_is_dead(broker, revoke):
    """RFC 6749 §5.2: invalid_client, in the words of any failure."""
    got = await exchanged(broker, subject_jwt(aud="svc-blocked"), "svc-blocked", "svc-b")
    await revoke(Scope.CLIENT, key="svc-blocked", until=timedelta(hours=1))
    response = await broker.exchange(
        exchange_form(subject_token=subject_jwt(aud="svc-blocked")), auth=basic("svc-blocked")
    )

    assert "Client authentication failed." == assert_refused(response, "invalid_client", 401)
    assert "Basic" == response.headers["www-authenticate"].split()[0]
    assert REVOKED == await outcome(broker, got, "svc-b", "svc-c")
    assert not await active(broker, got, "svc-b")
    assert "issued" == await outcome(broker, subject_jwt(), "svc-a")
    assert "client.revoked" == (await broker.audited())[1]
