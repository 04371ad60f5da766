"""What a token is kept under: a keyed hash over everything that it was asked for with.

Two requests have one key only if they would be the same request upstream, credentials included.
So whoever finds a token has sent what the upstream gave it for, and a wrong secret finds nothing.
The hash is keyed with a secret of the process: keys that leak say nothing of what is behind them.
"""

import hmac
import os
from collections.abc import Sequence
from typing import Final

SECRET_BYTES: Final = 32
_LENGTH: Final = 4  # bytes of a length; a request is not as long as 4 GiB

# A tuple of tuples: for each part of a request all of its values, of which there may be none.
Parts = Sequence[Sequence[bytes]]


def build_secret() -> bytes:
    """Return a new service secret."""
    return os.urandom(SECRET_BYTES)


def derive_key(secret: bytes, parts: Parts) -> bytes:
    """Return the key of a request: HMAC-SHA256 over its parts."""
    return hmac.digest(secret, encode(parts), "sha256")


def encode(parts: Parts) -> bytes:
    """Return the parts as one text that is read back in one way only."""
    pieces = [_number(len(parts))]
    for values in parts:
        pieces.append(_number(len(values)))
        for value in values:
            # The length stands before the value, so no value can pretend to be two.
            pieces += (_number(len(value)), value)
    return b"".join(pieces)


def _number(value: int) -> bytes:
    return value.to_bytes(_LENGTH, "big")
