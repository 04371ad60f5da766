"""Drill 13 and what replicas share: a cold start, rotations, and what may be used once."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial

import httpx
import pytest

from tests.between import between
from tests.drills.conftest import Start
from tests.drills.issuing import fetched_from, key_set
from tests.drills.load import (
    PATIENT,
    Load,
    Request,
    asserted,
    exchange,
    fetch_jwks,
    find_missing,
    is_ready,
    load,
    one_time,
    plain,
    rotate_keys,
)
from tests.fixtures.postgres import OneDatabase, execute
from tests.jwts import IDP, KEYS, unverified_header
from tests.loopback import json_answer, loopback
from tests.server import BrokerProcess, eventually
from tests.wire import basic, exchange_form

pytestmark = pytest.mark.drill


@pytest.fixture
async def pair(fresh: OneDatabase, start: Start) -> list[BrokerProcess]:
    """Two replicas over one database."""
    replicas = [start(fresh.app_url, **PATIENT), start(fresh.app_url, **PATIENT)]
    for process in replicas:
        await asyncio.to_thread(process.wait_ready)
    return replicas


@pytest.mark.row("DRILL-13", "TX-2.2.2-06")
async def test_replicas_that_start_cold_under_load_are_ready_when_they_can_serve(
    fresh: OneDatabase, start: Start
) -> None:
    """Design §9: until then 503, and no token; each asks the issuer for its keys once."""
    async with (
        loopback({"/jwks": json_answer(key_set(KEYS[IDP]))}) as idp,
        between(fresh.app_url) as network,
    ):
        network.refuses = True
        issuers = fetched_from({IDP: idp.url("/jwks")})
        replicas = [start(network.url, issuers=issuers) for _ in range(2)]
        for process in replicas:
            await asyncio.to_thread(process.wait_serving)
        async with (
            load(lambda: replicas[0].url, connections=8, pause=0.01) as first,
            load(lambda: replicas[1].url, connections=8, pause=0.01) as second,
        ):
            for seen, process in zip((first, second), replicas, strict=True):
                await seen.more(503, 8)
                assert {503} == set(seen.statuses)
                assert not await is_ready(process)
                assert not (await fetch_jwks(process)).json()["keys"]
            network.forward()
            for seen, process in zip((first, second), replicas, strict=True):
                await eventually(partial(is_ready, process))
                await seen.more(200, 50)
        fetches = idp.paths.count("/jwks")
        assert (await fetch_jwks(replicas[0])).content == (await fetch_jwks(replicas[1])).content

    for seen in (first, second):
        seen.assert_refused_in_time()
    assert set() == await find_missing(fresh.auditor_url, first.issued | second.issued)
    assert len(replicas) == fetches


@pytest.mark.row("OP-05", "DRILL-8")
async def test_a_rotation_is_in_force_at_every_replica_and_fails_no_exchange(
    fresh: OneDatabase, pair: list[BrokerProcess]
) -> None:
    """Design §9: nobody restarts anything, and a token of one replica is good at the other."""
    here, there = pair
    hops: Counter[int] = Counter()
    stop = asyncio.Event()

    async def hop() -> None:
        async with httpx.AsyncClient(timeout=20) as client:
            while not stop.is_set():
                for first, second in ((here, there), (there, here)):
                    issued = await exchange(client, first.url, *plain())
                    token = issued.body["access_token"]
                    form = exchange_form(subject_token=token, audience="svc-c")
                    hops[(await exchange(client, second.url, form, basic("svc-b"))).status] += 1

    async with (
        asyncio.TaskGroup() as group,
        load(lambda: here.url, connections=2, pause=0.01) as seen,
        load(lambda: there.url, connections=2, pause=0.01) as other,
    ):
        group.create_task(hop())
        for _ in range(3):
            await rotate_keys(here)
            (active,) = execute(
                fresh.superuser_url,
                "SELECT kid FROM signing_key WHERE algorithm = 'ES256' AND state = 'active'",
            )
            for each in (seen, other):
                await eventually(partial(signs_with, each, active["kid"]))
        stop.set()

    assert {200} == set(seen.statuses) == set(other.statuses) == set(hops)
    published = [await fetch_jwks(process) for process in pair]
    assert published[0].content == published[1].content
    assert published[0].headers["etag"] == published[1].headers["etag"]


async def signs_with(seen: Load, kid: str) -> bool:
    """Whether the last token that arrived was signed by this key."""
    return unverified_header(seen.answers[-1].body["access_token"])["kid"] == kid


@pytest.mark.row("ATK-RPL-01", "OP-05", "CVE-2025-46815")
@pytest.mark.parametrize(
    ("request_", "refused"),
    [
        pytest.param(asserted, (401, "invalid_client"), id="client-assertion"),
        pytest.param(one_time, (400, "invalid_request"), id="one-time-subject-token"),
    ],
)
async def test_of_twenty_at_two_replicas_one_wins_also_after_a_restart(
    fresh: OneDatabase,
    pair: list[BrokerProcess],
    start: Start,
    request_: Callable[[], Request],
    refused: tuple[int, str],
) -> None:
    """RFC 7523 §3: what may be used once is used once, wherever and whenever it is presented."""
    form, auth = request_()
    async with httpx.AsyncClient(timeout=20) as client:
        answers = await asyncio.gather(
            *(exchange(client, pair[n % 2].url, form, auth) for n in range(20))
        )
        pair[0].kill()
        again = start(fresh.app_url, **PATIENT)
        await asyncio.to_thread(again.wait_ready)
        late = await exchange(client, again.url, form, auth)
        fresh_one = await exchange(client, again.url, *request_())

    lost = [(a.status, a.body["error"]) for a in (*answers, late) if a.status != 200]
    assert [refused] * 20 == lost
    assert 200 == fresh_one.status
    issued = {a.jti for a in answers if a.status == 200} | {fresh_one.jti}
    assert set() == await find_missing(fresh.auditor_url, issued)
    counted = execute(
        fresh.auditor_url, "SELECT count(*) AS n FROM audit_event WHERE outcome = 'issued'"
    )
    assert 2 == counted[0]["n"]
