"""The part of a broker that follows which policy is in force, and reports on candidates."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from broker.app.place import Place
from broker.audit.commit import AuditTrail
from broker.db.engine import Database
from broker.errors import CommitRejected
from broker.policy.follower import Follower
from broker.policy.poller import Poller
from broker.policy.rollout import Candidate, Rollout
from broker.policy.store import PolicyLedger
from broker.settings import Settings

_log = logging.getLogger(__name__)

OBSERVED: Final = "policy.observed"  # the action of what a candidate would have changed
_EVERY: Final = timedelta(minutes=1)


class Rolling:
    """Every process runs one; the rollout is there from the start and is closed at the end."""

    def __init__(
        self,
        database: Database,
        trail: AuditTrail,
        *,
        settings: Callable[[], Settings],
        configured: Callable[[], str],
        writer: UUID,
        place: Place,
        clock: Callable[[], datetime],
    ) -> None:
        """Nothing is read yet. ``configured`` is the revision that the configuration names."""
        self.rollout = Rollout()
        self._trail = trail
        self._configured = configured
        self._clock = clock
        self._since = clock()
        ledger = PolicyLedger(database)
        self._poller = Poller(ledger, trail.record, settings)
        self.follower = Follower(
            ledger,
            self.rollout,
            settings=settings,
            configured=configured,
            ended=self._record,
            also=lambda: self._poller.troubles,
            writer=writer,
            place=f"{socket.gethostname()}/{os.getpid()}/worker-{place.number}",
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until ``stop`` is set; what was observed by then is recorded."""
        following = asyncio.create_task(self.follower.run(stop))
        looking = asyncio.create_task(self._poller.run(stop))
        waiting = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set() and not following.done() and not looking.done():
                await asyncio.wait(
                    {following, looking, waiting},
                    timeout=_EVERY.total_seconds(),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                await self.record_observed()
            # One that has ended by itself has failed: so does this, and it does not go unnoticed.
            await asyncio.gather(following, looking)
        finally:
            for task in (waiting, following, looking):
                task.cancel()
            await asyncio.to_thread(self.rollout.close)

    async def record_observed(self) -> None:
        """Record what the candidate would have changed since the last time, if it was asked."""
        if self.rollout.candidate is None:
            self._since = self._clock()
        else:
            await self._record(self.rollout.candidate)

    async def _record(self, candidate: Candidate) -> None:
        since, self._since = self._since, self._clock()
        observer = candidate.observer
        if observer is None:
            return
        tally = observer.take()
        if not tally.observed and not tally.dropped:
            return
        details: Mapping[str, Any] = {
            "candidate": observer.revision,
            "policy_revision": self.rollout.revision(self._configured()),
            "since": _render(since),
            "until": _render(self._since),
            **tally.describe(),
        }
        # What cannot be recorded is in the metrics still; exchanges have the same trouble then.
        with suppress(CommitRejected):
            await self._trail.record(OBSERVED, details)

    def remind(self) -> None:
        """Say in the log if what the configuration names is not what decides."""
        live = self.rollout.live
        if live is not None:
            _log.warning(
                "policy.path is not what decides: another policy was activated, until it is rolled"
                " back by broker policy rollback",
                extra={"policy_revision": live.revision, "configured": self._configured()},
            )

    def describe(self) -> dict[str, Any]:
        """Return what is in force and what is wrong, for operators."""
        state, trial = self.rollout.state, self.rollout.trial
        return {
            "state": "good" if state is not None and not self.follower.troubles else "failing",
            "revision": None if state is None else self.rollout.revision(self._configured()),
            "activation": None if state is None else state.seq,
            "candidate": None if trial is None else trial.revision,
            "mode": None if trial is None else trial.mode.value,
            "fault": "; ".join(self.follower.troubles) or None,
        }


def _render(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
