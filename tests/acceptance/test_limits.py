"""Who asks for more than its share, over HTTP: told so, with when to come back, and counted."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.fixtures.redis import RedisServer
from tests.jwts import subject_jwt
from tests.server import BrokerProcess, talk_to, write_configuration
from tests.wire import assert_issued, basic, exchange_form

LIMITS = {
    "client": {"rate": "20/1h", "concurrent": 50},
    "client_target": {"daily": 5},
}


@pytest.fixture
def process(bare, tmp_path):
    """A broker with little to give; each client has as much as the other."""
    config = write_configuration(
        tmp_path, bare.app_url, limits=LIMITS, audit={"unauthenticated_refusals": "5/1m"}
    )
    process = BrokerProcess(config)
    try:
        process.wait_ready()
        yield process
    finally:
        process.kill()


async def ask(broker: Any, client: str, target: str) -> Any:
    """One exchange, by this client for this target."""
    form = exchange_form(subject_token=subject_jwt(aud=client), audience=target)
    return await broker.exchange(form, auth=basic(client))


async def test_who_has_had_its_share_is_told_when_there_is_more(process, bare) -> None:
    """RFC 6585 §4 and the draft of RateLimit fields; others, and other targets, go on."""
    async with talk_to(process, bare.auditor_url) as broker:
        to_b = [await ask(broker, "svc-a", "svc-b") for _ in range(7)]
        to_uri = [await ask(broker, "svc-a", "svc-mail") for _ in range(2)]
        other = await ask(broker, "svc-b", "svc-a")
        rest = [await ask(broker, "svc-a", "svc-c") for _ in range(16)]
        issued = [row for row in await broker.rows() if row["outcome"] == "issued"]

    for response in (*to_b[:5], *to_uri, other):
        assert_issued(response)
    daily = to_b[-1]
    assert (daily.status_code, daily.json()["error"]) == (429, "temporarily_unavailable")
    assert daily.headers["ratelimit-policy"] == '"target-daily";q=5;w=86400'
    assert daily.headers["ratelimit"].startswith('"target-daily";r=0;t=')
    assert 0 < int(daily.headers["retry-after"]) <= 86_400
    assert rest[-1].headers["ratelimit-policy"] == '"client-rate";q=20;w=3600'
    assert rest[-1].headers["cache-control"] == "no-store"
    # What was refused has no token, and no row of its own: it would come faster than the limit.
    assert len(issued) == 5 + 2 + 1 + 5


async def test_what_was_refused_is_counted_in_the_trail(process, bare) -> None:
    """One row says how many, by reason, once a minute, and at the end."""
    async with talk_to(process, bare.auditor_url) as broker:
        answers = Counter([(await ask(broker, "svc-a", "svc-b")).status_code for _ in range(60)])
        process.stop()
        rows = await broker.records("exchange")
        counted = await broker.records("refusals")

    own_rows = sum(row["outcome"] == "refused" for row in rows)
    counts = Counter()
    for record in counted:
        counts.update(record["counts"])
    assert answers[429] == own_rows + sum(counts.values())
    assert counts["limit.target_daily"] > 0


async def test_a_source_that_floods_is_turned_away_unread(bare, tmp_path) -> None:
    """Without a row for each, and whoever comes from elsewhere is served."""
    config = write_configuration(tmp_path, bare.app_url, limits={"source": "10/1h"})
    process = BrokerProcess(config)
    try:
        process.wait_ready()
        async with talk_to(process, bare.auditor_url) as broker:
            flood = await asyncio.gather(*(ask(broker, "svc-a", "svc-b") for _ in range(30)))
            elsewhere = await broker.exchange(
                exchange_form(),
                headers={"x-forwarded-for": "198.51.100.7"},
            )
            metrics = (await broker.admin("/metrics")).text
            health = await broker.admin("/health/live")
    finally:
        process.kill()

    statuses = Counter(response.status_code for response in flood)
    assert statuses == {200: 10, 429: 20}
    refused = next(response for response in flood if response.status_code == 429)
    assert refused.headers["ratelimit-policy"] == '"source";q=10;w=3600'
    assert_issued(elsewhere)
    assert health.status_code == 200
    assert 'broker_requests_turned_away_total{reason="limit.source"} 20.0' in metrics


async def test_two_brokers_count_together_until_their_store_is_gone(
    bare, tmp_path, own_redis: RedisServer
) -> None:
    """Then each counts for itself, and says so: to nobody is everything allowed, or nothing."""
    processes = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        store = {"url": own_redis.url, "deadline": "1s"}
        limits = {"client": {"rate": "4/1h"}, "store": store}
        processes.append(BrokerProcess(write_configuration(folder, bare.app_url, limits=limits)))
    try:
        for process in processes:
            process.wait_ready()
        one, other = processes
        async with (
            talk_to(one, bare.auditor_url) as at_one,
            talk_to(other, bare.auditor_url) as at_other,
        ):
            together = [await ask((at_one, at_other)[n % 2], "svc-a", "svc-b") for n in range(8)]
            own_redis.stop()
            alone = [await ask(at_one, "svc-a", "svc-b") for _ in range(6)]
            metrics = (await at_one.admin("/metrics")).text
    finally:
        for process in processes:
            process.kill()

    assert Counter(response.status_code for response in together) == {200: 4, 429: 4}
    assert [response.status_code for response in alone] == [200, 200, 200, 200, 429, 429]
    assert "broker_limits_store_circuit 2.0" in metrics
    said = [line["message"] for line in one.logged()]
    assert said.count("the shared counts do not answer; each process counts for itself") == 1
