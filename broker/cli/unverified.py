"""A token as anybody may read it: decoded for the eye, and nothing of it believed."""

import base64
import binascii
import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

from broker.domain import JsonObject


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """What a token says of itself; empty if it is opaque to us."""

    token: str = field(repr=False)
    header: JsonObject
    claims: JsonObject

    @property
    def is_opaque(self) -> bool:
        """Whether it is no JWT, so that only its issuer can say what it means."""
        return not self.header

    @property
    def digest(self) -> str:
        """Its SHA-256, by which it can be named without showing it."""
        return hashlib.sha256(self.token.encode()).hexdigest()

    @property
    def scopes(self) -> tuple[str, ...]:
        """Its scopes in their order: ``scope`` of RFC 8693 §4.2, or the ``scp`` some have."""
        value = self.claims.get("scope", self.claims.get("scp", ()))
        return tuple(value.split()) if isinstance(value, str) else _texts(value)

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom it is for. RFC 7519 §4.1.3."""
        value = self.claims.get("aud", ())
        return (value,) if isinstance(value, str) else _texts(value)

    @property
    def lifetime(self) -> int | None:
        """How long it lives from when it was issued, in seconds."""
        issued, expires = self.claims.get("iat"), self.claims.get("exp")
        if isinstance(issued, int | float) and isinstance(expires, int | float):
            life = expires - issued
            return int(life) if math.isfinite(life) else None
        return None

    @property
    def actors(self) -> tuple[str, ...]:
        """Who acts, the current actor first. RFC 8693 §4.1."""
        actors, act = [], self.claims.get("act")
        while isinstance(act, dict):
            actors.append(str(act.get("sub", act.get("client_id", "?"))))
            act = act.get("act")
        return tuple(actors)


def decode_unverified(token: str) -> UnverifiedToken:
    """Return what is readable of any token; lenient, since it is only shown."""
    parts = token.split(".")
    if len(parts) == 3:
        header, claims = _decode(parts[0]), _decode(parts[1])
        if header and claims is not None:
            return UnverifiedToken(token, header, claims)
    return UnverifiedToken(token, {}, {})


def _decode(part: str) -> dict[str, Any] | None:
    try:
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
