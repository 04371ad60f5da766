"""Carries out what the state machine plans: makes keys, records it, commits, destroys the old."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from broker.keys.provider import Custody, KeyProviders, ProviderUnavailable, StoredKey, Unopenable
from broker.keys.rotation import (
    KeyRecord,
    KeyState,
    KeyTable,
    Plan,
    Schedule,
    due,
    forced_promotion,
    promotion,
    revocation,
)
from broker.keys.store import GenerationLost, KeyStore, NewKey
from broker.telemetry import meter

_log = logging.getLogger(__name__)
_transitions = meter.create_counter(
    "broker.keys.transitions", unit="1", description="Transitions of signing keys, by algorithm."
)

# What was done, and the particulars of it; returns when that is durable.
Record = Callable[[str, Mapping[str, Any]], Awaitable[None]]

# An emergency does not lose to a rotation that happens at the same time.
_ATTEMPTS: Final = 20
_PAUSE: Final = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Rotator:
    """The one way in which a signing key changes its state.

    Raises ``GenerationLost`` where another process was faster, ``StoreUnavailable``,
    ``ProviderUnavailable`` or ``Unopenable`` where there is no new key to be had or the standby
    does not open, or what ``record`` raises; in none of these cases has a key changed.
    """

    store: KeyStore
    providers: KeyProviders
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

    async def revoke(self, key: KeyRecord, *, reason: str) -> bool:
        """Retire this key at once; if it signs, the standby does so from now on.

        Returns whether there was anything to do. A provider that is away keeps nothing from being
        revoked: what it would have made is made later.
        """
        for _ in range(_ATTEMPTS):
            table = await self.store.table(key.algorithm)
            if all(each.kid != key.kid for each in table.keys):
                return False
            plan = revocation(table, key.kid, usable=await self._has_usable_standby(table))
            try:
                await self._carry_out(plan, urgent={"kid": key.kid, "reason": reason})
            except GenerationLost:
                await asyncio.sleep(_PAUSE)
            else:
                return True
        raise GenerationLost("other processes change the keys all the time")

    async def _has_usable_standby(self, table: KeyTable) -> bool:
        standby = table.find(KeyState.PREPARED)
        stored = await self._stored()
        if standby is None or standby.kid not in stored:
            return False
        try:
            await self._open(stored[standby.kid])
        except Unopenable:
            return False
        except ProviderUnavailable:
            return True  # nothing says that it is not, and the bad key has to go
        return True

    async def _carry_out(self, plan: Plan, *, urgent: Mapping[str, str] | None = None) -> None:
        stored = await self._stored()
        if urgent is None:
            for kid, _, after in plan.changes:
                if after is KeyState.ACTIVE and kid in stored:
                    # The key that signs now is better than one that nobody can use.
                    await self._open(stored[kid])
        made = await self._make(plan, stored, urgent=urgent is not None)
        details = [
            {"kid": kid, "from": before.value, "to": after.value}
            for kid, before, after in plan.changes
        ] + [{"kid": key.kid, "from": None, "to": key.state.value} for key in made]
        action = "keys.rotate" if urgent is None else "keys.revoke"
        particulars = {
            "algorithm": plan.algorithm,
            "generation": plan.generation + 1,
            "changes": details,
            **(urgent or {}),
        }
        try:
            await self.store.apply(plan, made, lambda: self.record(action, particulars))
        except GenerationLost:
            # Certainly not committed. After another failure it may be, and then these are needed.
            await self._destroy(key.custody for key in made)
            raise
        _transitions.add(1, {"algorithm": plan.algorithm})
        _log.info("signing keys changed", extra={"action": action, **particulars})
        retired = (kid for kid, _, after in plan.changes if after is KeyState.RETIRED)
        await self._destroy(stored[kid].custody for kid in retired if kid in stored)

    async def _make(
        self, plan: Plan, stored: Mapping[str, StoredKey], *, urgent: bool
    ) -> list[NewKey]:
        made: list[NewKey] = []
        for state in plan.new:
            try:
                key, custody = await self.providers.make(plan.algorithm, tuple(stored.values()))
            except (ProviderUnavailable, Unopenable):
                if not urgent:
                    raise
                _log.exception("no new signing key can be made; the next rotation tries again")
                break
            made.append(NewKey(key.kid, state, key.public_jwk, custody))
        return made

    async def _stored(self) -> dict[str, StoredKey]:
        return {row.record.kid: row for row in await self.store.published()}

    async def _open(self, row: StoredKey) -> None:
        await self.providers.open(row.custody, row.record.kid, row.record.algorithm)

    async def _destroy(self, custodies: Iterable[Custody]) -> None:
        for custody in custodies:
            try:
                await self.providers.destroy(custody)
            except (ProviderUnavailable, Unopenable):
                _log.warning("a signing key that is not used any more is still where it was")
