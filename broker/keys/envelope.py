"""Private keys at rest: AES-256-GCM under a data key each, itself under the key-encryption key.

Associated data ties both to the ``kid`` and the algorithm, so a sealed key moved to another row
does not open. The state is left out: it changes without the key, and what a row claims is
checked against the key that it opens to.
"""

import base64
import binascii
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.errors import ConfigurationError
from broker.jose.sign import LocalKey, load_signing_key
from broker.keys.provider import SealedKey, StoredKey, Unopenable
from broker.settings.secret_file import read_secret

_KEK_BYTES: Final = 32
_NONCE_BYTES: Final = 12  # NIST SP 800-38D §8.2.2, random: each data key seals once
_VERSION: Final = b"\x01"


class Unsealable(Unopenable):
    """The sealed key was not sealed under this key-encryption key, or was changed since."""


class Envelope:
    """Seals and opens signing keys under one key-encryption key, or two while one replaces it.

    With two, each of them opens. A new key is sealed under the one that its neighbours are sealed
    under: so one command moves all of them, and whoever makes keys afterwards follows.
    """

    __slots__ = ("_keks",)

    def __init__(self, kek: bytes, *others: bytes) -> None:
        self._keks = tuple(AESGCM(each) for each in (kek, *others))

    def seal(self, key: LocalKey, beside: Sequence[StoredKey] = ()) -> SealedKey:
        """Return the private part of ``key``, encrypted. ``beside``: the keys of today.

        Raises ``Unsealable`` if none of those opens: whoever has them could not open this one.
        """
        kek = self._kek_of(beside)
        dek = AESGCM.generate_key(bit_length=256)
        return SealedKey(
            wrapped_key=_encrypt(
                AESGCM(dek), key.to_der(), _context("key", key.kid, key.algorithm)
            ),
            wrapped_dek=_encrypt(kek, dek, _context("dek", key.kid, key.algorithm)),
        )

    def open(self, sealed: SealedKey, kid: str, algorithm: str) -> LocalKey:
        """Return the key that was sealed as this ``kid`` and ``algorithm``.

        Raises ``Unsealable``, also if it opens and its thumbprint is not ``kid``.
        """
        try:
            dek = self._unwrap(sealed, kid, algorithm)
            der = _decrypt(AESGCM(dek), sealed.wrapped_key, _context("key", kid, algorithm))
            key = load_signing_key(der, algorithm)
        except (InvalidTag, ValueError) as error:
            raise Unsealable("a signing key does not open under this kek") from error
        if key.kid != kid:
            raise Unsealable("a signing key has another thumbprint than its row")
        return key

    def rewrap(self, sealed: SealedKey, kid: str, algorithm: str) -> SealedKey | None:
        """Return the same key under the first of the two keys; None if it is under that already.

        The key itself is opened on the way, so nothing is moved that would not open afterwards.
        Raises ``Unsealable`` if it opens under neither.
        """
        self.open(sealed, kid, algorithm)
        context = _context("dek", kid, algorithm)
        with suppress(InvalidTag):
            _decrypt(self._keks[0], sealed.wrapped_dek, context)
            return None
        dek = self._unwrap(sealed, kid, algorithm)
        return replace(sealed, wrapped_dek=_encrypt(self._keks[0], dek, context))

    def _unwrap(self, sealed: SealedKey, kid: str, algorithm: str) -> bytes:
        return _decrypt(
            self._kek_for(sealed, kid, algorithm),
            sealed.wrapped_dek,
            _context("dek", kid, algorithm),
        )

    def _kek_for(self, sealed: SealedKey, kid: str, algorithm: str) -> AESGCM:
        context = _context("dek", kid, algorithm)
        for kek in self._keks:
            with suppress(InvalidTag):
                _decrypt(kek, sealed.wrapped_dek, context)
                return kek
        raise Unsealable("a signing key does not open under this kek")

    def _kek_of(self, beside: Sequence[StoredKey]) -> AESGCM:
        sealed = [
            (each.record, each.custody) for each in beside if isinstance(each.custody, SealedKey)
        ]
        for record, custody in sorted(sealed, key=lambda one: one[0].created_at, reverse=True):
            with suppress(Unsealable, ValueError):
                return self._kek_for(custody, record.kid, record.algorithm)
        if sealed:
            raise Unsealable("none of the signing keys of today opens under this kek")
        return self._keks[0]


def load_kek(path: Path, *, setting: str = "keys.kek_file") -> bytes:
    """Return the key-encryption key: 32 bytes, in base64, in a file of its own.

    Raises ``ConfigurationError``, which names ``setting`` and says what to do.
    """
    make = f"make one with: openssl rand -base64 32 > {path}; chmod 600 {path}"
    text = read_secret(path, setting=setting, remedy=make)
    try:
        kek = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ConfigurationError(f"{setting}: {path} is not base64; {make}") from None
    if len(kek) != _KEK_BYTES:
        raise ConfigurationError(
            f"{setting}: {path} holds {len(kek)} bytes, and 32 are needed; {make}"
        )
    return kek


def load_or_make_kek(path: Path, *, setting: str = "keys.kek_file") -> bytes:
    """Return a key of 32 bytes beside an embedded database, made when first asked for."""
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
    return load_kek(path, setting=setting)


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
