"""Client secrets: 256 random bits, of which only the SHA-256 is kept. RFC 6749 §2.3.1, §10.10.

A plain hash is enough because a generated secret cannot be guessed: there is no list to try.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

_BYTES: Final = 32
_PREFIX: Final = "sha256:"


def generate_secret() -> str:
    """Return a new secret of 256 random bits, in characters that need no encoding anywhere."""
    return secrets.token_urlsafe(_BYTES)


def hash_secret(secret: str) -> str:
    """Return what the configuration holds of a secret."""
    return _PREFIX + _digest(secret).hex()


@dataclass(frozen=True, slots=True)
class SecretHashes:
    """The hashes of a client's active secrets, always two; what is not configured fits nothing."""

    _first: bytes = field(repr=False)
    _second: bytes = field(repr=False)

    @classmethod
    def load(cls, configured: Sequence[str] = ()) -> "SecretHashes":
        """Return the hashes of at most two ``sha256:…`` lines."""
        first, second = (
            bytes.fromhex(line.removeprefix(_PREFIX)) for line in (*configured, *_nothing())[:2]
        )
        return cls(first, second)

    def match(self, unverified_secret: str) -> bool:
        """Whether this is one of the secrets."""
        digest = _digest(unverified_secret)
        # Both are compared even if the first fits: time must not tell which one is current.
        first = hmac.compare_digest(digest, self._first)
        second = hmac.compare_digest(digest, self._second)
        # Nobody is let in for presenting nothing, whatever somebody hashed (CVE-2026-73309).
        return (first | second) and bool(unverified_secret.strip())


def _nothing() -> tuple[str, str]:
    # A random hash: to find what it is of is to invert SHA-256.
    return secrets.token_hex(_BYTES), secrets.token_hex(_BYTES)


def _digest(secret: str) -> bytes:
    # A lone surrogate, which no decoder of ours lets through, hashes to something that fits nobody.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
