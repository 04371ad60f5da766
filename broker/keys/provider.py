"""Where private keys are, and who signs with them: the seam that every kind of custody meets.

A provider makes a key, opens it again from what its row holds, and destroys it. What comes out is
a ``SigningKey``, and nobody above this seam can tell in whose hands the private part is. A cloud
KMS would be one more of them (docs: rotate keys).
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from broker.jose.sign import SigningKey
from broker.keys.rotation import KeyRecord


class Unopenable(Exception):  # noqa: N818 — a state of the row; its text names no key material
    """The row's key is not what the row says, or is not in these hands. Waiting mends nothing."""


class ProviderUnavailable(Exception):  # noqa: N818 — a state of the provider
    """The provider does not answer now; it may later."""


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A private key and its data key, both encrypted: the row holds the key itself."""

    wrapped_key: bytes = field(repr=False)
    wrapped_dek: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenObject:
    """A private key on a PKCS#11 token: the row holds its id there, and no key."""

    reference: str  # ``CKA_ID`` in hexadecimal


Custody = SealedKey | TokenObject


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A row of a key that is published: what is known of it, and where its private part is."""

    record: KeyRecord
    custody: Custody


class KeyProvider(Protocol):
    """What makes, opens and destroys private keys of one kind of custody.

    Each call may take as long as the provider's own deadline. Raises ``ProviderUnavailable``.
    """

    @property
    def executor(self) -> Executor | None:
        """Where its keys sign; None: wherever they are asked to, and at once."""

    def keeps(self, custody: Custody) -> bool:
        """Return whether a key in this custody is this provider's."""

    async def make(self, algorithm: str, beside: Sequence[StoredKey]) -> tuple[SigningKey, Custody]:
        """Return a new key. ``beside``: the keys of today."""

    async def open(self, custody: Custody, kid: str, algorithm: str) -> SigningKey:
        """Return the key that was made as this ``kid`` and ``algorithm``.

        Raises ``Unopenable``, also if it is there and has another thumbprint than ``kid``.
        """

    async def destroy(self, custody: Custody) -> None:
        """Leave nothing of the private key; also where nothing was left already."""


@dataclass(frozen=True, slots=True)
class KeyProviders:
    """The one provider that new keys come from, and those that still keep older ones."""

    first: KeyProvider
    others: tuple[KeyProvider, ...] = ()

    @property
    def executor(self) -> Executor | None:
        """Where to sign, if any of them has keys that take their time."""
        return next((each.executor for each in self._all() if each.executor is not None), None)

    async def make(self, algorithm: str, beside: Sequence[StoredKey]) -> tuple[SigningKey, Custody]:
        """Return a new key of the first provider."""
        return await self.first.make(algorithm, beside)

    async def open(self, custody: Custody, kid: str, algorithm: str) -> SigningKey:
        """Return the key, from whoever keeps it. Raises ``Unopenable``."""
        return await self._keeper(custody).open(custody, kid, algorithm)

    async def destroy(self, custody: Custody) -> None:
        """Have whoever keeps it destroy it. Raises ``Unopenable`` if nobody here does."""
        await self._keeper(custody).destroy(custody)

    def _all(self) -> Iterator[KeyProvider]:
        yield self.first
        yield from self.others

    def _keeper(self, custody: Custody) -> KeyProvider:
        for provider in self._all():
            if provider.keeps(custody):
                return provider
        raise Unopenable("a signing key is kept where this configuration has no way to")
