"""Drill 1: a replica is killed while it exchanges. Another one serves on, and nothing is lost."""

import asyncio
import random

import httpx
import pytest

from tests.drills.conftest import Start
from tests.drills.load import (
    PATIENT,
    assert_whole,
    count_reasons,
    exchange,
    find_missing,
    load,
    with_secrets,
)
from tests.fixtures.postgres import OneDatabase
from tests.jwts import unverified_header
from tests.wire import basic, exchange_form

pytestmark = pytest.mark.drill

ROUNDS = 6


@pytest.mark.row("DRILL-1", "INV-8", "OP-05")
@pytest.mark.timeout(300)
async def test_every_token_that_arrived_has_its_row_through_kills_of_its_replica(
    fresh: OneDatabase, start: Start
) -> None:
    """Invariant 8: killed before its answer leaves a row too many, and never one too few."""
    steady, killed = start(fresh.app_url, **PATIENT), start(fresh.app_url, **PATIENT)
    for process in (steady, killed):
        process.wait_ready()
    current = [killed]

    async with (
        load(lambda: steady.url, connections=4, request=with_secrets, pause=0.02) as served,
        load(lambda: current[0].url, connections=8, request=with_secrets) as seen,
    ):
        for _ in range(ROUNDS):
            # The next one starts first, as an orchestrator would have it.
            following = start(fresh.app_url, **PATIENT)
            await asyncio.to_thread(following.wait_ready)
            await seen.more(200, 30)
            await asyncio.sleep(random.uniform(0, 0.05))
            current[0].process.kill()
            before = len(served.answers)
            current[0] = following
            await seen.more(200, 30)
            assert before < len(served.answers)

    assert ROUNDS <= len(seen.broken)  # somebody was waiting for an answer each time
    # The other replica noticed nothing, and neither did whoever was answered by the killed one.
    assert [] == served.broken
    assert {200} == set(served.statuses), await count_reasons(steady)
    assert {200} == set(seen.statuses), await count_reasons(current[0])
    issued = seen.issued | served.issued
    assert len(issued) == seen.statuses[200] + served.statuses[200]
    assert set() == await find_missing(fresh.auditor_url, issued)
    report = await assert_whole(fresh.auditor_url)
    assert report["writers"] == 2 + ROUNDS


async def test_replicas_publish_the_same_keys_and_verify_each_other_s_tokens(
    fresh: OneDatabase, start: Start
) -> None:
    """Design §5: keys live in the database, so a token is as good at any replica."""
    replicas = [start(fresh.app_url, **PATIENT), start(fresh.app_url, **PATIENT)]
    for process in replicas:
        process.wait_ready()
    first, second = replicas

    async with httpx.AsyncClient(timeout=10) as client:
        published = [await client.get(f"{each.url}/.well-known/jwks.json") for each in replicas]
        assert published[0].content == published[1].content
        assert published[0].headers["etag"] == published[1].headers["etag"]
        for here, there in ((first, second), (second, first)):
            issued = await exchange(client, here.url, exchange_form(), basic())
            token = issued.body["access_token"]
            onward = exchange_form(subject_token=token, audience="svc-c")
            again = await exchange(client, there.url, onward, basic("svc-b"))
            assert 200 == again.status, again.body
            kid = unverified_header(token)["kid"]
            assert kid in {key["kid"] for key in published[0].json()["keys"]}
