"""What a reference token stands for: a signed record, found by the hash of the token. Design §4.

The table holds no token, only hashes, so whoever reads it can present nothing; and no record that
our keys have not signed is believed, so whoever writes to it can issue nothing.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from broker.errors import Reason, VerificationRejected
from broker.jose import base64url
from broker.tokens.refusal import Cause, TokenRefused
from broker.tokens.store import ReferencesUnavailable

# 256 bits in base64url. A JWT has dots, so no text is both.
_REFERENCE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class ReferenceTable(Protocol):
    """Where the records are."""

    async def find(self, digest: bytes) -> str | None:
        """Return the record of the token of this SHA-256, a compact JWS, or None.

        Raises ``ReferencesUnavailable``.
        """


class References:
    """Resolves reference tokens."""

    def __init__(self, table: ReferenceTable) -> None:
        self._table = table

    async def find(self, unverified_token: str) -> str | None:
        """Return the record that a reference token stands for; None if this is no such text.

        Found by the hash of the whole text: a part of a token, or more than it, is another token
        (CVE-2026-27840).

        Raises ``TokenRefused`` if there is none, ``VerificationRejected``:
        ``reference.unavailable``.
        """
        if not is_reference(unverified_token):
            return None
        digest = hashlib.sha256(unverified_token.encode("ascii")).digest()
        try:
            record = await self._table.find(digest)
        except ReferencesUnavailable as error:
            raise VerificationRejected(Reason.REFERENCE_UNAVAILABLE) from error
        if record is None:
            raise TokenRefused(Cause.REFERENCE_UNKNOWN)
        return record


def is_reference(text: str) -> bool:
    """Whether this has the form of a reference token of ours."""
    return _REFERENCE.fullmatch(text) is not None


def is_record_of(digest: bytes, header: Mapping[str, Any]) -> bool:
    """Whether the signed header of a record names the token of this SHA-256, as minting has it."""
    return bool(header.get("ath") == base64url.encode(digest))
