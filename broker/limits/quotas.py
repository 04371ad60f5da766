"""How much each client may exchange, and how much of it for each target.

What holds of an exchange that goes on:

(1) its client, and its client at each of its targets, was within rate, day and number at a time;
(2) whatever refused it took nothing, so a client that asks too often is not punished for asking;
    only a shared store may have counted it before another of its limits refused;
(3) what it holds of the number at a time is given back when it ends, however it ends.

Only a client that has authenticated is counted, so nobody can use up what is another's. In the
memory of one process: n processes allow n times as much, unless they count together in a store,
which knows rates and days. While the store does not answer, each counts for itself.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from math import ceil
from types import TracebackType
from typing import Final, Protocol, Self

from broker.errors import LimitReached, LimitRejected, Reason
from broker.limits.buckets import Buckets
from broker.settings import ClientSettings, Limits, Quota

DAY: Final = 86_400  # seconds
_MAX_KEYS: Final = 100_000  # of clients and their targets, which are configured: never reached
_UNBOUNDED: Final = Quota()
_REASONS: Final = {
    ("client", "rate"): Reason.LIMIT_CLIENT_RATE,
    ("client", "daily"): Reason.LIMIT_CLIENT_DAILY,
    ("client", "concurrent"): Reason.LIMIT_CLIENT_CONCURRENT,
    ("target", "rate"): Reason.LIMIT_TARGET_RATE,
    ("target", "daily"): Reason.LIMIT_TARGET_DAILY,
    ("target", "concurrent"): Reason.LIMIT_TARGET_CONCURRENT,
}


class SharedCounts(Protocol):
    """Where processes count together."""

    async def spend(self, kind: str, key: str, quota: Quota) -> tuple[str, LimitReached] | None:
        """Count one, or return what is reached: ``rate`` or ``daily``. Raises ``CountsAway``."""


class CountsAway(Exception):  # noqa: N818 — an outcome that the caller plans for
    """The shared store did not answer in time."""


class Account:
    """What was used of one quota, by everybody who has that quota."""

    def __init__(self, kind: str, quota: Quota) -> None:
        self.kind = kind
        self.quota = quota
        rate = quota.rate
        self._buckets = (
            None
            if rate is None
            else Buckets[str](rate.count, rate.per.total_seconds(), _MAX_KEYS, burst=quota.burst)
        )
        # Whether there is anything that processes can count together.
        self.is_shared = rate is not None or quota.daily is not None
        self._day = 0
        self._used_today: Counter[str] = Counter()
        self._running: Counter[str] = Counter()

    def check_running(self, key: str) -> None:
        """Raise ``LimitRejected`` if as many run as may."""
        most = self.quota.concurrent
        if most is not None and self._running[key] >= most:
            raise self.rejection("concurrent", LimitReached(f"{self.kind}-concurrent", most, 0, 1))

    def check_counts(self, key: str, now: datetime) -> None:
        """Raise ``LimitRejected`` if rate or day is used up."""
        seconds = now.timestamp()
        buckets, rate, daily = self._buckets, self.quota.rate, self.quota.daily
        if buckets is not None and rate is not None:
            wait = buckets.wait(key, seconds)
            if wait > 0:
                window = ceil(rate.per.total_seconds())
                raise self.rejection(
                    "rate", LimitReached(f"{self.kind}-rate", rate.count, window, ceil(wait))
                )
        if daily is not None and self._today(seconds)[key] >= daily:
            raise self.rejection(
                "daily", LimitReached(f"{self.kind}-daily", daily, DAY, seconds_left(now))
            )

    def take_counts(self, key: str, now: datetime) -> None:
        """Count one against rate and day."""
        seconds = now.timestamp()
        if self._buckets is not None:
            self._buckets.take(key, seconds)
        if self.quota.daily is not None:
            self._today(seconds)[key] += 1

    def begin(self, key: str) -> None:
        """Count one that runs."""
        self._running[key] += 1

    def end(self, key: str) -> None:
        """Count it no longer."""
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]

    def rejection(self, what: str, reached: LimitReached) -> LimitRejected:
        """Return the refusal of who has reached a limit."""
        return LimitRejected(_REASONS[self.kind, what], reached)

    def _today(self, seconds: float) -> Counter[str]:
        day = int(seconds // DAY)
        # A clock that steps back over midnight gives nobody a second day.
        if day > self._day:
            self._day = day
            self._used_today.clear()
        return self._used_today


class Hold:
    """What one exchange has been admitted to, until it ends."""

    __slots__ = ("_quotas", "_running")

    def __init__(self, quotas: "QuotaLimits") -> None:
        self._quotas = quotas
        self._running: list[tuple[Account, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for account, key in self._running:
            account.end(key)

    async def client(self, client_id: str, now: datetime) -> None:
        """Go on as this client. Raises ``LimitRejected``: ``limit.client_…``."""
        account = self._quotas.account_of_client(client_id)
        if account is not None:
            await self._admit([(account, client_id)], now)

    async def targets(self, client_id: str, names: Iterable[str], now: datetime) -> None:
        """Go on to these targets, all or none. Raises ``LimitRejected``: ``limit.target_…``."""
        account = self._quotas.account_of_targets(client_id)
        if account is not None:
            # Neither can hold a line feed, so no two pairs are one key.
            await self._admit([(account, f"{client_id}\n{name}") for name in names], now)

    async def _admit(self, asked: list[tuple[Account, str]], now: datetime) -> None:
        for account, key in asked:
            account.check_running(key)
        if asked[0][0].is_shared and not await self._counted_together(asked):
            for account, key in asked:
                account.check_counts(key, now)
            for account, key in asked:
                account.take_counts(key, now)
        # Counted now and not before: whoever was refused by the store runs nothing.
        for account, key in asked:
            account.check_running(key)
            account.begin(key)
            self._running.append((account, key))

    async def _counted_together(self, asked: list[tuple[Account, str]]) -> bool:
        """Whether the shared store has counted. Raises ``LimitRejected`` for what it refuses."""
        shared = self._quotas.shared
        if shared is None:
            return False
        try:
            for account, key in asked:
                reached = await shared.spend(account.kind, key, account.quota)
                if reached is not None:
                    raise account.rejection(*reached)
        except CountsAway:
            return False
        return True


class QuotaLimits:
    """The quotas of one configuration; what was used of one that has not changed stays."""

    def __init__(
        self,
        limits: Limits,
        clients: Iterable[ClientSettings],
        *,
        shared: SharedCounts | None = None,
        previous: "QuotaLimits | None" = None,
    ) -> None:
        self.shared = shared
        self.accounts: dict[tuple[str, Quota], Account] = {}
        before = {} if previous is None else previous.accounts
        self._clients: dict[str, Account | None] = {}
        self._targets: dict[str, Account | None] = {}
        for client in clients:
            own = client.limits
            self._clients[client.id] = self._account("client", own.client or limits.client, before)
            quota = own.client_target or limits.client_target
            self._targets[client.id] = self._account("target", quota, before)

    def hold(self) -> Hold:
        """Return what an exchange enters, and leaves when it ends."""
        return Hold(self)

    def account_of_client(self, client_id: str) -> Account | None:
        """Return what this client uses in all; None: it is not bounded."""
        return self._clients.get(client_id)

    def account_of_targets(self, client_id: str) -> Account | None:
        """Return what this client uses for targets; None: it is not bounded."""
        return self._targets.get(client_id)

    def _account(
        self, kind: str, quota: Quota, before: Mapping[tuple[str, Quota], Account]
    ) -> Account | None:
        if quota == _UNBOUNDED:
            return None
        place = kind, quota
        if place not in self.accounts:
            self.accounts[place] = before.get(place) or Account(kind, quota)
        return self.accounts[place]


def seconds_left(now: datetime) -> int:
    """Return the seconds until midnight, UTC."""
    at = now.astimezone(UTC)
    return DAY - (at.hour * 3600 + at.minute * 60 + at.second)
