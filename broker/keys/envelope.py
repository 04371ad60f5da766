"""Private keys at rest: AES-256-GCM under a data key each, itself under the key-encryption key.

Associated data ties both to the ``kid`` and the algorithm, so a sealed key moved to another row
does not open. The state is left out: it changes without the key, and what a row claims is
checked against the key that it opens to.
"""

import base64
import binascii
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.errors import ConfigurationError
from broker.jose.sign import SigningKey, load_signing_key

_KEK_BYTES: Final = 32
_NONCE_BYTES: Final = 12  # NIST SP 800-38D §8.2.2, random: each data key seals once
_VERSION: Final = b"\x01"


class Unsealable(Exception):  # noqa: N818 — a state of the row; its text names no key material
    """The sealed key was not sealed under this key-encryption key, or was changed since."""


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A private key and its data key, both encrypted."""

    wrapped_key: bytes = field(repr=False)
    wrapped_dek: bytes = field(repr=False)


class Envelope:
    """Seals and opens signing keys under one key-encryption key."""

    __slots__ = ("_kek",)

    def __init__(self, kek: bytes) -> None:
        self._kek = AESGCM(kek)

    def seal(self, key: SigningKey) -> SealedKey:
        """Return the private part of ``key``, encrypted."""
        dek = AESGCM.generate_key(bit_length=256)
        return SealedKey(
            wrapped_key=_encrypt(
                AESGCM(dek), key.to_der(), _context("key", key.kid, key.algorithm)
            ),
            wrapped_dek=_encrypt(self._kek, dek, _context("dek", key.kid, key.algorithm)),
        )

    def open(self, sealed: SealedKey, kid: str, algorithm: str) -> SigningKey:
        """Return the key that was sealed as this ``kid`` and ``algorithm``.

        Raises ``Unsealable``, also if it opens and its thumbprint is not ``kid``.
        """
        try:
            dek = _decrypt(self._kek, sealed.wrapped_dek, _context("dek", kid, algorithm))
            der = _decrypt(AESGCM(dek), sealed.wrapped_key, _context("key", kid, algorithm))
            key = load_signing_key(der, algorithm)
        except (InvalidTag, ValueError) as error:
            raise Unsealable("a signing key does not open under this kek") from error
        if key.kid != kid:
            raise Unsealable("a signing key has another thumbprint than its row")
        return key


def load_kek(path: Path) -> bytes:
    """Return the key-encryption key: 32 bytes, in base64, in a file of its own.

    Raises ``ConfigurationError``, which names ``keys.kek_file`` and says what to do.
    """
    make = f"make one with: openssl rand -base64 32 > {path}; chmod 600 {path}"
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1024).strip()
    except FileNotFoundError:
        raise ConfigurationError(f"keys.kek_file: {path} does not exist; {make}") from None
    except OSError as error:
        reason = error.strerror or "unreadable"
        raise ConfigurationError(f"keys.kek_file: {path} cannot be read: {reason}") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigurationError(f"keys.kek_file: everybody can read {path}; chmod 600 {path}")
    if not text:
        raise ConfigurationError(f"keys.kek_file: {path} is empty; {make}")
    try:
        kek = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ConfigurationError(f"keys.kek_file: {path} is not base64; {make}") from None
    if len(kek) != _KEK_BYTES:
        raise ConfigurationError(
            f"keys.kek_file: {path} holds {len(kek)} bytes, and 32 are needed; {make}"
        )
    return kek


def load_or_make_kek(path: Path) -> bytes:
    """Return the key-encryption key beside an embedded database, made when first asked for."""
    text = base64.b64encode(secrets.token_bytes(_KEK_BYTES)) + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and linked: of two processes that start at once, one makes the file whole
    # and both read the same.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    if not path.exists():
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return load_kek(path)


def _context(purpose: str, kid: str, algorithm: str) -> bytes:
    # Neither holds a NUL, so no two contexts are spelled alike.
    return f"broker signing key\0{purpose}\0{kid}\0{algorithm}".encode()


def _encrypt(cipher: AESGCM, data: bytes, context: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + nonce + cipher.encrypt(nonce, data, context)


def _decrypt(cipher: AESGCM, sealed: bytes, context: bytes) -> bytes:
    if sealed[:1] != _VERSION:
        raise ValueError("unknown version of the envelope")
    nonce, data = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
    return cipher.decrypt(nonce, data, context)
