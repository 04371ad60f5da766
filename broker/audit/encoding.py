"""Hashes as text: base64 as in RFC 4648 §4, each in its one spelling."""

from base64 import b64decode, b64encode
from typing import Final

_BYTES: Final = 32


def encode_hash(digest: bytes) -> str:
    """Return the text of a SHA-256."""
    return b64encode(digest).decode()


def decode_hash(text: str) -> bytes:
    """Return the SHA-256 that ``text`` spells. Raises ``ValueError``."""
    digest = b64decode(text, validate=True)
    # Two bits of the last character mean nothing; with another value it is no second spelling.
    if len(digest) != _BYTES or encode_hash(digest) != text:
        raise ValueError("not the text of a SHA-256")
    return digest
