"""Keeps what this process decides by the same as the ledger says, and says what it decides by.

What holds:

(1) an activation that is committed anywhere is in force here a second later, mostly at once;
(2) a bundle that cannot be used leaves everything as it was, and is an alarm until it is mended or
    another one is activated; a candidate that cannot be used is not tried, and nothing else;
(3) a ledger that cannot be read leaves everything as it was; at the start nobody decides until it
    was read.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from broker.policy.activation import State, Trial, add_up
from broker.policy.opening import open_candidate, open_engines, said_of
from broker.policy.rollout import Candidate, Engines, Rollout
from broker.policy.store import PolicyLedger, PolicyLedgerUnavailable, Replica
from broker.settings import Policy, Settings
from broker.telemetry import meter

_log = logging.getLogger(__name__)
_failures = meter.create_counter(
    "broker.policy.activation.failures",
    unit="1",
    description="Activations that this process could not follow, by cause.",
)
_alarm = meter.create_gauge(
    "broker.policy.alarm",
    unit="1",
    description="1 while something is wrong with policy bundles, 0 otherwise.",
)

POLL: Final = timedelta(seconds=1)
REPORT: Final = timedelta(seconds=20)
SEEN_WITHIN: Final = 3 * REPORT  # who has not reported for this long is not running
_AGAIN: Final = timedelta(seconds=10)  # until what failed is tried again


class Follower:
    """Follows the ledger for one process, whose writer of audit rows is ``writer``."""

    def __init__(
        self,
        ledger: PolicyLedger,
        rollout: Rollout,
        *,
        settings: Callable[[], Settings],
        configured: Callable[[], str],
        ended: Callable[[Candidate], Awaitable[None]],
        also: Callable[[], tuple[str, ...]] = tuple,
        writer: UUID,
        place: str,
        poll: timedelta = POLL,
    ) -> None:
        """Nothing is read yet. ``configured`` is the revision that the configuration names.

        ``ended`` is told of each candidate that is tried no more, before it is closed. ``also``
        says what else is wrong with bundles here.
        """
        self._ledger = ledger
        self._rollout = rollout
        self._settings = settings
        self._configured = configured
        self._ended = ended
        self._also = also
        self._replica = Replica(writer, place, 0, "", "", "", "")
        self._poll = poll.total_seconds()
        self._wake = asyncio.Event()
        self._ear: Any = None
        self._said: Replica | None = None
        self._said_at = self._tried_at = float("-inf")
        self._tried: tuple[int, Policy] | None = None  # what could not be put in force
        self._opened: Policy | None = None  # what demands were met by what is in force
        self.fault: str | None = None  # why something else than the newest is in force

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong here, for operators; nothing is well."""
        canary = self._rollout.suspended
        said = (self.fault, None if canary is None else f"the canary failed: {canary}")
        return (*(each for each in said if each is not None), *self._also())

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until ``stop`` is set."""
        stopping = asyncio.create_task(self._wake_at(stop))
        try:
            while not stop.is_set():
                self._wake.clear()
                await self._listen()
                with suppress(PolicyLedgerUnavailable):
                    await self.refresh()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._poll)
            with suppress(PolicyLedgerUnavailable):
                await self._ledger.retire(self._replica.writer)
        finally:
            stopping.cancel()
            if self._ear is not None:
                self._ear.terminate()

    async def refresh(self) -> None:
        """Put in force what is new in the ledger. Raises ``PolicyLedgerUnavailable``."""
        newest = await self._ledger.newest()
        state = self._rollout.state
        # A number that is lower is of a ledger that was set back: what it says counts. And with
        # another configuration another signature may be asked for.
        if state is None or newest != state.seq or self._opened != self._settings().policy:
            await self._follow(newest)
        self._rollout.tell(self._configured())
        await self._report()

    async def _follow(self, newest: int) -> None:
        loop = asyncio.get_running_loop()
        asked = (newest, self._settings().policy)
        if asked == self._tried and loop.time() - self._tried_at < _AGAIN.total_seconds():
            return
        state = add_up(await self._ledger.load())
        try:
            live = await self._open_live(state)
        except PolicyLedgerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 — whatever a bundle is, this process goes on (2)
            self._tried, self._tried_at = asked, loop.time()
            self._complain(said_of(error, state.live), state, "live")
            return
        fault = None
        try:
            candidate = await self._open_candidate(state.trial)
        except PolicyLedgerUnavailable:
            await self._drop(live)
            raise
        except Exception as error:  # noqa: BLE001 — likewise
            candidate, fault = None, said_of(error, state.trial.revision if state.trial else "")
            self._complain(fault, state, "candidate")
        self._tried, self._opened, self.fault = None, asked[1], fault
        for old in self._rollout.put_in_force(state, live, candidate):
            if isinstance(old, Candidate):
                await self._ended(old)
            # Nobody is amid a decision: none of them yields.
            await asyncio.to_thread(old.close)
        trial = state.trial
        _log.info(
            "policy in force",
            extra={
                "seq": state.seq,
                "policy_revision": self._rollout.revision(self._configured()),
                "candidate": None if trial is None else trial.revision,
                "mode": None if trial is None else trial.mode.value,
            },
        )

    async def _open_live(self, state: State) -> Engines | None:
        """Return what is to decide; what already does is the same object."""
        live = self._rollout.live
        if not state.live:
            return None
        if live is not None and live.revision == state.live and self._is_met():
            return live
        archive, settings = await self._ledger.load_bundle(state.live), self._settings()

        def opened() -> Engines:
            return open_engines(
                archive, state.live, settings.policy, proxy=bool(settings.upstreams)
            )

        return await asyncio.to_thread(opened)

    async def _open_candidate(self, trial: Trial | None) -> Candidate | None:
        """Return what is to be tried; what already is, and does not fail, is the same object."""
        candidate = self._rollout.candidate
        if trial is None:
            return None
        same = candidate is not None and candidate.trial == trial
        if same and self._is_met() and not self._rollout.suspended:
            return candidate
        archive, policy = await self._ledger.load_bundle(trial.revision), self._settings().policy

        return await asyncio.to_thread(open_candidate, archive, trial, policy)

    def _is_met(self) -> bool:
        return self._opened == self._settings().policy

    async def _drop(self, live: Engines | None) -> None:
        if live is not None and live is not self._rollout.live:
            await asyncio.to_thread(live.close)

    def _complain(self, why: str, state: State, which: str) -> None:
        _failures.add(1, {"cause": which})
        if self.fault != why:
            _log.error(
                "a policy was activated that cannot be used here; what was in force stays",
                extra={"seq": state.seq, "which": which, "why": why},
            )
        self.fault = why

    async def _report(self) -> None:
        """Say what this process decides by, if that is new or was said a while ago."""
        state, trial = self._rollout.state, self._rollout.trial
        troubles = self.troubles
        _alarm.set(int(bool(troubles)))
        said = replace(
            self._replica,
            seq=0 if state is None else state.seq,
            revision="" if state is None else self._rollout.revision(self._configured()),
            candidate="" if trial is None else trial.revision,
            mode="" if trial is None else trial.mode.value,
            fault="; ".join(troubles)[:1000],
        )
        now = asyncio.get_running_loop().time()
        if said != self._said or now - self._said_at >= REPORT.total_seconds():
            await self._ledger.report(said)
            self._said, self._said_at = said, now

    async def _listen(self) -> None:
        if self._ear is None or self._ear.is_closed():
            self._ear = None
            with suppress(PolicyLedgerUnavailable):
                self._ear = await self._ledger.listen(self._wake.set)

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()
