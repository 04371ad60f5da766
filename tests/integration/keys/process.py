"""What one process of the broker has of keys, without the rest of it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import orjson

from broker.db.engine import Database
from broker.keys.envelope import Envelope
from broker.keys.keyring import POLL, Keyring
from broker.keys.provider import KeyProvider, KeyProviders
from broker.keys.rotation import Schedule
from broker.keys.rotator import Rotator
from broker.keys.sealed import SealedKeys
from broker.keys.store import KeyStore

KEK = bytes(range(32))
SLOW = Schedule(timedelta(days=30), timedelta(minutes=6), timedelta(minutes=7))
# Everything is due at once: a month of rotations without waiting for one.
AT_ONCE = Schedule(timedelta(0), timedelta(0), timedelta(0))


class Process:
    """What one process of the broker has of keys, and what it recorded."""

    def __init__(
        self,
        url: str,
        *,
        kek: bytes = KEK,
        others: Sequence[bytes] = (),
        provider: KeyProvider | None = None,
        schedule: Schedule = SLOW,
        algorithms: tuple[str, ...] = ("ES256",),
        poll: timedelta = POLL,
    ) -> None:
        self.database = Database(url)
        self.store = KeyStore(self.database)
        self.providers = KeyProviders(provider or SealedKeys(Envelope(kek, *others)))
        self.recorded: list[tuple[str, Mapping[str, Any]]] = []
        self.rotator = Rotator(self.store, self.providers, schedule, self.record)
        self.now = 0.0
        self.keyring = Keyring(
            self.store,
            self.providers,
            self.rotator,
            algorithms=algorithms,
            poll=poll,
            monotonic=lambda: self.now,
        )

    async def record(self, action: str, details: Mapping[str, Any]) -> None:
        self.recorded.append((action, details))

    def signs_with(self, algorithm: str = "ES256") -> str:
        return self.keyring.signing_key(algorithm).kid

    def published(self) -> list[str]:
        return [key["kid"] for key in orjson.loads(self.keyring.jwks().body)["keys"]]
