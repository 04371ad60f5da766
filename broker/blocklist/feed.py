"""What was revoked, as this process sees it: pulled every second, and never older than it says.

What holds, whatever the network and the database do; promises §4:

(1) what was committed anywhere is in ``current`` a second later, mostly at once;
(2) who has not read the ledger for ten seconds knows that it does not know: ``BlocklistStale``;
(3) before the first whole load there is no snapshot, so a restart forgets nothing;
(4) the newest rule that is known must be there, as it was, when the next ones are read. After a
    failover that has lost some, numbers are given a second time, and asking for what comes after
    the last one would miss them: then everything is read anew, and nothing known is dropped.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from broker.blocklist.rule import Rule
from broker.blocklist.snapshot import BlocklistStale, Snapshot
from broker.blocklist.store import PAGE, Ear, Ledger, LedgerUnavailable
from broker.settings import Settings
from broker.settings.values import MAX_LEEWAY, MAX_LIFETIME
from broker.telemetry import meter

__all__ = ["Blocklist", "BlocklistStale", "memory_of"]

_log = logging.getLogger(__name__)
_size = meter.create_gauge(
    "broker.blocklist.rules", unit="1", description="Revocations that can still meet a token."
)
_last = meter.create_gauge(
    "broker.blocklist.newest",
    unit="1",
    description="Number of the newest revocation that is known.",
)
_pulled = meter.create_counter(
    "broker.blocklist.pulled", unit="1", description="Revocations read from the ledger."
)
_failures = meter.create_counter(
    "broker.blocklist.failures", unit="1", description="Reads of the ledger that failed."
)
_rewound = meter.create_counter(
    "broker.blocklist.rewound",
    unit="1",
    description="Times that the ledger was not the one that was read before.",
)

POLL: Final = timedelta(seconds=1)
STALE_AFTER: Final = timedelta(seconds=10)
_DEADLINE: Final = timedelta(seconds=3)  # of one read; several fit before the snapshot is stale
_SPACING: Final = timedelta(milliseconds=50)  # a storm of notifications makes twenty reads a second
_TIDY: Final = timedelta(hours=1)
_SLACK: Final = timedelta(hours=1)  # for clocks that differ, and whoever was under way


def memory_of(settings: Settings) -> timedelta:
    """Return for how long a revocation can matter: the longest that its tokens can be presented.

    A foreign token until ``max_age`` after its ``iat``, and what is made of it then for one life
    of a token of ours in all, because no descendant outlives the first of these (invariant 2).
    """
    oldest = max((issuer.max_age for issuer in settings.issuers), default=timedelta())
    return oldest + MAX_LEEWAY + MAX_LIFETIME + _SLACK


class Blocklist:
    """The snapshot of this process, and what keeps it fresh. ``monotonic`` is in seconds."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        memory: timedelta,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        poll: timedelta = POLL,
    ) -> None:
        """``memory``: for how long a rule can matter. ``poll``: how long a hint is waited for."""
        self._ledger = ledger
        self._memory = memory
        self._clock = clock
        self._monotonic = monotonic
        self._poll = poll.total_seconds()
        self._snapshot: Snapshot | None = None
        self._newest: Rule | None = None
        self._seen_at = self._tidied_at = monotonic()
        self._reading = asyncio.Lock()
        self._wake = asyncio.Event()
        self._ear: Ear | None = None
        self._complained = False

    @property
    def current(self) -> Snapshot:
        """(2), (3): the snapshot to judge by. Raises ``BlocklistStale``."""
        if self._snapshot is None or not self.loaded:
            raise BlocklistStale("the revocations were not read lately")
        return self._snapshot

    @property
    def loaded(self) -> bool:
        """Whether everything was read, and lately."""
        return self._snapshot is not None and self.age <= STALE_AFTER.total_seconds()

    @property
    def age(self) -> float:
        """Seconds since the ledger was last read, or since the start if it never was."""
        return self._monotonic() - self._seen_at

    async def use(self, memory: timedelta) -> None:
        """Remember for this long from now on; what was dropped is read again before it returns.

        Raises ``LedgerUnavailable``; then it is as before.
        """
        before, self._memory = self._memory, memory
        if memory <= before:
            return
        try:
            async with self._reading:
                await self._load()
        except BaseException:
            self._memory = before
            raise

    async def refresh(self) -> None:
        """Take over what is new in the ledger. Raises ``LedgerUnavailable``; nothing is lost."""
        async with self._reading:
            asked_at = self._monotonic()
            if self._newest is None or not await self._pull(self._newest):
                await self._load()
            self._tidy()
            self._seen_at = asked_at

    async def run(self, stop: asyncio.Event) -> None:
        """Read every second, and whenever somebody says that there is something, until ``stop``."""
        stopping = asyncio.create_task(self._wake_at(stop))
        try:
            while not stop.is_set():
                self._wake.clear()
                await self._listen()
                await self._attempt()
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _SPACING.total_seconds())
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._poll)
        finally:
            stopping.cancel()
            if self._ear is not None:
                self._ear.terminate()

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _listen(self) -> None:
        # Before the read, so that nothing falls between the two; without it, the poll is enough.
        if self._ear is None or self._ear.closed:
            self._ear = None
            with suppress(LedgerUnavailable):
                self._ear = await self._ledger.listen(self._wake.set)

    async def _attempt(self) -> None:
        try:
            async with asyncio.timeout(_DEADLINE.total_seconds()):
                await self.refresh()
        except Exception as error:  # noqa: BLE001 — see below
            # Whatever it was, the next second may mend it, and a feed that has ended in silence
            # would be known only by the process refusing everything.
            _failures.add(1)
            if not self._complained:
                self._complained = True
                _log.error("the revocations cannot be read (%s)", type(error).__name__)
            return
        if self._complained:
            self._complained = False
            _log.info("the revocations are read again")

    async def _pull(self, newest: Rule) -> bool:
        """(4): read what came after ``newest``; return whether it is there itself, as it was."""
        while True:
            found, *rules = await self._ledger.pull(newest.seq - 1) or (None,)
            if found != newest:
                _rewound.add(1)
                _log.critical("the ledger of revocations is not the one that was read before")
                return False
            if rules:
                self._take(rules)
                newest = rules[-1]
            # What comes meanwhile is for the next read: a storm would keep this one going for good.
            if len(rules) < PAGE - 1:
                return True

    async def _load(self) -> None:
        rules = await self._ledger.load(self._clock() - self._memory)
        self._newest = None
        self._take(rules)

    def _take(self, rules: list[Rule]) -> None:
        # The same one where nothing is new: by it others know that nothing was revoked since.
        if rules or self._snapshot is None:
            self._snapshot = (self._snapshot or Snapshot()).extend(rules)
        if rules:
            self._newest = rules[-1]
            _last.set(self._newest.seq)
            _pulled.add(len(rules))
        _size.set(len(self._snapshot))

    def _tidy(self) -> None:
        """Drop what nothing can meet any more, now and then."""
        now = self._monotonic()
        if self._snapshot is not None and now - self._tidied_at > _TIDY.total_seconds():
            self._snapshot = self._snapshot.without_obsolete(self._clock() - self._memory)
            self._tidied_at = now
            _size.set(len(self._snapshot))
