"""How much a client may exchange: never more than its quota, and nothing for being refused."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import LimitRejected, Reason
from broker.limits.quotas import CountsAway, QuotaLimits
from broker.settings import ClientSettings, Limits, Quota

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SECRETS = ["sha256:" + "0" * 64]


def clients(**limits: dict[str, Any]) -> list[ClientSettings]:
    """``a`` and ``b``, each with limits of its own or those of all."""
    return [
        ClientSettings.model_validate(
            {"id": name, "secrets": SECRETS, "limits": limits.get(name, {})}
        )
        for name in ("a", "b")
    ]


def quotas(client: dict[str, Any] | None = None, target: Any = None, **own: Any) -> QuotaLimits:
    """The limits of a configuration in which these are everybody's."""
    limits = Limits.model_validate({"client": client or {}, "client_target": target or {}})
    return QuotaLimits(limits, clients(**own))


async def admitted(limits: QuotaLimits, client: str, now: datetime, *targets: str) -> str:
    """Go through at once; what is answered, ``ok`` or the reason."""
    try:
        with limits.hold() as hold:
            await hold.client(client, now)
            await hold.targets(client, targets, now)
    except LimitRejected as rejected:
        return rejected.reason.value
    return "ok"


async def test_a_rate_lets_a_burst_through_and_then_what_flows_back() -> None:
    """Five at once, then two a second."""
    limits = quotas({"rate": "2/1s", "burst": 5})

    at_once = [await admitted(limits, "a", NOON) for _ in range(7)]
    later = [await admitted(limits, "a", NOON + timedelta(seconds=1)) for _ in range(3)]

    assert at_once == ["ok"] * 5 + ["limit.client_rate"] * 2
    assert later == ["ok", "ok", "limit.client_rate"]


async def test_no_client_uses_up_what_is_another_s() -> None:
    """However often the other one asks."""
    limits = quotas({"rate": "1/1m"})

    assert [await admitted(limits, "a", NOON) for _ in range(3)][-1] == "limit.client_rate"
    assert await admitted(limits, "b", NOON) == "ok"


async def test_each_target_is_counted_apart() -> None:
    """Too much of one target is no reason to be refused at another."""
    limits = quotas(target={"rate": "1/1m"})

    answers = [await admitted(limits, "a", NOON, target) for target in ("x", "x", "y")]

    assert answers == ["ok", "limit.target_rate", "ok"]


async def test_of_several_targets_all_are_counted_or_none() -> None:
    """Whoever is refused for one of them has used up nothing of the others."""
    limits = quotas(target={"rate": "1/1m"})
    await admitted(limits, "a", NOON, "x")

    assert await admitted(limits, "a", NOON, "y", "x") == "limit.target_rate"
    assert await admitted(limits, "a", NOON, "y") == "ok"


async def test_a_day_ends_at_midnight_and_never_begins_twice() -> None:
    """A clock that steps back gives nobody another day."""
    limits = quotas({"daily": 1})
    midnight = NOON.replace(hour=0) + timedelta(days=1)
    times = [
        midnight - timedelta(seconds=1),
        midnight - timedelta(seconds=1),
        midnight,
        midnight - timedelta(seconds=1),
    ]

    answers = [await admitted(limits, "a", at) for at in times]

    assert answers == ["ok", "limit.client_daily", "ok", "limit.client_daily"]


async def test_whoever_is_refused_is_told_which_limit_and_until_when() -> None:
    """What ``Retry-After`` and the ``RateLimit`` fields are made of."""
    limits = quotas({"daily": 1})
    await admitted(limits, "a", NOON)

    with pytest.raises(LimitRejected) as refused, limits.hold() as hold:
        await hold.client("a", NOON)

    assert refused.value.reached is not None
    assert (refused.value.reached.name, refused.value.reached.count) == ("client-daily", 1)
    assert refused.value.retry_after == 12 * 3600


async def test_what_a_client_has_of_its_own_goes_before_what_all_have() -> None:
    """More for one, and less."""
    limits = quotas({"rate": "1/1m"}, a={"client": {"rate": "3/1m"}})

    answers = {
        name: [await admitted(limits, name, NOON) for _ in range(4)].count("ok")
        for name in ("a", "b")
    }

    assert answers == {"a": 3, "b": 1}


async def test_a_number_at_a_time_is_given_back_however_it_ends() -> None:
    """By an answer, an error, or a caller that has gone."""
    limits = quotas({"concurrent": 1})

    async def fail() -> None:
        with limits.hold() as hold:
            await hold.client("a", NOON)
            assert await admitted(limits, "a", NOON) == "limit.client_concurrent"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    waiting = asyncio.create_task(_hold_until_cancelled(limits))
    await asyncio.sleep(0)
    assert await admitted(limits, "a", NOON) == "limit.client_concurrent"
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert await admitted(limits, "a", NOON) == "ok"


async def _hold_until_cancelled(limits: QuotaLimits) -> None:
    with limits.hold() as hold:
        await hold.client("a", NOON)
        await asyncio.sleep(60)


async def test_a_reload_forgets_nothing_that_was_counted() -> None:
    """Otherwise SIGHUP would be a way to get more."""
    limits = Limits.model_validate({"client": {"rate": "1/1m"}})
    before = QuotaLimits(limits, clients())
    await admitted(before, "a", NOON)

    after = QuotaLimits(limits, clients(), previous=before)

    assert await admitted(after, "a", NOON) == "limit.client_rate"


class _Store:
    """A shared store that says what a test wants; ``None``: it does not answer."""

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.asked = 0

    async def spend(self, kind: str, key: str, quota: Quota) -> None:
        self.asked += 1
        if not self.answers:
            raise CountsAway


@pytest.mark.parametrize("answers", [True, False])
async def test_while_a_store_is_away_each_process_counts_for_itself(*, answers: bool) -> None:
    """There it is counted together, and here nothing; without it, here."""
    store = _Store(answers=answers)
    limits = QuotaLimits(
        Limits.model_validate({"client": {"rate": "1/1m"}}), clients(), shared=store
    )

    said = [await admitted(limits, "a", NOON) for _ in range(2)]

    assert said == ["ok", "ok" if answers else "limit.client_rate"]
    assert store.asked == 2


async def test_a_clock_that_steps_back_and_forward_refills_nothing() -> None:
    """Three seconds that it shows twice are three seconds once."""
    limits = quotas({"rate": "1/1s", "burst": 5})
    back = NOON - timedelta(seconds=3)

    answers = [await admitted(limits, "a", at) for at in (NOON, back, *[NOON] * 4)]

    assert answers == ["ok"] * 5 + ["limit.client_rate"]


# How many ask at each of some moments; a clock may step back.
arrivals = st.lists(st.tuples(st.integers(-3, 30), st.integers(1, 8)), min_size=1, max_size=30)


@given(arrivals, st.integers(1, 10), st.integers(1, 10), st.integers(1, 20))
def test_never_more_than_burst_and_rate_in_any_stretch(
    arrivals: list[tuple[int, int]], count: int, per: int, burst: int
) -> None:
    """Whenever they come, and whatever the clock does."""
    limits = quotas({"rate": f"{count}/{per}s", "burst": burst})
    now, shown, admissions = NOON, NOON, []
    for pause, asked in arrivals:
        now += timedelta(seconds=pause)
        shown = max(shown, now)
        for _ in range(asked):
            if asyncio.run(admitted(limits, "a", now)) == "ok":
                admissions.append(now)

    for begin in admissions:
        within = sum(begin <= at for at in admissions)
        # The latest that any clock has shown: what it shows twice flows back once.
        stretch = (shown - begin).total_seconds()
        assert within <= burst + count / per * stretch + 1e-6


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_never_more_at_a_time_than_may(steps: list[bool], most: int) -> None:
    """Whoever comes and goes, in any order."""
    limits = quotas({"concurrent": most})

    async def play() -> None:
        inside: list[Any] = []
        for enters in steps:
            if enters:
                hold = limits.hold()
                try:
                    await hold.__enter__().client("a", NOON)
                except LimitRejected as rejected:
                    assert rejected.reason is Reason.LIMIT_CLIENT_CONCURRENT
                    assert len(inside) == most
                    hold.__exit__(None, None, None)
                else:
                    inside.append(hold)
                    assert len(inside) <= most
            elif inside:
                inside.pop(0).__exit__(None, None, None)

    asyncio.run(play())
