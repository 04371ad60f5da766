"""How a token names what it descends from: tokens and keys, each by 16 bytes. Design §4.

One spelling, written into tokens and looked up in the snapshot, so that the two cannot drift.
"""

import base64
import hashlib


def token_entry(issuer: str, jti: str) -> str:
    """Return the entry of a token that has an id."""
    return _entry(issuer, jti)


def text_entry(digest: bytes) -> str:
    """Return the entry of a token without an id, from the SHA-256 of its text."""
    return _encode(digest)


def key_entry(issuer: str, kid: str) -> str:
    """Return the entry of a signing key; one without ``kid`` goes by its RFC 7638 thumbprint."""
    return _entry(issuer, kid)


def _entry(issuer: str, name: str) -> str:
    # NUL is in no ``iss``, so no two pairs are one text.
    return _encode(hashlib.sha256(f"{issuer}\0{name}".encode()).digest())


def _encode(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode("ascii")
