"""What an upstream answered, read strictly. RFC 6749 §5.1, §5.2.

| what it says | what becomes of it |
|---|---|
| 200, a Bearer token, ``expires_in`` up to 10 years, a number or digits in quotes | kept |
| the same without ``expires_in``, or with 0 | handed on once, to whoever waits, and never kept |
| any other ``expires_in``, another ``token_type``, no object, no token | 502: it is no answer |
| another status with an OAuth error as JSON | handed on as it is, and remembered for a moment |
| 408, 429, 502, 503 or 504 without one | 503, with its ``Retry-After`` |
| whatever else: HTML, a redirect, 64 KiB, what is encoded | 502 |

A token that is bound to a key (``token_type`` DPoP) is of use to nobody but its owner, so it is not
one of these. ``refresh_token`` is left out: RFC 6749 §4.4.3 has none here, and to share one would
let each of its holders end the others' session.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import orjson

from broker.errors import Reason
from broker.issuers.fetch import Reply
from broker.jose.errors import Malformed
from broker.jose.json import parse_json
from broker.oauth import MAX_TOKEN, TOKEN_USAGE_BEARER, OAuthError

MAX_EXPIRES_IN: Final = 10 * 366 * 24 * 3600  # seconds
MAX_RETRY_AFTER: Final = 3600  # seconds
_DIGITS: Final = re.compile(r"[0-9]{1,9}")
_CODE: Final = re.compile(r"[\x20\x21\x23-\x5B\x5D-\x7E]{1,256}")  # RFC 6749 §5.2
_TOKEN: Final = re.compile(r"[\x20-\x7E]+")  # RFC 6749 appendix A.12
_FIELD: Final = re.compile(r"[\x20-\x7E]{1,1024}")
_BUSY: Final = frozenset({408, 429, 502, 503, 504})
# What an upstream that is overwhelmed answers, or what stands before one that is gone.
GONE: Final = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True)
class UpstreamToken:
    """A token with what was said of it; ``expires_in`` None: that is not known, or nothing."""

    members: Mapping[str, Any] = field(repr=False)
    countdowns: Mapping[str, int] = field(repr=False)  # other members that are ``…expires_in``
    expires_in: int | None
    unusable: bool  # it was said to expire at once
    digest: str  # lower-case hex SHA-256 of the token
    size: int

    def render(self, remaining: int, elapsed: float) -> bytes:
        """Return the answer with the life that is left. RFC 6749 §5.1."""
        members = dict(self.members)
        for name, value in self.countdowns.items():
            members[name] = max(0, int(value - elapsed))
        if self.expires_in is not None:
            members["expires_in"] = remaining
        elif self.unusable:
            members["expires_in"] = 0
        return orjson.dumps(members)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The upstream's own error, as it is handed on."""

    status: int
    error: str  # its code
    body: bytes = field(repr=False)
    headers: tuple[tuple[bytes, bytes], ...]

    @property
    def size(self) -> int:
        """Bytes, for the bound of what is remembered."""
        return len(self.body)

    @property
    def is_final(self) -> bool:
        """Whether the same request will be refused again: not a matter of load or of luck."""
        return self.status < 500 and self.status not in _BUSY

    @property
    def blames_client(self) -> bool:
        """Whether the client did not prove who it is. RFC 6749 §5.2."""
        return self.status == 401 or self.error == OAuthError.INVALID_CLIENT


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer that means anything: what the broker says itself."""

    reason: Reason
    retry_after: int | None = None  # seconds
    blames_client: bool = False


Outcome = UpstreamToken | Refusal | Failure


def read_reply(reply: Reply) -> Outcome:
    """Return what an upstream's reply means."""
    document = _parse(reply.body)
    if reply.status == 200:
        token = None if document is None else _read_token(document)
        return token or Failure(Reason.PROXY_UPSTREAM_INVALID)
    error = None if document is None else document.get("error")
    if reply.status >= 400 and type(error) is str and _CODE.fullmatch(error):
        return Refusal(reply.status, error, reply.body, _passed_on(reply.headers))
    if reply.status in _BUSY:
        return Failure(Reason.PROXY_UPSTREAM_UNAVAILABLE, _retry_after(reply.headers))
    return Failure(Reason.PROXY_UPSTREAM_INVALID, blames_client=reply.status == 401)


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        document = parse_json(body)
    except Malformed:
        return None
    return document if isinstance(document, dict) else None


def _read_token(document: dict[str, Any]) -> UpstreamToken | None:
    """Return the token; None if this is not one that can be handed to somebody."""
    token, usage = document.get("access_token"), document.get("token_type")
    if type(token) is not str or len(token) > MAX_TOKEN or not _TOKEN.fullmatch(token):
        return None
    # RFC 6749 §5.1: compared without case.
    if type(usage) is not str or usage.lower() != TOKEN_USAGE_BEARER.lower():
        return None
    said = document.pop("expires_in", None)
    expires_in = None if said is None else _read_expires_in(said)
    if said is not None and expires_in is None:
        return None
    document.pop("refresh_token", None)
    countdowns = {
        name: document.pop(name)
        for name, value in tuple(document.items())
        if name.endswith("expires_in") and type(value) is int and value > 0
    }
    return UpstreamToken(
        document,
        countdowns,
        expires_in or None,
        expires_in == 0,
        sha256(token.encode()).hexdigest(),
        len(orjson.dumps(document)),
    )


def _read_expires_in(value: object) -> int | None:
    """Return the seconds, or None for what is no number of them.

    Some providers quote the number; RFC 6749 appendix A.14 says what its digits are.
    """
    if type(value) is str and _DIGITS.fullmatch(value):
        return int(value)
    if type(value) is not int or not 0 <= value <= MAX_EXPIRES_IN:
        return None
    return value


def _passed_on(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the fields of an error that mean something to whoever is refused. RFC 6749 §5.2."""
    passed = [
        (name, headers[name])
        for name in ("www-authenticate", "retry-after")
        if _FIELD.fullmatch(headers.get(name, ""))
    ]
    return tuple((name.encode(), value.encode()) for name, value in passed)


def _retry_after(headers: Mapping[str, str]) -> int | None:
    """Return the seconds that are asked for, within reason; None: none, or a date."""
    value = headers.get("retry-after", "")
    return min(int(value), MAX_RETRY_AFTER) if _DIGITS.fullmatch(value) else None
