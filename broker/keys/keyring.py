"""The signing keys as this process sees them: loaded, kept fresh, rotated when it is time.

Readers take one immutable snapshot; a refresh replaces it whole. Every process polls, so that a
rotation that any of them made is in force everywhere within seconds.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Collection, Mapping
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
from broker.keys.envelope import Envelope, Unsealable
from broker.keys.rotation import KeyState, Schedule
from broker.keys.rotator import Rotator
from broker.keys.store import GenerationLost, KeyStore, StoredKey
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

POLL: Final = timedelta(seconds=2)
# A process that has not seen the keys for longer does not sign: its active key may be retiring.
STALE_AFTER: Final = timedelta(seconds=60)
# Until a new JWKS is everywhere, and until nobody signs with an old key any more.
SLACK: Final = timedelta(seconds=60)


def build_schedule(settings: Settings) -> Schedule:
    """Return how long keys stay in each state, for the lives of tokens that are configured."""
    return Schedule(
        rotate_every=settings.keys.rotate_every,
        publish_before=timedelta(seconds=JWKS_MAX_AGE) + SLACK,
        # The most leeway that anybody here allows, and so may a verifier of our tokens.
        publish_after=longest_life(settings) + MAX_LEEWAY + SLACK,
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

    generations: Mapping[str, int]
    signing: Mapping[str, SigningKey]  # by algorithm
    verification: KeySet
    jwks: PublishedJwks


class Keyring:
    """The keys that this process signs with, verifies its own tokens with, and publishes.

    ``algorithms`` are those in use: the default one and the targets'. ``monotonic`` is in
    seconds.
    """

    def __init__(
        self,
        store: KeyStore,
        envelope: Envelope,
        rotator: Rotator,
        *,
        algorithms: Collection[str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._envelope = envelope
        self._rotator = rotator
        self._algorithms = tuple(sorted(set(algorithms)))
        self._monotonic = monotonic
        self._snapshot: _Snapshot | None = None
        self._seen_at = 0.0

    @property
    def loaded(self) -> bool:
        """Whether there is an active key for every algorithm in use."""
        snapshot = self._snapshot
        return snapshot is not None and all(name in snapshot.signing for name in self._algorithms)

    def signing_key(self, algorithm: str) -> SigningKey:
        """Return the active key. Raises ``MintRejected``: ``mint.key_unavailable``."""
        snapshot = self._snapshot
        if snapshot is None or self._monotonic() - self._seen_at > STALE_AFTER.total_seconds():
            raise MintRejected(Reason.MINT_KEY_UNAVAILABLE)
        key = snapshot.signing.get(algorithm)
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

        Raises ``StoreUnavailable``, or ``ConfigurationError`` if this key-encryption key opens
        none of them.
        """
        await self.refresh()
        await self._rotate()
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
            self._snapshot = self._build(generations, await self._store.published())
        self._seen_at = asked_at

    async def run(self, stop: asyncio.Event) -> None:
        """Refresh every two seconds and rotate when it is due, until ``stop`` is set."""
        while not stop.is_set():
            try:
                await self._rotate()
                await self.refresh()
            except Exception:  # noqa: BLE001 — see below
                # Whatever it was, the next round may succeed, and a keyring that has silently
                # stopped would sign with an old key. Too many failures make it stale instead.
                _failures.add(1)
                _log.exception("the signing keys could not be refreshed")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL.total_seconds())

    async def _rotate(self) -> None:
        for algorithm in self._algorithms:
            with suppress(GenerationLost):  # another process did it; the refresh brings it
                await self._rotator.rotate_due(algorithm)

    def _build(self, generations: Mapping[str, int], stored: Collection[StoredKey]) -> _Snapshot:
        keys, signing = [], {}
        for row in stored:
            record = row.record
            try:
                # What is published comes out of the envelope and not from a column: who can
                # write to the table and lacks the key-encryption key cannot add a key to us.
                key = self._envelope.open(row.sealed, record.kid, record.algorithm)
            except Unsealable:
                _unusable.add(1)
                _log.exception("a signing key does not open", extra={"kid": record.kid})
                continue
            keys.append(key)
            if record.state is KeyState.ACTIVE:
                signing[record.algorithm] = key
        if stored and not keys:
            raise ConfigurationError(
                "keys.kek_file: no signing key in the database opens under this key-encryption key"
            )
        members = [key.public_jwk for key in keys]
        return _Snapshot(
            generations=generations,
            signing=signing,
            verification=load_keys({"keys": members}, ALGORITHMS),
            jwks=_published(members),
        )


def _published(members: list[dict[str, str]]) -> PublishedJwks:
    body = orjson.dumps({"keys": members})
    return PublishedJwks(body, f'"{base64url.encode(hashlib.sha256(body).digest())}"')
