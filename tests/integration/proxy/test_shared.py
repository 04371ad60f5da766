"""Tokens that processes share, in a real server of the Redis protocol."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from broker.proxy.seal import Seal
from broker.proxy.shared import SharedTokens
from broker.proxy.store import MAX_VALUE, RedisStore, StoreUnavailable
from tests.integration.audit.test_commit import records
from tests.proxy_on import OpenProxy, proxy_on
from tests.proxying import SECRET, grant

SHARED = os.urandom(32)


@pytest.fixture
async def raw(own_redis) -> AsyncIterator[Redis]:
    """The server as an attacker sees it who has its password."""
    client = Redis.from_url(own_redis.url)
    yield client
    await client.aclose()


@asynccontextmanager
async def process(
    fresh, engine, idp, url: str, *, shared: bytes = SHARED, **options
) -> AsyncIterator[OpenProxy]:
    """A process with a memory of its own, and the store that it shares."""
    tokens = SharedTokens(RedisStore(url, deadline=2.0), Seal(shared))
    async with proxy_on(fresh.app_url, engine, idp, shared=tokens, **options) as opened:
        yield opened
    await tokens.aclose()


async def test_what_one_process_fetched_another_one_finds(fresh, engine, idp, own_redis):
    """With what is left of its life; and the second one records no call, for it made none."""
    async with process(fresh, engine, idp, own_redis.url) as one:
        first = await one.token()
    async with process(fresh, engine, idp, own_redis.url) as other:
        other.clocks.forward(600)
        second = await other.token()
        await other.memory.hits.summarise()

    assert (first["access_token"], 3000) == (second["access_token"], second["expires_in"])
    assert 1 == idp.calls == len(records(fresh, "proxy"))
    assert [1] == [row["total"] for row in records(fresh, "hits")]


async def test_whoever_reads_the_store_reads_nothing(fresh, engine, idp, own_redis, raw):
    """Neither token, nor client, nor scope, nor secret; and each value has an end."""
    async with process(fresh, engine, idp, own_redis.url) as one:
        await one.token(grant(scope="orders.read", tenant="blue"))
    (key,) = await raw.keys("*")
    value = await raw.get(key)

    for text in (b"upstream-token", b"checkout", b"orders", b"blue", b"idp", SECRET.encode()):
        assert text not in key + value
    assert 3_500_000 < await raw.pttl(key) <= 3_600_000


async def test_a_wrong_secret_finds_nothing_there(fresh, engine, idp, own_redis):
    """It goes upstream, and fails there."""
    async with process(fresh, engine, idp, own_redis.url) as one:
        await one.token()
    async with process(fresh, engine, idp, own_redis.url) as other:
        assert 401 == (await other.ask(secret="wrong")).status

    assert 2 == idp.calls


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda value: value[:-1] + bytes([value[-1] ^ 1]), id="changed"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda _: b"{}", id="plain"),
        pytest.param(lambda _: b"\x01" * 100, id="nonsense"),
        pytest.param(lambda value: value + b"x" * MAX_VALUE, id="too-large"),
    ],
)
async def test_what_somebody_else_wrote_there_is_nothing(
    fresh, engine, idp, own_redis, raw, change
):
    """The upstream is asked as if nothing were there."""
    async with process(fresh, engine, idp, own_redis.url) as one:
        await one.token()
    (key,) = await raw.keys("*")
    await raw.set(key, change(await raw.get(key)), px=3_600_000)
    async with process(fresh, engine, idp, own_redis.url) as other:
        assert (await other.token())["access_token"]

    assert 2 == idp.calls


async def test_a_value_in_another_place_or_without_an_end_is_nothing(
    fresh, engine, idp, own_redis, raw
):
    """Whoever writes to the store hands nobody a token of another request, or an old one."""
    async with process(fresh, engine, idp, own_redis.url) as one:
        await one.token(grant(scope="a"))
        (first,) = await raw.keys("*")
        await one.token(grant(scope="b"))
    (second,) = {*await raw.keys("*")} - {first}
    await raw.set(second, await raw.get(first), px=3_600_000)
    await raw.persist(first)
    async with process(fresh, engine, idp, own_redis.url) as other:
        for scope in ("a", "b"):
            assert scope == (await other.token(grant(scope=scope)))["scope"]

    assert 4 == idp.calls


async def test_a_clock_that_is_behind_lengthens_no_life(fresh, engine, idp, own_redis, raw):
    """How long the store keeps it yet counts as well."""
    async with process(fresh, engine, idp, own_redis.url) as one:
        await one.token()
    (key,) = await raw.keys("*")
    await raw.pexpire(key, 3_000_000)
    async with process(fresh, engine, idp, own_redis.url) as other:
        other.clocks.wall -= 86_400
        assert 2999 <= (await other.token())["expires_in"] <= 3000
    async with process(fresh, engine, idp, own_redis.url) as ahead:
        ahead.clocks.wall += 3599
        await ahead.token()

    assert 2 == idp.calls


async def test_one_that_is_due_for_renewal_is_renewed_by_whoever_finds_it(
    fresh, engine, idp, own_redis
):
    """And then it is the others' as well."""
    async with process(fresh, engine, idp, own_redis.url) as one:
        await one.token()
        async with process(fresh, engine, idp, own_redis.url) as other:
            other.clocks.forward(3300)
            renewed = await other.token()
            one.clocks.forward(3300)
            await one.token()
            await one.settled()
            found = await one.token()

    assert renewed["access_token"] == found["access_token"]
    assert 2 == idp.calls


async def test_what_the_upstream_gives_no_longer_is_there_no_longer(
    fresh, engine, idp, own_redis, raw
):
    """A refused renewal ends it for every process that has not got it yet."""
    async with process(fresh, engine, idp, own_redis.url) as one:
        await one.token()
        idp.secrets = frozenset()
        one.clocks.forward(3300)
        await one.token()
        await one.settled()

    assert [] == await raw.keys("*")


async def test_with_another_shared_secret_processes_share_nothing(fresh, engine, idp, own_redis):
    """And disturb one another in nothing."""
    async with process(fresh, engine, idp, own_redis.url) as one:
        await one.token()
    async with process(fresh, engine, idp, own_redis.url, shared=bytes(32)) as other:
        await other.token()

    assert 2 == idp.calls


async def test_without_the_store_everything_goes_on_and_it_is_said_once(
    fresh, engine, idp, own_redis, caplog
):
    """Each process does what it would do without one; after some silence it asks no more."""
    caplog.set_level(logging.WARNING, logger="broker.proxy.shared")
    async with process(fresh, engine, idp, own_redis.url) as one:
        await one.token()
        own_redis.stop()
        for number in range(8):
            assert (await one.token(grant(scope=f"s{number}")))["access_token"]
        assert (await one.token())["access_token"]

    assert 9 == idp.calls
    assert 1 == sum("shared store" in record.message for record in caplog.records)
    assert own_redis.password not in caplog.text


async def test_a_store_that_takes_long_costs_its_deadline_and_no_more():
    """Whoever waits behind it is answered by the upstream."""

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with_it.append(writer)

    with_it: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = RedisStore(f"redis://127.0.0.1:{port}", deadline=0.05)
    for ask in (store.find(b"a"), store.keep(b"a", b"b", 10.0), store.drop(b"a")):
        with pytest.raises(StoreUnavailable):
            await ask
    await store.aclose()
    for writer in with_it:
        writer.close()
    server.close()


async def test_a_wrong_password_is_an_outage_and_is_not_shown(own_redis):
    """Nor is the right one."""
    store = RedisStore(f"redis://:wrong@127.0.0.1:{own_redis.port}/0", deadline=2.0)
    with pytest.raises(StoreUnavailable) as raised:
        await store.find(b"a")
    await store.aclose()

    assert "AuthenticationError" == str(raised.value)


async def test_a_token_of_unknown_life_is_not_shared(fresh, engine, idp, own_redis, raw):
    """Nobody could say when it is over."""
    idp.members = {"expires_in": 0}
    async with process(fresh, engine, idp, own_redis.url) as one:
        await one.token()

    assert [] == await raw.keys("*")
