"""Tokens that leave the process, sealed so that only who could ask for one can open it.

The key of a value is derived from the whole request that the token was asked for with, the client's
secret among it, and from a secret that the processes share. So who reads the store reads nothing,
and who has the shared secret too has yet to guess a client's. What a value stands under is a keyed
hash, of another key; a value that was moved to another place does not open.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.proxy.key import SECRET_BYTES, Parts, derive_key, encode

_FORMAT: Final = b"\x01"
# NIST SP 800-38D §8.2.2, random: a key seals one combination's tokens, some hundreds a day.
_NONCE_BYTES: Final = 12


class Unsealable(Exception):  # noqa: N818 — what somebody else wrote, not an error of ours
    """The value was not sealed for this request, or was changed since."""


class Seal:
    """Seals and opens under one shared secret, of 32 bytes."""

    __slots__ = ("_places", "_salt")

    def __init__(self, shared: bytes) -> None:
        self._places = _derive(shared, b"places")
        self._salt = _derive(shared, b"values")

    def place(self, parts: Parts) -> bytes:
        """Return where a request's token stands: the same in every process."""
        return derive_key(self._places, parts)

    def seal(self, parts: Parts, plain: bytes) -> bytes:
        """Return ``plain`` for whoever sends the same request."""
        nonce = os.urandom(_NONCE_BYTES)
        return _FORMAT + nonce + self._cipher(parts).encrypt(nonce, plain, self.place(parts))

    def open(self, parts: Parts, sealed: bytes) -> bytes:
        """Return what was sealed for this request. Raises ``Unsealable``."""
        if sealed[:1] != _FORMAT:
            raise Unsealable
        nonce, value = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher(parts).decrypt(nonce, value, self.place(parts))
        except (InvalidTag, ValueError):
            raise Unsealable from None

    def _cipher(self, parts: Parts) -> AESGCM:
        derived = HKDF(SHA256(), SECRET_BYTES, salt=self._salt, info=b"broker proxy token")
        return AESGCM(derived.derive(encode(parts)))


def _derive(shared: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), SECRET_BYTES, salt=None, info=b"broker proxy " + purpose).derive(shared)
