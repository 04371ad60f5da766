"""Keys in rows of PostgreSQL, sealed: the provider that needs nothing but a file."""

import asyncio
from collections.abc import Sequence
from typing import Final

from broker.jose.sign import LocalKey, generate_signing_key
from broker.keys.envelope import Envelope, Unsealable
from broker.keys.provider import Custody, SealedKey, StoredKey


class SealedKeys:
    """Makes and opens keys whose private part is in their row, encrypted."""

    executor: Final = None  # a signature takes a tenth of a millisecond, and waits for nothing

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope

    def keeps(self, custody: Custody) -> bool:
        """Return whether the key is a sealed one."""
        return isinstance(custody, SealedKey)

    async def make(self, algorithm: str, beside: Sequence[StoredKey]) -> tuple[LocalKey, Custody]:
        """Return a new key, sealed as its neighbours are. Raises ``Unsealable``."""
        # RSA takes a good part of a second, which the event loop must not wait for.
        key = await asyncio.to_thread(generate_signing_key, algorithm)
        return key, self._envelope.seal(key, beside)

    async def open(self, custody: Custody, kid: str, algorithm: str) -> LocalKey:
        """Return the key. Raises ``Unsealable``."""
        if not isinstance(custody, SealedKey):
            raise Unsealable("this key is kept elsewhere")
        return self._envelope.open(custody, kid, algorithm)

    async def destroy(self, custody: Custody) -> None:
        """Do nothing: the transition that retires a key empties its row."""
