"""Signatures that were verified lately, so that the same token again costs little.

A resource server asks about one token at each request, and a client exchanges one token for each
service that it calls; verifying its signature is most of what that costs. What is remembered is
that a text was signed by a key of a key set, and nothing else: time, revocation, audience and
policy are judged each time. It counts for that very key set, so a key that was dropped, retired or
revoked verifies nothing from then on, and for a minute. Nothing that failed is remembered, so
whoever guesses pushes nobody out; and no token is, only its hash.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from broker.jose.jwk import KeySet
from broker.tokens.statement import Statement

LIFE: Final = 60.0  # seconds
MAX_ENTRIES: Final = 2048  # some 10 MB; the least recently used go first


@dataclass(frozen=True, slots=True)
class _Verified:
    keys: KeySet
    at: float
    stated: Statement


class SeenTokens:
    """The tokens that keys of their issuers have verified within ``LIFE``."""

    def __init__(
        self, max_entries: int = MAX_ENTRIES, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_entries = max_entries
        self._monotonic = monotonic
        self._verified: dict[bytes, _Verified] = {}

    def find(self, unverified_token: str, keys: KeySet) -> Statement | None:
        """Return what one of ``keys`` has verified before, or None."""
        name = _name(unverified_token)
        verified = self._verified.pop(name, None)
        # By identity: whoever keeps keys makes another set whenever any of them may have changed.
        if verified is None or verified.keys is not keys or self._monotonic() - verified.at >= LIFE:
            return None
        self._verified[name] = verified
        return verified.stated

    def remember(self, token: str, keys: KeySet, stated: Statement) -> None:
        """Remember that one of ``keys`` has verified this token."""
        self._verified[_name(token)] = _Verified(keys, self._monotonic(), stated)
        if len(self._verified) > self._max_entries:
            del self._verified[next(iter(self._verified))]

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._verified)


def _name(text: str) -> bytes:
    # A lone surrogate, which no decoder of ours lets through, has a hash like any other text.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
