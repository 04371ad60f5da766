"""The keys that sign checkpoints: made from one secret in a file, and never a key of tokens.

The file has 32 random bytes in base64, like the other key files. Both private keys are derived
from them, so that there is one thing to keep; neither says anything about the other.
"""

import re
from base64 import b64decode
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.audit.head import is_name
from broker.audit.note import SigningKeys
from broker.errors import ConfigurationError
from broker.settings.secret_file import read_secret

_BYTES: Final = 32
_SETTING: Final = "audit.checkpoints.key_file"
_REMEDY: Final = "make one with `openssl rand -base64 32`"
_SCHEME: Final = re.compile(r"https?://")


def build_origin(issuer: str) -> str:
    """Return the name of the log and of its keys: the issuer without its scheme, and /audit.

    Raises ``ConfigurationError`` for an issuer that no log can be named after.
    """
    origin = _SCHEME.sub("", issuer, count=1).rstrip("/") + "/audit"
    if not is_name(origin):
        raise ConfigurationError(
            "issuer: no audit log can be named after it; it has a plus, a space,"
            " or more than 249 bytes"
        )
    return origin


def derive_keys(secret: bytes, origin: str) -> SigningKeys:
    """Return the keys that 32 secret bytes make, named after the log."""
    return SigningKeys.from_seeds(
        origin, _derive(secret, b"checkpoint ed25519"), _derive(secret, b"checkpoint ml-dsa-44")
    )


def load_checkpoint_keys(path: Path, origin: str) -> SigningKeys:
    """Return the keys in a file. Raises ``ConfigurationError``, never with what the file holds."""
    text = read_secret(path, setting=_SETTING, remedy=_REMEDY)
    try:
        secret = b64decode(text, validate=True)
    except ValueError:
        secret = b""
    if len(secret) != _BYTES:
        raise ConfigurationError(f"{_SETTING}: {path} has not 32 bytes in base64; {_REMEDY}")
    return derive_keys(secret, origin)


def _derive(secret: bytes, purpose: bytes) -> bytes:
    info = b"token-exchange-broker " + purpose
    return HKDF(algorithm=SHA256(), length=_BYTES, salt=None, info=info).derive(secret)
