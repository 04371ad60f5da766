"""Base64url without padding, and in one spelling only. RFC 7515 §2, RFC 4648 §3.5, §5."""

import base64
import re
from binascii import b2a_base64
from typing import Final

from broker.jose.errors import Malformed

_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")
# The last character carries bits that no byte uses; they must be zero, or one value would have
# several spellings. By length modulo 4: which last characters have them zero.
_LAST: dict[int, str] = {2: "AQgw", 3: "AEIMQUYcgkosw048"}


def encode(data: bytes) -> str:
    """Return ``data`` in base64url without ``=``."""
    return b2a_base64(data, newline=False).translate(_URL_SAFE, b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Return the bytes that ``text`` spells, if it spells them canonically.

    Raises ``Malformed`` for padding, white space, foreign characters and unused bits that are set.
    """
    if _ALPHABET.fullmatch(text) is None:
        raise Malformed("not base64url")
    return decode_alphabet(text)


def decode_alphabet(text: str) -> bytes:
    """Do as ``decode`` for a text whose characters are known to be of the alphabet."""
    # The standard library skips what it does not know, hence the check of the alphabet before.
    rest = len(text) % 4
    if rest and (rest == 1 or text[-1] not in _LAST[rest]):
        raise Malformed("not canonical base64url")
    return base64.urlsafe_b64decode(text + "=" * (-rest % 4))
