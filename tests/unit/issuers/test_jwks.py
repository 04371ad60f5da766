"""The cache of key sets: once at a time, not too often, not too old."""

import asyncio

import pytest

from broker.issuers.fetch import FetchFailed, FetchFault
from broker.issuers.jwks import (
    COOLDOWN,
    MAX_STALE,
    REFRESH_INTERVAL,
    CachedKeys,
    KeysUnavailable,
    LiveKeys,
)
from broker.jose.jwk import KeySet, load_keys
from tests.jwts import IDP, KEYS, OTHER, public_jwk

OLD, NEW = (
    load_keys({"keys": [public_jwk(KEYS[issuer], kid=kid, alg="ES256")]}, ["ES256"])
    for issuer, kid in ((IDP, "old"), (OTHER, "new"))
)


class Owner:
    """Whoever publishes the keys: answers, fails, or does not answer until told to."""

    def __init__(self, keys: KeySet = OLD) -> None:
        self.answer: KeySet | FetchFault | Exception = keys
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.now = 1000.0

    async def load(self) -> KeySet:
        """Be asked once."""
        self.asked += 1
        await self.may_answer.wait()
        if isinstance(self.answer, FetchFault):
            raise FetchFailed(self.answer)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
async def owner():
    """Publishes ``OLD``."""
    return Owner()


@pytest.fixture
async def cached(owner):
    """The cache, before anything was loaded."""
    return CachedKeys("idp", owner.load, monotonic=lambda: owner.now)


async def kids(cached: CachedKeys, kid: str | None = "old") -> frozenset[str]:
    """The kids that a look-up gives."""
    return (await cached.keys(kid, "ES256")).kids


async def test_keys_are_loaded_once_and_then_kept(owner, cached):
    """A known kid costs no load."""
    found = [await kids(cached) for _ in range(3)]

    assert ([{"old"}] * 3, 1) == (found, owner.asked)
    assert cached.loaded


@pytest.mark.row("ATK-KID-03")
async def test_a_thousand_unknown_kids_cost_one_load_in_a_cooldown(owner, cached):
    """ATK-KID-03: and the keys that are there still serve."""
    await kids(cached)
    owner.now += COOLDOWN
    for number in range(1000):
        owner.now += 0.01
        await kids(cached, f"unknown-{number}")

    assert 2 == owner.asked
    assert {"old"} == await kids(cached)


@pytest.mark.row("ATK-KID-03")
@pytest.mark.parametrize(
    "fault", [FetchFault.UNREACHABLE, FetchFault.NO_USABLE_KEY, FetchFault.TOO_LARGE]
)
async def test_a_load_that_failed_cools_down_as_well(owner, cached, fault):
    """ATK-KID-03: also where there is nothing to serve."""
    owner.answer = fault
    for number in range(100):
        with pytest.raises(KeysUnavailable) as caught:
            await kids(cached, f"unknown-{number}")
        assert fault is caught.value.fault

    assert 1 == owner.asked


@pytest.mark.row("ATK-KID-03")
async def test_concurrent_misses_share_one_load(owner, cached):
    """ATK-KID-03: single-flight."""
    owner.may_answer.clear()
    waiting = [asyncio.create_task(kids(cached, f"unknown-{n}")) for n in range(50)]
    await asyncio.sleep(0)
    owner.may_answer.set()
    found = await asyncio.gather(*waiting)

    assert ([{"old"}] * 50, 1) == (found, owner.asked)


@pytest.mark.row("ATK-KID-03")
async def test_a_rotated_key_gets_in_during_a_flood(owner, cached):
    """ATK-KID-03, drill 7: the flood itself brings it, once in a cooldown."""
    await kids(cached)
    owner.now += COOLDOWN
    await kids(cached, "flood")
    owner.answer = NEW
    early = await kids(cached, "new")
    owner.now += COOLDOWN

    assert ({"old"}, {"new"}) == (early, await kids(cached, "new"))


async def test_one_caller_that_gives_up_does_not_take_the_load_from_the_others(owner, cached):
    """Single-flight: a request that is cancelled is nobody else's failure."""
    owner.may_answer.clear()
    first, second = (asyncio.create_task(kids(cached)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    owner.may_answer.set()

    assert ({"old"}, 1) == (await second, owner.asked)


async def test_a_dropped_key_is_refused_within_the_interval(owner, cached):
    """Drill 6: as soon as the interval has passed, without any background task."""
    await kids(cached)
    owner.answer = NEW
    owner.now += REFRESH_INTERVAL

    assert {"new"} == await kids(cached, "old")


async def test_keys_refresh_in_the_background_before_they_are_due(owner, cached):
    """So that no request waits for it."""
    await cached.refresh()
    await cached.refresh()
    owner.now += 240
    owner.answer = NEW
    await cached.refresh()

    assert 2 == owner.asked
    assert ({"new"}, 2) == (await kids(cached, "new"), owner.asked)


@pytest.mark.row("ATK-SSRF-03")
async def test_stale_keys_serve_while_their_owner_is_down_and_then_no_longer(owner, cached):
    """Drill 6: up to the stated age, then fail closed, then back without a restart."""
    await kids(cached)
    owner.answer = FetchFault.UNREACHABLE
    owner.now += MAX_STALE - 1
    stale = await kids(cached)
    owner.now += 1

    assert {"old"} == stale
    assert not cached.loaded
    with pytest.raises(KeysUnavailable):
        await kids(cached)

    owner.answer = NEW
    owner.now += COOLDOWN
    assert {"new"} == await kids(cached, "new")


async def test_nobody_waits_for_an_owner_that_failed_while_stale_keys_serve(owner, cached):
    """An outage costs the first request after it, and no other."""
    await kids(cached)
    owner.answer = FetchFault.TIMEOUT
    owner.now += REFRESH_INTERVAL
    await kids(cached)
    owner.may_answer.clear()
    owner.now += COOLDOWN

    assert {"old"} == await asyncio.wait_for(kids(cached), 1)
    assert 3 == owner.asked
    owner.may_answer.set()
    await cached.aclose()


async def test_an_unknown_kid_during_an_outage_is_unavailable(owner, cached):
    """Whether such a key exists cannot be said: 503 and not a verdict."""
    await kids(cached)
    owner.answer = FetchFault.UNREACHABLE
    owner.now += COOLDOWN

    with pytest.raises(KeysUnavailable):
        await kids(cached, "new")
    assert {"old"} == await kids(cached)


async def test_a_load_that_takes_too_long_is_given_up(owner):
    """Drill 6: slow is as good as down."""
    cached = CachedKeys("idp", owner.load, deadline=0.01, monotonic=lambda: owner.now)
    owner.may_answer.clear()

    with pytest.raises(KeysUnavailable) as caught:
        await kids(cached)
    assert FetchFault.TIMEOUT is caught.value.fault


async def test_closing_ends_the_load_under_way_and_not_its_callers(owner, cached):
    """A shutdown looks like keys that cannot be had."""
    owner.may_answer.clear()
    waiting = asyncio.create_task(kids(cached))
    await asyncio.sleep(0)
    await cached.aclose()

    with pytest.raises(KeysUnavailable):
        await waiting


async def test_live_keys_are_what_they_are_now():
    """Inline keys and our own keyring: nothing is cached over them."""
    current = [OLD, NEW, KeySet()]
    source = LiveKeys(lambda: current[0])
    first = await source.keys("x", "ES256")
    current.pop(0)
    second = await source.keys("x", "ES256")
    current.pop(0)

    assert ({"old"}, {"new"}) == (first.kids, second.kids)
    assert not source.loaded
    with pytest.raises(KeysUnavailable):
        await source.keys("x", "ES256")
