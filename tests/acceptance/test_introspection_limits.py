"""A broker of one's own: callers that ask too often, and a database that goes away."""

import secrets

import pytest

from broker.db.embedded import EmbeddedPostgres
from broker.db.migrate import migrate
from tests.server import BrokerProcess, talk_to, write_configuration
from tests.wire import ACCESS_TOKEN, assert_issued, assert_refused, basic, exchange_form

RATE = 50  # introspections a minute


@pytest.fixture
def own_postgres(tmp_path):
    """A database that the test may kill."""
    with EmbeddedPostgres(tmp_path / "postgres") as postgres:
        migrate(postgres.owner_url)
        yield postgres


@pytest.fixture
def process(own_postgres, tmp_path):
    """``broker serve`` with a low rate, and few rows for refusals."""
    limits = {"authentication_failures": "100/1m", "introspections": f"{RATE}/1m"}
    config = write_configuration(
        tmp_path,
        own_postgres.app_url,
        limits=limits,
        audit={"unauthenticated_refusals": "5/1m"},
    )
    process = BrokerProcess(config)
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()


async def issued(broker, target: str) -> str:
    response = await broker.exchange(exchange_form(audience=target))
    return str(assert_issued(response)["access_token"])


@pytest.mark.row("IN-2.3-02")
async def test_s4_guessing_is_slowed_down_and_leaves_no_trace_of_a_token(process, own_postgres):
    """RFC 7662 §4: 1,000 guesses get 50 answers; others are not slowed down, no token is logged."""
    async with talk_to(process, own_postgres.auditor_url) as broker:
        guesses = [secrets.token_urlsafe(32) for _ in range(1000)]
        answers = [await broker.introspect(guess) for guess in guesses]
        statuses = [answer.status_code for answer in answers]
        other = await broker.introspect(await issued(broker, "svc-c"), auth=basic("svc-c"))
        rows = await broker.audited("introspection")
        records = await broker.records("introspection")
    refused = answers[-1]

    # A minute's worth comes back by and by while the thousand are asked.
    assert {200: RATE} == {200: statuses[:RATE].count(200)}
    assert statuses.count(429) > 1000 - 4 * RATE
    assert {"active": False} == answers[0].json()
    assert_refused(refused, "temporarily_unavailable", 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert (200, True) == (other.status_code, other.json()["active"])
    # Counted beyond a few, or the rate would be that of rows which nobody can delete.
    assert ["introspection.throttled"] * 5 == rows
    assert {"svc-b"} == {record["client"]["id"] for record in records}
    log = process.log.read_text()
    assert not [guess for guess in guesses if guess in log or guess in str(records)]


@pytest.mark.row("RV-2.2-03", "IN-2.2-08")
async def test_s2_2_1_without_its_database_nothing_is_said_to_be_revoked(process, own_postgres):
    """RFC 7009 §2.2.1: 503 and Retry-After, never a 200 that is not true; nor a false inactive."""
    async with talk_to(process, own_postgres.auditor_url) as broker:
        jwt, reference = await issued(broker, "svc-b"), await issued(broker, "svc-ref")
        own_postgres.kill()
        revocations = [await broker.revoke(token) for token in (jwt, reference)]
        asked = await broker.introspect(reference, auth=basic("svc-ref"))
        onward = await broker.exchange(
            exchange_form(subject_token=reference, subject_token_type=ACCESS_TOKEN),
            auth=basic("svc-ref"),
        )

    for response in (*revocations, asked, onward):
        assert_refused(response, "temporarily_unavailable", 503)
        assert 1 <= int(response.headers["retry-after"])
