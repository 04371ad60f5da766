"""Drills 6 and 7: the keys of issuers are unreachable, endless or wrong; and a flood asks for more.

How long keys are believed takes hours, so there the clock is the test's; the network is real.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from broker.issuers.fetch import FetchFault, build_tls
from broker.issuers.jwks import COOLDOWN, MAX_STALE, REFRESH_INTERVAL, KeysUnavailable
from broker.issuers.registry import IssuerRegistry
from broker.jose.jwk import KeySet
from broker.settings import Settings
from tests.configuration import document
from tests.drills.conftest import Start
from tests.drills.issuing import fetched_from, key_set
from tests.drills.load import WITHIN, count_reasons, exchange, load
from tests.faults import Proxy, standing, to_port
from tests.fixtures.postgres import OneDatabase
from tests.jwts import ACTS, BROKER_ISSUER, IDP, KEEP, KEYS, OTHER, STRICT, public_jwk, subject_jwt
from tests.loopback import Loopback, drip, http_answer, json_answer, loopback
from tests.server import eventually
from tests.wire import basic, exchange_form

pytestmark = pytest.mark.drill

NEW_KEY = ec.generate_private_key(ec.SECP256R1())
MIB = 1 << 20


class Endless:
    """A key set of 50 MB."""

    def __init__(self) -> None:
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + b'{"keys": ['
        while self.sent < 50 * MIB:
            self.sent += MIB // 16
            yield b" " * (MIB // 16)


async def present(url: str, **token: Any) -> tuple[int, float]:
    """Present one token; return the answer's status and how long it took."""
    async with httpx.AsyncClient(timeout=20) as client:
        form = exchange_form(subject_token=subject_jwt(**token))
        answer = await exchange(client, url, form, basic())
        return answer.status, answer.seconds


@pytest.mark.row("DRILL-6", "TX-2.2.2-06", "ATK-SSRF-03")
async def test_an_issuer_whose_keys_cannot_be_had_fails_its_own_tokens_only(
    fresh: OneDatabase, start: Start
) -> None:
    """Ours: 503 for those, at once; all others are served, and nothing fills the memory."""
    endless = Endless()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    good = json_answer(key_set(KEYS[IDP]))
    answers = {
        "/good": good,
        "/drip": lambda: drip(head, b" " * 1000, 0.1),
        "/endless": lambda: aiter(endless),
        "/html": http_answer(b"<html>", content_type="text/html"),
    }
    async with loopback(answers) as idp:
        urls = {
            IDP: idp.url("/good"),
            OTHER: "http://127.0.0.1:9/jwks",  # nobody is there
            ACTS: idp.url("/drip"),
            KEEP: idp.url("/endless"),
            STRICT: idp.url("/html"),
        }
        process = start(fresh.app_url, issuers=fetched_from(urls))
        await asyncio.to_thread(process.wait_ready)
        memory = psutil.Process(process.process.pid)
        before = memory.memory_info().rss
        for _ in range(20):
            statuses = {}
            for issuer in urls:
                statuses[issuer], seconds = await present(
                    process.url, iss=issuer, extra={"tenant": "t"}
                )
                assert seconds < WITHIN
            assert {IDP: 200, OTHER: 503, ACTS: 503, KEEP: 503, STRICT: 503} == statuses
        after = memory.memory_info().rss

    assert endless.sent < 16 * MIB  # what the two kernels buffer, and then it was left
    assert after - before < 20 * MIB
    assert {"issued": 20, "issuer.unavailable": 80} == await count_reasons(process)


@pytest.mark.row("DRILL-6", "DRILL-7", "ATK-KID-03", "OP-06")
@pytest.mark.timeout(240)
async def test_a_flood_of_unknown_kids_costs_one_fetch_and_locks_no_new_key_out(
    fresh: OneDatabase, start: Start
) -> None:
    """Ours: within the cooldown a rotated key gets in and an issuer that was down is served."""
    down_jwks = json_answer(key_set(KEYS[OTHER]))
    answers = {"/jwks": json_answer(key_set(KEYS[IDP])), "/down": down_jwks}
    async with loopback(answers) as idp, standing(Proxy(to_port(idp.port))) as down:
        down.refuses = True
        began = time.monotonic()
        urls = {IDP: idp.url("/jwks"), OTHER: f"http://127.0.0.1:{down.port}/down"}
        process = start(fresh.app_url, issuers=fetched_from(urls))
        await asyncio.to_thread(process.wait_ready)
        assert 1 == idp.paths.count("/jwks")
        assert 503 == (await present(process.url, iss=OTHER))[0]

        def unknown() -> Any:
            return exchange_form(subject_token=subject_jwt(kid=str(uuid.uuid4()))), basic()

        async with (
            load(lambda: process.url, connections=2, pause=0.02) as good,
            load(lambda: process.url, connections=8, request=unknown, pause=0.02) as flood,
        ):
            await flood.more_of_any(300)
            within = (time.monotonic() - began) // COOLDOWN
            assert idp.paths.count("/jwks") <= 1 + within
            idp.answers["/jwks"] = json_answer(key_set(KEYS[IDP], NEW_KEY))
            down.refuses = False

            async def rotated() -> bool:
                return (await present(process.url, key=NEW_KEY))[0] == 200

            async def back() -> bool:
                return (await present(process.url, iss=OTHER))[0] == 200

            await eventually(rotated, seconds=3 * COOLDOWN)
            await eventually(back, seconds=3 * COOLDOWN)
        within = (time.monotonic() - began) // COOLDOWN

    assert idp.paths.count("/jwks") <= 1 + within
    assert {200} == set(good.statuses)
    assert {400} == set(flood.statuses)
    assert all(answer.seconds < WITHIN for answer in good.answers)


class Clock:
    """Seconds of the test's own."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def verifies(registry: IssuerRegistry, key: Any) -> bool:
    """Whether a token signed by ``key`` finds it."""
    issuer = registry.find(IDP)
    assert issuer is not None
    kid = public_jwk(key)["kid"]
    keys = await registry.key_source(issuer).keys(kid, "ES256")
    return bool(keys.candidates(kid, "ES256"))


@pytest.mark.row("DRILL-6", "OP-06")
async def test_cached_keys_serve_through_an_outage_and_not_for_ever() -> None:
    """Ours: an hour down is nothing, a day is the end, and then it comes back by itself."""
    clock = Clock()
    async with loopback({"/jwks": json_answer(key_set(KEYS[IDP]))}) as idp:
        registry = registry_of(idp, clock)
        await registry.load_all()
        for fault, answer in {
            FetchFault.STATUS: http_answer(b"{}", status="503 Service Unavailable"),
            FetchFault.CONTENT_TYPE: http_answer(b"<html>", content_type="text/html"),
            FetchFault.NO_USABLE_KEY: json_answer({"keys": []}),
            FetchFault.TOO_LARGE: http_answer(b" " * MIB),
        }.items():
            idp.answers["/jwks"] = answer
            clock.now += 3600
            await registry.load_all()  # as the background does
            assert await verifies(registry, KEYS[IDP])
            (status,) = [each for each in registry.status() if each.alias == "idp"]
            assert (True, fault) == (status.loaded, status.fault)
        clock.now += MAX_STALE
        with pytest.raises(KeysUnavailable):
            await verifies(registry, KEYS[IDP])
        idp.answers["/jwks"] = json_answer(key_set(KEYS[IDP]))
        clock.now += COOLDOWN
        assert await verifies(registry, KEYS[IDP])
        await registry.aclose()


@pytest.mark.row("DRILL-6")
async def test_a_key_that_was_dropped_is_refused_within_the_refresh_interval() -> None:
    """Ours: also when it was rotated twice meanwhile."""
    clock = Clock()
    newest = ec.generate_private_key(ec.SECP256R1())
    async with loopback({"/jwks": json_answer(key_set(KEYS[IDP]))}) as idp:
        registry = registry_of(idp, clock)
        await registry.load_all()
        idp.answers["/jwks"] = json_answer(key_set(NEW_KEY))
        clock.now += COOLDOWN
        assert await verifies(registry, NEW_KEY)
        idp.answers["/jwks"] = json_answer(key_set(newest))
        clock.now += COOLDOWN - 1
        assert await verifies(registry, NEW_KEY)
        clock.now += REFRESH_INTERVAL
        assert not await verifies(registry, NEW_KEY)
        assert not await verifies(registry, KEYS[IDP])
        assert await verifies(registry, newest)
        assert 3 == idp.paths.count("/jwks")
        await registry.aclose()


def registry_of(idp: Loopback, clock: Clock) -> IssuerRegistry:
    """The issuers of the suite, the keys of the first fetched from this server."""
    body = document(issuers=fetched_from({IDP: idp.url("/jwks")}))
    return IssuerRegistry(
        Settings.model_validate(body).issuers,
        own=BROKER_ISSUER,
        own_keys=KeySet,
        tls=build_tls(),
        monotonic=clock,
    )
