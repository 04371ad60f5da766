"""Read one claim: its value in our types, or a refusal. RFC 7519 §4.1, RFC 8693 §4.

Absent and of the wrong form are told apart, and ``null`` is a wrong form: no reader here takes
anything for the absence of a restriction.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from broker.oauth import MAX_NAME
from broker.tokens.refusal import Cause, TokenRefused

Claims = Mapping[str, Any]

_LAST_SECOND: Final = 253_402_300_799  # of the year 9999, and of ``datetime``
_SCOPE: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749 §3.3
_EMPTY: Final[tuple[object, ...]] = (None, "", [], {})


def require(claims: Claims, names: tuple[str, ...]) -> None:
    """Refuse a token in which one of ``names`` is missing, null or empty (TX-2.1-31)."""
    for name in names:
        if claims.get(name) in _EMPTY:
            raise TokenRefused(Cause.CLAIM_MISSING)


def read_name(claims: Claims, name: str) -> str:
    """Return a claim that names something: a string, not empty, of at most 1 KiB. JW-18."""
    if name not in claims:
        raise TokenRefused(Cause.CLAIM_MISSING)
    value = claims[name]
    if not is_name(value):
        raise TokenRefused(Cause.CLAIM_INVALID)
    return str(value)


def find_name(claims: Claims, name: str) -> str | None:
    """Return such a claim, or None if it is absent."""
    return read_name(claims, name) if name in claims else None


def is_name(value: object) -> bool:
    """Whether this can name an issuer, a subject, a token or the like."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        return False
    # The bound is in bytes, and no character of ASCII has more than one.
    return value.isascii() or len(value.encode()) <= MAX_NAME


def read_date(claims: Claims, name: str) -> float:
    """Return a NumericDate in seconds: integer or fraction, after 1970. RFC 7519 §2, JW-15."""
    if name not in claims:
        raise TokenRefused(Cause.CLAIM_MISSING)
    value = claims[name]
    # ``bool`` is an ``int`` to Python, not to JSON. The comparison also refuses NaN.
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TokenRefused(Cause.CLAIM_INVALID)
    if not 0 < value <= _LAST_SECOND:
        raise TokenRefused(Cause.CLAIM_INVALID)
    return value


def to_datetime(seconds: float) -> datetime:
    """Return the beginning of that second."""
    return datetime.fromtimestamp(math.floor(seconds), UTC)


def read_audiences(claims: Claims) -> tuple[str, ...]:
    """Return ``aud``: one string or an array of strings, none empty. RFC 7519 §4.1.3, JW-17."""
    if "aud" not in claims:
        raise TokenRefused(Cause.CLAIM_MISSING)
    value = claims["aud"]
    audiences = value if isinstance(value, list) else [value]
    if not audiences or not all(is_name(audience) for audience in audiences):
        raise TokenRefused(Cause.CLAIM_INVALID)
    return tuple(audiences)


def read_scopes(claims: Claims, name: str) -> frozenset[str]:
    """Return the scopes of a string with spaces between, or of an array; none if it is absent.

    A member that is no scope token (RFC 6749 §3.3) is held by nobody, so it is left out.
    """
    value = claims.get(name, "")
    scopes = value.split(" ") if isinstance(value, str) else value
    if not isinstance(scopes, list) or not all(isinstance(scope, str) for scope in scopes):
        raise TokenRefused(Cause.CLAIM_INVALID)
    return frozenset(scope for scope in scopes if _SCOPE.fullmatch(scope))


def find_count(claims: Claims, name: str) -> int | None:
    """Return a number of exchanges, 0 or more, or None if the claim is absent."""
    if name not in claims:
        return None
    value = claims[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TokenRefused(Cause.CLAIM_INVALID)
    return value
