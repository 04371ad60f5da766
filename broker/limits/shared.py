"""Rates and days of clients, counted by all processes together on a server of the Redis protocol.

A rate is a sliding window that holds as many as its burst, so that over any longer time there are
no more than the rate; a day is a fixed window. What runs at the same time stays each process's own
to count: nobody would give back what a process that was killed has held.

While the server does not answer within its deadline, each process counts for itself, and says so
once; it is asked again a second later.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import timedelta
from math import ceil
from typing import Any, Final

from broker.circuit import Circuit, State
from broker.errors import LimitReached
from broker.limits.quotas import DAY, CountsAway
from broker.settings import LimitStore, Quota, Rate
from broker.telemetry import meter

_log = logging.getLogger(__name__)
_circuit = meter.create_gauge(
    "broker.limits.store.circuit",
    description="0 the shared counts are used, 1 they are tried, 2 each process counts for itself.",
)
_PREFIX: Final = "broker:limits"


class RedisCounts:
    """The counts of all processes that have one server. Connects when it is first asked."""

    def __init__(
        self, settings: LimitStore, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        # Here, so that only who counts together waits for the libraries to be read.
        from limits import RateLimitItemPerSecond  # noqa: PLC0415 — see above
        from limits.aio.storage import RedisStorage  # noqa: PLC0415 — likewise
        from limits.aio.strategies import (  # noqa: PLC0415 — likewise
            FixedWindowRateLimiter,
            SlidingWindowCounterRateLimiter,
        )
        from redis.asyncio import ConnectionPool  # noqa: PLC0415 — likewise
        from redis.asyncio.retry import Retry  # noqa: PLC0415 — likewise
        from redis.backoff import NoBackoff  # noqa: PLC0415 — likewise
        from redis.exceptions import RedisError  # noqa: PLC0415 — likewise

        self._deadline = settings.deadline.total_seconds()
        # Any: the library's options have types of their own each.
        options: dict[str, Any] = {}
        url = settings.url.get_secret_value()
        if url.startswith("rediss:") and settings.ca_file is not None:
            options["ssl_ca_certs"] = str(settings.ca_file)
        self._pool = ConnectionPool.from_url(
            url,
            socket_timeout=self._deadline,
            socket_connect_timeout=self._deadline,
            retry=Retry(NoBackoff(), 0),
            max_connections=64,
            **options,
        )
        # The pool knows where; the library would show the URL, and what is in it, in its errors.
        of_pool: dict[str, Any] = {"connection_pool": self._pool}
        storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=_PREFIX,
            **of_pool,
        )
        self._sliding = SlidingWindowCounterRateLimiter(storage)
        self._fixed = FixedWindowRateLimiter(storage)
        self._item = RateLimitItemPerSecond
        self._failures = (RedisError, OSError, TimeoutError)
        self._circuit = Circuit(monotonic, failures=1, report=self._report)

    async def spend(self, kind: str, key: str, quota: Quota) -> tuple[str, LimitReached] | None:
        """Count one, or return what is reached: ``rate`` or ``daily``. Raises ``CountsAway``."""
        if not self._circuit.admit():
            raise CountsAway
        try:
            async with asyncio.timeout(self._deadline):
                reached = await self._spend(kind, key, quota)
        except self._failures as error:
            self._circuit.failed()
            raise CountsAway(type(error).__name__) from None
        except BaseException:
            self._circuit.abandoned()
            raise
        self._circuit.succeeded()
        return reached

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def _spend(self, kind: str, key: str, quota: Quota) -> tuple[str, LimitReached] | None:
        if quota.rate is not None:
            window, most = window_of(quota.rate, quota.burst)
            item = self._item(most, window, namespace=f"{kind}-rate")
            if not await self._sliding.hit(item, key):
                count, per = quota.rate.count, ceil(quota.rate.per.total_seconds())
                wait = max(1, ceil(per / count))
                return "rate", LimitReached(f"{kind}-rate", count, per, wait)
        if quota.daily is not None:
            item = self._item(quota.daily, DAY, namespace=f"{kind}-daily")
            if not await self._fixed.hit(item, key):
                stats = await self._fixed.get_window_stats(item, key)
                wait = max(1, ceil(stats.reset_time - time.time()))
                return "daily", LimitReached(f"{kind}-daily", quota.daily, DAY, min(wait, DAY))
        return None

    def _report(self, state: State) -> None:
        _circuit.set(state)
        if state is State.OPEN:
            _log.warning("the shared counts do not answer; each process counts for itself")
        elif state is State.CLOSED:
            _log.info("clients are counted by all processes together")


def window_of(rate: Rate, burst: int | None) -> tuple[int, int]:
    """Return the whole seconds of a sliding window, and how many it holds, for a rate.

    Never more than the rate over any longer time, and as many as the burst at once where that is
    a second's worth or more.
    """
    most = rate.count if burst is None else burst
    exact: timedelta = rate.per * most / rate.count
    window = max(1, ceil(exact.total_seconds()))
    return window, max(1, int(rate.count * window / rate.per.total_seconds()))
