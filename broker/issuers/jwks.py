"""Where verification keys come from, and how long they are believed.

``CachedKeys`` is the one cache of key sets, for issuers and for clients with a ``jwks_uri``.
What it guarantees, however many tokens arrive with however many unknown ``kid``s (ATK-KID-03):

(1) at most one load is under way, and at most one begins in ``COOLDOWN``, failed or not;
(2) a key that its owner dropped is refused after ``REFRESH_INTERVAL``, if the owner answers;
(3) while the owner does not answer, the last good keys serve until they are ``MAX_STALE`` old;
(4) then nothing is verified any more: ``KeysUnavailable``;
(5) a ``kid`` that is not known loads anew, so a rotated key is found within ``COOLDOWN``.

An unknown ``kid`` leaves nothing behind, so there is nothing that a flood of them could fill.
Times are of the monotonic clock: a step of the wall clock neither ages keys nor revives them.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from broker.issuers.fetch import FETCH_DEADLINE, FetchFailed, FetchFault
from broker.jose.jwk import KeySet
from broker.telemetry import meter, tracer

COOLDOWN: Final = 30.0  # seconds
REFRESH_INTERVAL: Final = 300.0  # seconds
MAX_STALE: Final = 24 * 3600.0  # seconds
_EARLIEST_REFRESH: Final = 210.0  # seconds: background refresh begins from here on, spread out
_LATEST_REFRESH: Final = 240.0  # seconds: leaves two more attempts within the interval

_log = logging.getLogger(__name__)
_loads = meter.create_counter(
    "broker.jwks.fetches", unit="1", description="Loads of key sets, by source and outcome."
)
_durations = meter.create_histogram(
    "broker.jwks.fetch.duration", unit="s", description="How long a load of a key set took."
)


class KeysUnavailable(Exception):  # noqa: N818 — an outcome that the caller answers with 503
    """There is no key set that may still be believed, and none could be loaded."""

    def __init__(self, fault: FetchFault | None = None) -> None:
        super().__init__("no keys" if fault is None else fault.value)
        self.fault = fault  # of the last attempt; None: it was not tried yet


class KeySource(Protocol):
    """Gives the keys of one party, an issuer or a client."""

    async def keys(self, kid: str | None, alg: str) -> KeySet:
        """Return the keys; loaded anew if none fits ``kid`` and ``alg`` and the last load is old.

        Raises ``KeysUnavailable``.
        """

    def at_hand(self, kid: str | None, alg: str) -> KeySet:
        """Return the keys there are, at once; what may bring one that fits begins behind it.

        For callers who are not authenticated yet: nobody makes them wait for the network.

        Raises ``KeysUnavailable``.
        """

    @property
    def loaded(self) -> bool:
        """Whether there are keys that may be used now."""

    @property
    def age(self) -> float | None:
        """Seconds since the keys were confirmed; None if they never were."""

    @property
    def fault(self) -> FetchFault | None:
        """What the last load failed with; None if it did not."""

    async def refresh(self) -> None:
        """Load the keys if that is due, and return when it is done. Never raises."""

    async def aclose(self) -> None:
        """Stop what is under way."""


class LiveKeys:
    """Keys that somebody else keeps fresh: inline ones, or those of our own keyring."""

    def __init__(self, current: Callable[[], KeySet]) -> None:
        self._current = current

    async def keys(self, kid: str | None, alg: str) -> KeySet:  # noqa: ARG002 — of the protocol
        """Return the keys as they are now. Raises ``KeysUnavailable`` if there is none."""
        keys = self._current()
        if not len(keys):
            raise KeysUnavailable
        return keys

    def at_hand(self, kid: str | None, alg: str) -> KeySet:  # noqa: ARG002 — of the protocol
        """Return the keys as they are now. Raises ``KeysUnavailable`` if there is none."""
        keys = self._current()
        if not len(keys):
            raise KeysUnavailable
        return keys

    @property
    def loaded(self) -> bool:
        """Whether there is any key."""
        return len(self._current()) > 0

    @property
    def age(self) -> float | None:
        """Always 0: they are the source."""
        return 0.0

    @property
    def fault(self) -> FetchFault | None:
        """Nothing is loaded, so nothing fails."""
        return None

    async def refresh(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing is under way."""


class NoKeys(LiveKeys):
    """Of an issuer that signs no tokens: there is nothing to load, and nothing to verify with."""

    def __init__(self) -> None:
        super().__init__(KeySet)

    @property
    def loaded(self) -> bool:
        """Nothing is missing."""
        return True


class CachedKeys:
    """Keys that are loaded over the network or from a file, and kept."""

    def __init__(
        self,
        name: str,
        load: Callable[[], Awaitable[KeySet]],
        *,
        spread: float = 0.0,
        deadline: float = FETCH_DEADLINE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``load`` raises ``FetchFailed``. ``name`` labels metrics and logs.

        ``spread`` in [0, 1) keeps processes that started together from refreshing together;
        ``deadline`` is for one load, in seconds.
        """
        self._name = name
        self._load = load
        self._deadline = deadline
        self._monotonic = monotonic
        self._refresh_after = _EARLIEST_REFRESH + spread * (_LATEST_REFRESH - _EARLIEST_REFRESH)
        self._keys: KeySet | None = None
        self._confirmed_at = 0.0  # when ``_keys`` were loaded
        self._attempted_at: float | None = None  # when the last load began
        self._fault: FetchFault | None = None
        self._task: asyncio.Task[None] | None = None

    async def keys(self, kid: str | None, alg: str) -> KeySet:
        """Return the keys, loaded anew first if that may bring one that fits.

        Raises ``KeysUnavailable``.
        """
        keys = self._keys
        known = keys is not None and bool(keys.candidates(kid, alg))
        age = self._monotonic() - self._confirmed_at
        if keys is not None and known and age < REFRESH_INTERVAL:
            return keys
        task = self._begin()
        # Keys that fit are only overdue: the owner gets one chance to have dropped them (2), but
        # once it has failed to answer, nobody waits for it again while they may serve (3).
        serve_stale = known and age < MAX_STALE and self._fault is not None
        if task is not None and not serve_stale:
            await asyncio.wait({task})
        keys = self._keys
        if keys is None or not self.loaded:
            raise KeysUnavailable(self._fault)
        # Whether a key that we lack exists cannot be said while its owner does not answer.
        if self._fault is not None and not known and not keys.candidates(kid, alg):
            raise KeysUnavailable(self._fault)
        return keys

    def at_hand(self, kid: str | None, alg: str) -> KeySet:
        """Return the keys there are; a load begins, under the same bounds, if it is needed.

        Raises ``KeysUnavailable``.
        """
        keys = self._keys
        known = keys is not None and bool(keys.candidates(kid, alg))
        if not known or self._monotonic() - self._confirmed_at >= REFRESH_INTERVAL:
            self._begin()
        if not self.loaded or keys is None:
            raise KeysUnavailable(self._fault)
        return keys

    @property
    def loaded(self) -> bool:
        """Whether there are keys, and they are not too old to be believed (4)."""
        return self._keys is not None and self._monotonic() - self._confirmed_at < MAX_STALE

    @property
    def age(self) -> float | None:
        """Seconds since the last load that succeeded; None if there was none."""
        return None if self._keys is None else self._monotonic() - self._confirmed_at

    @property
    def fault(self) -> FetchFault | None:
        """What the last load failed with; None if it succeeded or there was none."""
        return self._fault

    async def refresh(self) -> None:
        """Load the keys if they are due, or missing, or the last load failed; never raises."""
        due = self._keys is None or self._fault is not None
        if due or self._monotonic() - self._confirmed_at >= self._refresh_after:
            task = self._begin()
            if task is not None:
                await asyncio.wait({task})

    async def aclose(self) -> None:
        """Give up the load that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self) -> asyncio.Task[None] | None:
        """Return the load that is under way, or begin one; None while it is too early (1).

        Callers wait for it with ``asyncio.wait``: so neither does a caller that gives up end it
        for the others, nor does its end by ``aclose`` look like theirs.
        """
        if self._task is not None:
            return self._task
        now = self._monotonic()
        if self._attempted_at is not None and now - self._attempted_at < COOLDOWN:
            return None
        self._attempted_at = now
        self._task = asyncio.create_task(self._attempt())
        return self._task

    async def _attempt(self) -> None:
        began = time.perf_counter()
        try:
            with tracer.start_as_current_span("jwks", attributes={"broker.source": self._name}):
                async with asyncio.timeout(self._deadline):
                    keys = await self._load()
        except FetchFailed as failed:
            self._failed(failed.fault)
        except TimeoutError:
            self._failed(FetchFault.TIMEOUT)
        else:
            self._keys, self._fault = keys, None
            self._confirmed_at = self._monotonic()
        finally:
            self._task = None
        outcome = "loaded" if self._fault is None else self._fault.value
        labels = {"source": self._name, "outcome": outcome}
        _loads.add(1, labels)
        _durations.record(time.perf_counter() - began, labels)

    def _failed(self, fault: FetchFault) -> None:
        # The last good keys stay: whoever can make a load fail must not be able to empty the set.
        self._fault = fault
        _log.warning(
            "keys could not be loaded",
            extra={"source": self._name, "fault": fault.value, "age": self.age},
        )
