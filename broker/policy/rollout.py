"""What decides in this process: the policy in force, and a candidate for some clients.

What holds:

(1) until the ledger of activations was read, nobody decides: a policy of yesterday is not used
    because the database is away;
(2) another policy is put in force by one assignment, whole; a decision is made by one of them from
    its beginning to its end, and names it;
(3) what a canary does wrong refuses nobody. The policy in force decides in its place, and this
    process asks the canary no more until something else is activated.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import orjson
from opentelemetry.metrics import CallbackOptions, Observation

from broker.domain import Deny, Evaluation, Exchange, Permit
from broker.policy.activation import Mode, State, Trial
from broker.policy.difference import terms_of
from broker.policy.engine import (
    ENTRYPOINT,
    PROXY_ENTRYPOINT,
    PolicyEngine,
    PolicyUnavailable,
)
from broker.policy.floor import assess, judge
from broker.policy.input import build_input
from broker.policy.trial import Observer
from broker.policy.wasm import WasmEngine
from broker.telemetry import meter

_log = logging.getLogger(__name__)
_suspended = meter.create_counter(
    "broker.policy.canary.suspended",
    unit="1",
    description="Canaries that a process asks no more, for what one of them did wrong.",
)
_canaries = meter.create_counter(
    "broker.policy.canary.decisions", unit="1", description="Exchanges that a canary decided."
)

# What each rollout of the process decides by: one, unless tests run several.
_in_force: Final[dict[int, tuple[str, str, str]]] = {}


def _observe_info(_: CallbackOptions) -> Iterable[Observation]:
    for live, candidate, mode in tuple(_in_force.values()):
        yield Observation(1, {"revision": live, "mode": Mode.ENFORCE.value})
        if candidate:
            yield Observation(1, {"revision": candidate, "mode": mode})


meter.create_observable_gauge(
    "broker.policy.info",
    callbacks=[_observe_info],
    unit="1",
    description="Always 1: the revisions of the policy that decides and of the candidate.",
)


@dataclass(frozen=True, slots=True)
class Engines:
    """A bundle that was activated, ready to decide."""

    exchange: WasmEngine
    proxy: WasmEngine | None  # None: it does not decide about the token proxy

    @property
    def revision(self) -> str:
        """The digest of the bundle."""
        return self.exchange.revision

    def close(self) -> None:
        """Let go of everything; blocks for some milliseconds."""
        self.exchange.close()
        if self.proxy is not None:
            self.proxy.close()


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is tried: asked by an observer, or by exchanges of its share."""

    trial: Trial
    observer: Observer | None = None
    canary: WasmEngine | None = None

    def close(self) -> None:
        """Let go of everything; blocks for as long as one decision may take."""
        if self.observer is not None:
            self.observer.stop()
        if self.canary is not None:
            self.canary.close()


class Rollout:
    """What was activated, as this process has it. One for all configurations; one event loop's."""

    def __init__(self) -> None:
        self.state: State | None = None  # None: (1)
        self.live: Engines | None = None  # None: what the configuration names
        self.candidate: Candidate | None = None
        self.suspended: str | None = None  # why the canary is asked no more

    def put_in_force(
        self, state: State, live: Engines | None, candidate: Candidate | None
    ) -> tuple[Engines | Candidate, ...]:
        """Decide by these from now on, and return what is no longer asked: it is to be closed."""
        before = (self.live, self.candidate)
        if candidate is not self.candidate:
            self.suspended = None
        self.state, self.live, self.candidate = state, live, candidate
        after = (live, candidate)
        return tuple(each for each in before if each is not None and each not in after)

    def tell(self, configured: str) -> None:
        """Say in the metrics what is in force; ``configured`` is the configuration's revision."""
        live, trial = self.revision(configured), self.trial
        _in_force[id(self)] = (live, trial.revision, trial.mode) if trial else (live, "", "")

    def close(self) -> None:
        """Let go of everything."""
        _in_force.pop(id(self), None)
        for each in (self.live, self.candidate):
            if each is not None:
                each.close()

    @property
    def trial(self) -> Trial | None:
        """What is tried, if anything."""
        return None if self.candidate is None else self.candidate.trial

    def revision(self, configured: str) -> str:
        """Return the revision that decides."""
        return configured if self.live is None else self.live.revision

    def by_canary(self, exchange: Exchange, input: bytes, ceiling: int) -> Permit | Deny | None:  # noqa: A002 — the word of OPA
        """Return the canary's decision; None: the policy in force is to decide. (3)."""
        candidate = self.candidate
        if candidate is None or candidate.canary is None or self.suspended is not None:
            return None
        if not candidate.trial.share.includes(exchange.client.id):
            return None
        try:
            decision = assess(exchange, candidate.canary.decide(input), ceiling=ceiling)
        except PolicyUnavailable as unavailable:
            self._suspend(str(unavailable))
            return None
        if isinstance(decision, Deny) and terms_of(decision).faulty:
            self._suspend(decision.reasons[0].value)
            return None
        _canaries.add(1, {"outcome": "refused" if isinstance(decision, Deny) else "permitted"})
        return decision

    def observe(
        self,
        exchange: Exchange,
        input: bytes,  # noqa: A002 — the word of OPA
        decision: Permit | Deny,
        ceiling: int,
    ) -> None:
        """Have the candidate asked about this as well, if one is observed."""
        candidate = self.candidate
        if candidate is not None and candidate.observer is not None:
            candidate.observer.offer(exchange, input, decision, ceiling)

    def _suspend(self, why: str) -> None:
        """Ask the canary no more."""
        self.suspended = why
        _suspended.add(1)
        revision = "" if self.trial is None else self.trial.revision
        _log.error(
            "the canary failed and is asked no more; the policy in force decides for everybody",
            extra={"candidate": revision, "reason": why},
        )


class InForce:
    """A ``PolicyEngine``: what was activated, or else what the configuration names."""

    def __init__(
        self, configured: PolicyEngine, rollout: Rollout, *, entrypoint: str = ENTRYPOINT
    ) -> None:
        self._configured = configured
        self._rollout = rollout
        self._is_proxy = entrypoint == PROXY_ENTRYPOINT

    @property
    def configured(self) -> str:
        """The revision that the configuration names."""
        return self._configured.revision

    @property
    def revision(self) -> str:
        """The revision that decides."""
        return self._rollout.revision(self._configured.revision)

    @property
    def available(self) -> bool:
        """Whether it is known what decides, and that can be asked."""
        engine = self._engine()
        return engine is not None and engine.available

    async def evaluate(self, input: bytes) -> Evaluation:  # noqa: A002 — the word of OPA
        """Return what the policy says. Raises ``PolicyUnavailable``, also for (1)."""
        engine = self._engine()
        if engine is None:
            raise PolicyUnavailable("it is not known which policy is in force")
        return await engine.evaluate(input)

    async def aclose(self) -> None:
        """Let go of what the configuration names; the rest is the rollout's."""
        await self._configured.aclose()

    def _engine(self) -> PolicyEngine | None:
        if self._rollout.state is None:
            return None
        live = self._rollout.live
        if live is None:
            return self._configured
        return live.proxy if self._is_proxy else live.exchange


@dataclass(frozen=True, slots=True)
class Decider:
    """Step 4 over one configuration."""

    engine: PolicyEngine
    rollout: Rollout
    ceiling: int  # exchanges: the settings' ``max_delegation_depth``

    async def decide(self, exchange: Exchange) -> Permit | Deny:
        """Return what becomes of an exchange. Raises ``PolicyUnavailable``."""
        asked = orjson.dumps(build_input(exchange))
        decision = self.rollout.by_canary(exchange, asked, self.ceiling)
        if decision is not None:
            return decision
        evaluation = await self.engine.evaluate(asked)
        decision = judge(exchange, evaluation, ceiling=self.ceiling)
        self.rollout.observe(exchange, asked, decision, self.ceiling)
        return decision
