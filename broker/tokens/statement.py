"""What a token says once somebody vouches for it: a key of its issuer, or the issuer itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.jose.verify import VerifiedJws
from broker.tokens.ancestry import name_key
from broker.tokens.claims import Claims


@dataclass(frozen=True, slots=True)
class Statement:
    """Claims that are its issuer's; whether they are acceptable is judged by the caller."""

    claims: Claims = field(repr=False)
    key_id: str  # the entry of whatever vouches, in the ``lineage_keys`` of what descends from it
    header: Mapping[str, Any] = field(default_factory=dict, repr=False)  # of its JWS
    typ: str | None = None
    kid: str | None = None


def state_signed(issuer: str, jws: VerifiedJws) -> Statement:
    """Return what a key of the issuer has signed."""
    return Statement(
        jws.claims, key_id=name_key(issuer, jws), header=jws.header, typ=jws.typ, kid=jws.kid
    )
