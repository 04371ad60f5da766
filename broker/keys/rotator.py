"""Carries out what the state machine plans: makes keys, seals them, records it, commits."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.jose.sign import generate_signing_key
from broker.keys.envelope import Envelope
from broker.keys.rotation import Plan, Schedule, due, forced_promotion, promotion
from broker.keys.store import KeyStore, NewKey
from broker.telemetry import meter

_log = logging.getLogger(__name__)
_transitions = meter.create_counter(
    "broker.keys.transitions", unit="1", description="Transitions of signing keys, by algorithm."
)

# What was done, and the particulars of it; returns when that is durable.
Record = Callable[[str, Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Rotator:
    """The one way in which a signing key changes its state.

    Raises ``GenerationLost`` where another process was faster, ``StoreUnavailable``, or what
    ``record`` raises; in none of these cases has a key changed.
    """

    store: KeyStore
    envelope: Envelope
    schedule: Schedule
    record: Record

    async def rotate_due(self, algorithm: str) -> bool:
        """Do what time asks for; returns whether anything was."""
        plan = due(await self.store.table(algorithm), self.schedule)
        if plan:
            await self._carry_out(plan)
        return bool(plan)

    async def rotate(self, algorithm: str) -> None:
        """Let the standby sign from now on. Raises ``TooEarly``."""
        await self._carry_out(promotion(await self.store.table(algorithm), self.schedule))

    async def rotate_forced(self, algorithm: str) -> None:
        """Let the standby sign, though verifiers may not have seen it yet."""
        await self._carry_out(forced_promotion(await self.store.table(algorithm), self.schedule))

    async def _carry_out(self, plan: Plan) -> None:
        made = []
        details: list[dict[str, Any]] = [
            {"kid": kid, "from": before.value, "to": after.value}
            for kid, before, after in plan.changes
        ]
        for state in plan.new:
            # RSA takes a good part of a second, which the event loop must not wait for.
            key = await asyncio.to_thread(generate_signing_key, plan.algorithm)
            made.append(NewKey(key.kid, state, key.public_jwk, self.envelope.seal(key)))
            details.append({"kid": key.kid, "from": None, "to": state.value})
        generation = plan.generation + 1

        async def recorded() -> None:
            await self.record(
                "keys.rotate",
                {"algorithm": plan.algorithm, "generation": generation, "changes": details},
            )

        await self.store.apply(plan, made, recorded)
        _transitions.add(1, {"algorithm": plan.algorithm})
        _log.info(
            "signing keys rotated",
            extra={"algorithm": plan.algorithm, "generation": generation, "changes": details},
        )
