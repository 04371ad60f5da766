"""The shape of a compact JWS, before any cryptography. RFC 7515 §3.1, §7.1, RFC 7519 §7.2.

What holds when ``parse_compact`` returns:

(1) the text is short, and three parts of canonical base64url: so no JWE, no JSON serialization;
(2) header and payload are strict JSON objects;
(3) the header names one algorithm and asks for nothing that we do not do;
(4) nothing is verified. Every value is named so.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from broker.jose import base64url
from broker.jose.errors import Malformed
from broker.jose.json import parse_json
from broker.oauth import MAX_JOSE_HEADER, MAX_NAME, MAX_TOKEN

_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]++)")
_MAX_HEADER_TEXT: Final = -(-MAX_JOSE_HEADER * 4 // 3)  # characters of base64url
# What a recipient who does not understand it may not ignore (``crit``, RFC 7515 §4.1.11), what
# changes the bytes that are signed (``b64``, RFC 7797 §3), and what only a JWE has (RFC 7516 §4.1).
_REFUSED: Final = frozenset({"crit", "b64", "enc", "zip"})


@dataclass(frozen=True, slots=True)
class UnverifiedJws:
    """A well-formed compact JWS that anybody may have written."""

    alg: str
    kid: str | None
    typ: str | None  # in its short form and lower case
    unverified_header: dict[str, Any] = field(repr=False)
    unverified_claims: dict[str, Any] = field(repr=False)
    token: str = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def signing_input(self) -> bytes:
        """What the signature is over. RFC 7515 §5.2."""
        return self.token.rpartition(".")[0].encode("ascii")


def parse_compact(unverified_token: str, *, most: int = MAX_TOKEN) -> UnverifiedJws:
    """Return the parts of a compact JWS whose payload is a JWT claims set.

    ``most`` is its length in characters. Raises ``Malformed``.
    """
    # (1) The length before all else: what follows is linear in it.
    if len(unverified_token) > most:
        raise Malformed("the token is too long")
    parts = _COMPACT.fullmatch(unverified_token)
    if parts is None:
        raise Malformed("not three parts of base64url")
    header_text, payload_text, signature_text = parts.groups()
    if len(header_text) > _MAX_HEADER_TEXT:
        raise Malformed("the header is too long")

    # (2) Bounded in depth and strict, so that no two readers differ on a header or a claim.
    header = parse_json(base64url.decode_alphabet(header_text))
    claims = parse_json(base64url.decode_alphabet(payload_text))
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise Malformed("header and payload must be JSON objects")

    # (3) ``jwk``, ``jku``, ``x5u`` and ``x5c`` are ignored like any parameter that is not
    # understood (RFC 7515 §4): keys come from the issuer's configuration and from nowhere else.
    if not _REFUSED.isdisjoint(header):
        raise Malformed("the header asks for an extension or for encryption")
    alg = header.get("alg")
    if not isinstance(alg, str):
        raise Malformed("the header names no algorithm")
    kid = header.get("kid")
    if "kid" in header and not (isinstance(kid, str) and 0 < len(kid) <= MAX_NAME):
        raise Malformed("the kid is not a string, or empty")
    typ = header.get("typ")
    if "typ" in header and not (isinstance(typ, str) and typ.isascii()):
        raise Malformed("the typ is not a media type")
    return UnverifiedJws(
        alg=alg,
        kid=kid,
        typ=normalize_typ(typ),
        unverified_header=header,
        unverified_claims=claims,
        token=unverified_token,
        signature=base64url.decode_alphabet(signature_text),
    )


def normalize_typ(typ: str | None) -> str | None:
    """Return a ``typ`` in its short form and lower case. RFC 7515 §4.1.9."""
    if typ is None:
        return None
    lower = typ.lower()
    short = lower.removeprefix("application/")
    # Only a type without a further slash may be shortened.
    return lower if "/" in short else short
