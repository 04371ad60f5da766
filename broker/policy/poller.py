"""Looks for new bundles where the configuration says, and activates them.

What holds:

(1) a bundle is activated once: what somebody rolled back since does not come back by itself, on
    no process and after no restart, until the source has another one;
(2) a bundle that cannot be used, and a source that does not answer, leave everything as it was and
    are an alarm;
(3) processes do not look at the same time, and of several that find the same one activates it.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from broker.errors import CommitRejected, ConfigurationError
from broker.policy.activate import ActivationRefused, Record, activate
from broker.policy.activation import Action, Activation, Mode
from broker.policy.opening import check_bundle, said_of
from broker.policy.source import SourceFailed, open_source
from broker.policy.store import PolicyLedger, PolicyLedgerUnavailable
from broker.settings import BundleSource, Settings
from broker.telemetry import meter

_log = logging.getLogger(__name__)
_fetches = meter.create_counter(
    "broker.policy.source.fetches",
    unit="1",
    description="Looks for a new bundle, by outcome: new, same, refused or failed.",
)

_JITTER: Final = 0.2  # of the interval, either way
_LATE: Final = 3  # intervals without an answer are an alarm
_IDLE: Final = 5.0  # seconds until it is looked whether there is a source now


class Poller:
    """Looks for one process. ``settings`` are those in force."""

    def __init__(
        self, ledger: PolicyLedger, record: Record, settings: Callable[[], Settings]
    ) -> None:
        self._ledger = ledger
        self._record = record
        self._settings = settings
        self._asked: BundleSource | None = None
        self._tag: str | None = None  # of what was dealt with
        self._failures = 0  # one after the other
        self._refused: str | None = None
        self._failed: str | None = None

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong with the source, for operators."""
        late = self._failed if self._failures >= _LATE else None
        return tuple(f"policy.source: {each}" for each in (self._refused, late) if each is not None)

    async def run(self, stop: asyncio.Event) -> None:
        """Look until ``stop`` is set."""
        while not stop.is_set():
            source = self._settings().policy.source
            pause = _IDLE
            if source is None:
                self._forget(None)
            else:
                await self.look(source)
                pause = jitter(source.every)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)

    async def look(self, source: BundleSource) -> None:
        """Look once, and activate what is new."""
        if source != self._asked:
            self._forget(source)
        try:
            found = await open_source(source).fetch(self._tag)
        except (SourceFailed, ConfigurationError) as failed:
            self._failures, self._failed = self._failures + 1, str(failed)
            _fetches.add(1, {"outcome": "failed"})
            if self._failures == _LATE:
                _log.error(
                    "no policy bundle can be had from its source", extra={"why": str(failed)}
                )
            return
        self._failures, self._failed = 0, None
        if found is None:
            _fetches.add(1, {"outcome": "same"})
            return
        policy, proxy = self._settings().policy, bool(self._settings().upstreams)
        try:
            bundle = await asyncio.to_thread(check_bundle, found.archive, policy, proxy=proxy)
        except Exception as error:  # noqa: BLE001 — whatever a bundle is, this process goes on
            self._tag, self._refused = found.tag, said_of(error, "")  # (2), once
            _fetches.add(1, {"outcome": "refused"})
            _log.error(
                "a policy bundle of the source is refused; what was in force stays",
                extra={"why": self._refused},
            )
            return
        _fetches.add(1, {"outcome": "new"})
        self._refused = None
        # What the database did not take is looked for again.
        with suppress(PolicyLedgerUnavailable, CommitRejected):
            await self._activate(source, bundle.revision, found.archive)
            self._tag = found.tag

    async def _activate(self, source: BundleSource, revision: str, archive: bytes) -> None:
        by = name_of(source)
        if is_settled(await self._ledger.load(), by, revision):
            return
        with suppress(ActivationRefused):  # somebody else was faster (3)
            await activate(
                self._ledger,
                self._record,
                revision=revision,
                archive=archive,
                mode=Mode(source.mode),
                by=by,
                reason="a new bundle at the source",
            )

    def _forget(self, source: BundleSource | None) -> None:
        self._asked, self._tag, self._failures = source, None, 0
        self._refused = self._failed = None


def is_settled(history: Sequence[Activation], by: str, revision: str) -> bool:
    """Whether this was activated since the source last brought something, by it or by hand. (1)."""
    for row in reversed(history):
        if row.revision == revision:
            return True
        if row.by == by and row.action is Action.ACTIVATE:
            return False
    return False


def name_of(source: BundleSource) -> str:
    """Return what the source is called as an author."""
    if source.repository is None:
        return f"source {source.url}"[:1000]
    return f"source {source.url} {source.repository}:{source.tag}"[:1000]


def jitter(every: timedelta) -> float:
    """Return how long to wait, in seconds: about ``every``, and each time another."""
    return every.total_seconds() * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 — no secret
