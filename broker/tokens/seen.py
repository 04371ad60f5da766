"""Signatures of ours that were verified lately, so that asking again costs little.

A resource server asks about one token at each request, and verifying its signature is half of what
an answer costs. What is remembered is that a text was signed by a key that is ours today, and
nothing else: time, revocation and audience are judged each time. With the key set it is forgotten,
so a key that was retired or revoked verifies nothing from then on. Nothing that failed is
remembered, so whoever guesses pushes nobody out; and no token is, only its hash.
"""

import hashlib
from typing import Final

from broker.jose.jwk import KeySet
from broker.tokens.statement import Statement

MAX_ENTRIES: Final = 2048  # some 10 MB; the least recently used go first


class SeenTokens:
    """The tokens that one set of keys has verified."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._keys: KeySet | None = None
        self._verified: dict[bytes, Statement] = {}

    def find(self, unverified_token: str, keys: KeySet) -> Statement | None:
        """Return what one of ``keys`` has verified before, or None."""
        # By identity: the keyring makes another set whenever any of its keys has changed.
        if keys is not self._keys:
            self._keys = keys
            self._verified.clear()
        name = _name(unverified_token)
        stated = self._verified.pop(name, None)
        if stated is not None:
            self._verified[name] = stated
        return stated

    def remember(self, token: str, keys: KeySet, stated: Statement) -> None:
        """Remember that one of ``keys`` has verified this token."""
        if keys is not self._keys:
            return
        self._verified[_name(token)] = stated
        if len(self._verified) > self._max_entries:
            del self._verified[next(iter(self._verified))]

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._verified)


def _name(text: str) -> bytes:
    # A lone surrogate, which no decoder of ours lets through, has a hash like any other text.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
