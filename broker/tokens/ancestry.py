"""What a token descends from, and how it is named by what descends from it. Design §4.

So that a revocation of any of these is found in the token itself (invariant 10).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from broker.blocklist.lineage import key_entry, text_entry, token_entry
from broker.jose.verify import VerifiedJws
from broker.tokens.claims import Claims, is_name, read_date, to_datetime
from broker.tokens.refusal import Cause, TokenRefused

_ENTRY: Final = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Oldest first. Nothing is known of a foreign token's, so it counts as a root."""

    root_issued_at: datetime
    tokens: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()


def read_ancestry(claims: Claims) -> Ancestry:
    """Return what a token of ours descends from; ``delegate`` bounds how much it may be."""
    return Ancestry(
        root_issued_at=to_datetime(read_date(claims, "root_iat")),
        tokens=_read_list(claims, "lineage", _is_entry),
        keys=_read_list(claims, "lineage_keys", _is_entry),
        clients=_read_list(claims, "lineage_clients", is_name),
    )


def name_token(issuer: str, jti: str | None, digest: bytes) -> str:
    """Return a token's entry in the lineage of its descendants; without ``jti`` by its text."""
    return text_entry(digest) if jti is None else token_entry(issuer, jti)


def name_key(issuer: str, jws: VerifiedJws) -> str:
    """Return the entry of the key that has signed, whatever the header says of it.

    Who has stolen a key and leaves its ``kid`` out must not pass as another one.
    """
    return key_entry(issuer, jws.thumbprint if jws.kid is None else jws.kid)


def _read_list(claims: Claims, name: str, fits: Callable[[object], bool]) -> tuple[str, ...]:
    value = claims[name]
    if not isinstance(value, list) or not all(map(fits, value)):
        raise TokenRefused(Cause.CLAIM_INVALID)
    return tuple(value)


def _is_entry(value: object) -> bool:
    return isinstance(value, str) and _ENTRY.fullmatch(value) is not None
