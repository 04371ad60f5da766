"""The signing keys as this process sees them: loaded, kept fresh, rotated when it is time.

Readers take one immutable snapshot; a refresh replaces it whole. Every process polls, so that a
rotation that any of them made is in force everywhere within seconds.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import orjson

from broker.errors import ConfigurationError, MintRejected, Reason
from broker.jose import base64url
from broker.jose.algorithms import ALGORITHMS
from broker.jose.jwk import KeySet, load_keys
from broker.jose.sign import SigningKey
from broker.keys.provider import (
    KeyProviders,
    ProviderUnavailable,
    SealedKey,
    StoredKey,
    TokenObject,
    Unopenable,
)
from broker.keys.rotation import KeyRecord, KeyState, Schedule
from broker.keys.rotator import Rotator
from broker.keys.store import GenerationLost, KeyStore
from broker.oauth import JWKS_MAX_AGE
from broker.settings import Settings
from broker.settings.values import MAX_LEEWAY
from broker.telemetry import meter

_log = logging.getLogger(__name__)
_unusable = meter.create_counter(
    "broker.keys.unusable", unit="1", description="Stored signing keys that do not open."
)
_failures = meter.create_counter(
    "broker.keys.refresh_failures", unit="1", description="Refreshes of the keyring that failed."
)
_unrotated = meter.create_counter(
    "broker.keys.rotation_failures",
    unit="1",
    description="Rotations that were due and failed, by algorithm; they are tried again at once.",
)
_age = meter.create_gauge(
    "broker.keys.age", unit="s", description="How long the active key has signed, by algorithm."
)
_next = meter.create_gauge(
    "broker.keys.next_rotation",
    unit="s",
    description="Time until the active key rotates, by algorithm; below zero it is overdue.",
)
_unseen = meter.create_gauge(
    "broker.keys.unseen", unit="s", description="Time since the keys were last read."
)

POLL: Final = timedelta(seconds=1)
# A process that has not read the keys for longer is not ready.
READY_WITHIN: Final = timedelta(seconds=10)
# How long a process signs on with keys that it cannot read again. Beyond it, the key may have
# been rotated away for so long that its last tokens would outlive it in the JWKS.
STALE_AFTER: Final = timedelta(minutes=15)
_NONE_OPENS: Final = {
    SealedKey: "keys.kek_file: no signing key in the database opens under this key-encryption key",
    TokenObject: "keys.pkcs11: no signing key that the database names is on this token",
}
# Until a new JWKS is everywhere.
SLACK: Final = timedelta(seconds=60)


def build_schedule(settings: Settings) -> Schedule:
    """Return how long keys stay in each state, for the lives of tokens that are configured."""
    return Schedule(
        rotate_every=settings.keys.rotate_every,
        publish_before=timedelta(seconds=JWKS_MAX_AGE) + SLACK,
        # The most leeway that anybody here allows, and so may a verifier of our tokens.
        # A process without the database may sign with a key that is retiring by now.
        publish_after=longest_life(settings) + MAX_LEEWAY + STALE_AFTER,
    )


def longest_life(settings: Settings) -> timedelta:
    """Return the longest life of any target's tokens."""
    return max((target.max_lifetime for target in settings.targets), default=timedelta())


@dataclass(frozen=True, slots=True)
class PublishedJwks:
    """The JWK set as it is served, with its strong validator. RFC 7517 §5, RFC 9110 §8.8.3."""

    body: bytes
    etag: str  # quotes included


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """Everything that one state of the tables amounts to."""

    generations: Mapping[str, int]  # empty: not all of it could be read, so it is read again
    opened: Mapping[str, SigningKey]  # by kid
    active: Mapping[str, KeyRecord]  # by algorithm, whether it opens or not
    verification: KeySet
    jwks: PublishedJwks

    def signing(self, algorithm: str) -> SigningKey | None:
        record = self.active.get(algorithm)
        return None if record is None else self.opened.get(record.kid)


class Keyring:
    """The keys that this process signs with, verifies its own tokens with, and publishes.

    ``algorithms`` are those in use: the default one and the targets'. ``monotonic`` is in
    seconds.
    """

    def __init__(
        self,
        store: KeyStore,
        providers: KeyProviders,
        rotator: Rotator,
        *,
        algorithms: Collection[str],
        poll: timedelta = POLL,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._providers = providers
        # Where to sign; None: wherever it is asked for, and at once. Looked at by each exchange.
        self.executor: Executor | None = providers.executor
        self._rotator = rotator
        self._algorithms = tuple(sorted(set(algorithms)))
        self._poll = poll.total_seconds()
        self._monotonic = monotonic
        self._clock = clock
        self._snapshot: _Snapshot | None = None
        self._seen_at = 0.0

    @property
    def loaded(self) -> bool:
        """Whether there is an active key for every algorithm in use, as of the last seconds.

        A process that was paused or cut off may have a JWKS of before: it says that it is not
        ready until it has read the keys again, and traffic can go around it.
        """
        snapshot = self._snapshot
        return (
            snapshot is not None
            and self.unseen <= READY_WITHIN
            and all(map(snapshot.signing, self._algorithms))
        )

    @property
    def unseen(self) -> timedelta:
        """How long ago the keys were last read."""
        return timedelta(seconds=self._monotonic() - self._seen_at)

    def signing_key(self, algorithm: str) -> SigningKey:
        """Return the active key. Raises ``MintRejected``: ``mint.key_unavailable``.

        Without the database it is the one of before, for ``STALE_AFTER``: a rotation that cannot
        take place takes no key away, and the audit trail decides whether a token may leave.
        """
        snapshot = self._snapshot
        if snapshot is None or self.unseen > STALE_AFTER:
            raise MintRejected(Reason.MINT_KEY_UNAVAILABLE)
        key = snapshot.signing(algorithm)
        if key is None:
            raise MintRejected(Reason.MINT_KEY_UNAVAILABLE)
        return key

    def verification_keys(self) -> KeySet:
        """Return the keys of our own issuer; none before the first load.

        Prepared ones too: another process may sign with one a moment before it is known here.
        """
        return KeySet() if self._snapshot is None else self._snapshot.verification

    def jwks(self) -> PublishedJwks:
        """Return what ``jwks_uri`` serves; an empty set before the first load."""
        return _published([]) if self._snapshot is None else self._snapshot.jwks

    async def load(self) -> None:
        """Load the keys, and make the first ones where there are none.

        Raises ``StoreUnavailable``, ``ProviderUnavailable`` or ``Unopenable`` for what ``run``
        tries again, and ``ConfigurationError`` if none of the keys opens.
        """
        await self.refresh()
        for algorithm in self._algorithms:
            with suppress(GenerationLost):  # another process did it; the refresh brings it
                await self._rotator.rotate_due(algorithm)
        await self.refresh()

    async def use(self, algorithms: Collection[str]) -> None:
        """Have keys of these algorithms from now on; of a new one, before this returns.

        Raises what ``load`` raises; then the algorithms are the ones of before.
        """
        before, self._algorithms = self._algorithms, tuple(sorted(set(algorithms)))
        if set(self._algorithms) <= set(before):
            return
        try:
            await self.load()
        except BaseException:
            self._algorithms = before
            raise

    async def refresh(self) -> None:
        """Take over what has changed in the database; the old keys stay if that fails."""
        asked_at = self._monotonic()
        generations = await self._store.generations()
        if self._snapshot is None or generations != self._snapshot.generations:
            # Read after their generations: if they are newer, the next refresh reads them again.
            self._snapshot = await self._build(generations, await self._store.published())
        self._seen_at = asked_at

    async def run(self, stop: asyncio.Event) -> None:
        """Refresh every second and rotate when it is due, until ``stop`` is set."""
        while not stop.is_set():
            try:
                await self.refresh()
                if await self._rotate():
                    await self.refresh()
            except Exception:  # noqa: BLE001 — see below
                # Whatever it was, the next round may succeed, and a keyring that has silently
                # stopped would sign with an old key. Too many failures make it stale instead.
                _failures.add(1)
                _log.exception("the signing keys could not be refreshed; the old ones sign on")
            self._measure()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._poll)

    async def _rotate(self) -> bool:
        """Do what is due; one algorithm whose keys cannot be made keeps no other from rotating."""
        rotated = False
        for algorithm in self._algorithms:
            try:
                rotated |= await self._rotator.rotate_due(algorithm)
            except GenerationLost:
                rotated = True  # another process did it
            except (ProviderUnavailable, Unopenable):
                _unrotated.add(1, {"algorithm": algorithm})
                _log.exception(
                    "a rotation that is due failed; the old key signs on",
                    extra={"algorithm": algorithm},
                )
            except Exception:
                _unrotated.add(1, {"algorithm": algorithm})
                raise
        return rotated

    def _measure(self) -> None:
        if self._snapshot is None:
            return
        _unseen.set(self.unseen.total_seconds())
        now = self._clock()
        for algorithm in self._algorithms:
            active = self._snapshot.active.get(algorithm)
            if active is not None and active.activated_at is not None:
                age = now - active.activated_at.timestamp()
                rotates = self._rotator.schedule.rotate_every.total_seconds()
                _age.set(age, {"algorithm": algorithm})
                _next.set(rotates - age, {"algorithm": algorithm})

    async def _build(
        self, generations: Mapping[str, int], stored: Sequence[StoredKey]
    ) -> _Snapshot:
        known = {} if self._snapshot is None else self._snapshot.opened
        opened: dict[str, SigningKey] = {}
        whole = True
        for row in stored:
            record = row.record
            key = known.get(record.kid)
            try:
                # What is published comes out of its custody and not from a column: who can write
                # to the table and has no more than that cannot add a key to us. One that is open
                # stays open while its row is there: its ``kid`` names it, whatever it is sealed
                # with by now, and a provider that is away takes nothing from us.
                if key is None or key.algorithm != record.algorithm:
                    key = await self._providers.open(row.custody, record.kid, record.algorithm)
            except Unopenable:
                _unusable.add(1)
                _log.exception("a signing key does not open", extra={"kid": record.kid})
            except ProviderUnavailable:
                whole = False
                _log.exception("a signing key cannot be opened now", extra={"kid": record.kid})
            else:
                opened[record.kid] = key
        if stored and not opened and whole:
            raise ConfigurationError(_NONE_OPENS[type(stored[0].custody)])
        members = [key.public_jwk for key in opened.values()]
        return _Snapshot(
            generations=generations if whole else {},
            opened=opened,
            active={
                row.record.algorithm: row.record
                for row in stored
                if row.record.state is KeyState.ACTIVE
            },
            verification=load_keys({"keys": members}, ALGORITHMS),
            jwks=_published(members),
        )


def _published(members: list[dict[str, str]]) -> PublishedJwks:
    body = orjson.dumps({"keys": members})
    return PublishedJwks(body, f'"{base64url.encode(hashlib.sha256(body).digest())}"')
