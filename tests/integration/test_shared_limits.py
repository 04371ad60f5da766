"""Clients counted by several processes together, on a real server, and by each when it is gone."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from broker.errors import LimitRejected
from broker.limits.quotas import CountsAway, QuotaLimits
from broker.limits.shared import RedisCounts, window_of
from broker.settings import ClientSettings, Limits, LimitStore, Quota, Rate
from tests.fixtures.redis import RedisServer
from tests.server import eventually

CLIENT = ClientSettings.model_validate({"id": "a", "secrets": ["sha256:" + "0" * 64]})


def store(server: RedisServer) -> LimitStore:
    """Patient, for a busy machine is no fault here."""
    return LimitStore.model_validate({"url": server.url, "deadline": "1s"})


@pytest.fixture
async def two(own_redis: RedisServer) -> AsyncIterator[list[RedisCounts]]:
    """What two processes have."""
    counts = [RedisCounts(store(own_redis)) for _ in range(2)]
    yield counts
    for each in counts:
        await each.aclose()


async def admitted(limits: QuotaLimits) -> bool:
    """Whether an exchange goes on."""
    try:
        with limits.hold() as hold:
            await hold.client("a", datetime.now(UTC))
    except LimitRejected:
        return False
    return True


@pytest.mark.parametrize("quota", [{"rate": "10/1h"}, {"daily": 10}], ids=["rate", "day"])
async def test_two_processes_allow_no_more_than_one(
    two: list[RedisCounts], quota: dict[str, str | int]
) -> None:
    """Whichever a request comes to."""
    limits = Limits.model_validate({"client": quota})
    processes = [QuotaLimits(limits, [CLIENT], shared=counts) for counts in two]

    answers = await asyncio.gather(*(admitted(processes[n % 2]) for n in range(40)))

    assert answers.count(True) == 10


async def test_what_is_reached_is_said_by_its_name(two: list[RedisCounts]) -> None:
    """The day ends at midnight, and until then is what ``Retry-After`` says."""
    quota = Quota.model_validate({"daily": 1})
    assert await two[0].spend("client", "a", quota) is None

    reached = await two[1].spend("client", "a", quota)

    assert reached is not None
    assert reached[0] == "daily"
    assert 0 < reached[1].reset <= 86_400


async def test_a_server_that_is_gone_is_not_waited_for_and_comes_back(
    own_redis: RedisServer, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each counts for itself meanwhile, says so once, and shows no password."""
    caplog.set_level("INFO", "broker.limits")
    counts = RedisCounts(LimitStore.model_validate({"url": own_redis.url, "deadline": "300ms"}))
    limits = QuotaLimits(
        Limits.model_validate({"client": {"rate": "3/1h"}}), [CLIENT], shared=counts
    )
    assert await admitted(limits)
    own_redis.stop()

    alone = [await admitted(limits) for _ in range(6)]

    assert alone == [True] * 3 + [False] * 3
    said = [record for record in caplog.records if "do not answer" in record.message]
    assert len(said) == 1
    assert own_redis.password not in caplog.text
    with pytest.raises(CountsAway):
        await counts.spend("client", "a", Quota.model_validate({"rate": "3/1h"}))
    await counts.aclose()


async def test_counts_are_shared_again_once_the_server_is_back(
    own_redis: RedisServer, tmp_path
) -> None:
    """Asked anew after a second, without a restart."""
    clock = [0.0]
    counts = RedisCounts(store(own_redis), monotonic=lambda: clock[0])
    quota = Quota.model_validate({"rate": "1000/1s"})
    own_redis.process.send_signal(19)  # SIGSTOP: it takes connections and says nothing
    with pytest.raises(CountsAway):
        await counts.spend("client", "a", quota)
    own_redis.process.send_signal(18)  # SIGCONT
    clock[0] = 2.0

    async def shared() -> bool:
        try:
            return await counts.spend("client", "a", quota) is None
        except CountsAway:
            clock[0] += 2.0
            return False

    await eventually(shared)
    await counts.aclose()


@pytest.mark.parametrize(
    ("rate", "burst", "window", "holds"),
    [
        ("10/1s", None, 1, 10),
        ("10/1s", 50, 5, 50),
        ("600/1m", 100, 10, 100),
        ("1/10s", None, 10, 1),
        ("100/1s", 10, 1, 100),  # a burst of less than a second is not told apart
    ],
)
def test_a_rate_and_its_burst_are_a_window(
    rate: str, burst: int | None, window: int, holds: int
) -> None:
    """Over any longer time no more than the rate."""
    parsed = Rate.model_validate(rate)

    assert window_of(parsed, burst) == (window, holds)
    assert holds / window <= parsed.count / parsed.per.total_seconds()
