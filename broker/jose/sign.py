"""Signing keys of our own, and a compact JWS made with one. RFC 7515 §5.1."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from joserfc.jwk import ECKey, OKPKey, RSAKey

from broker.jose import base64url
from broker.jose.algorithms import ALGORITHMS, Algorithm
from broker.jose.jwk import thumbprint

_PrivateKey = ECKey | OKPKey | RSAKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
RSA_BITS: Final = 2048


class CannotSign(Exception):  # noqa: N818 — a state of whoever has the key
    """The key is there and does not sign now. Its text names no key material."""


class SigningKey(Protocol):
    """A private key with its one algorithm, wherever the private part is."""

    @property
    def kid(self) -> str:
        """The RFC 7638 thumbprint, so it names this key and no other."""

    @property
    def algorithm(self) -> str:
        """What its signatures say in ``alg``."""

    @property
    def public_jwk(self) -> dict[str, Any]:
        """The public part, with ``use``, ``alg`` and ``kid``."""

    def sign(self, message: bytes) -> bytes:
        """Return the JWS signature of ``message``, or raise ``CannotSign``."""


@dataclass(frozen=True, slots=True)
class LocalKey:
    """A private key in this process; nothing that prints it shows the private part."""

    kid: str  # RFC 7638 thumbprint, so it names this key and no other
    algorithm: str
    public_jwk: dict[str, Any]  # with ``use``, ``alg`` and ``kid``
    _key: _PrivateKey = field(repr=False, compare=False)
    _algorithm: Algorithm = field(repr=False, compare=False)

    def to_der(self) -> bytes:
        """Return the private key as unencrypted PKCS #8; only ever to be wrapped."""
        return self._key.as_der(private=True)

    def sign(self, message: bytes) -> bytes:
        """Return the JWS signature of ``message``. RFC 7518 §3, RFC 8037 §3.1."""
        return self._algorithm.sign(message, self._key)


def generate_signing_key(algorithm: str) -> LocalKey:
    """Return a new key for ``ES256``, ``Ed25519``, ``EdDSA`` or ``RS256``.

    Its ``kid`` does not begin with ``-``, so that no command takes it for an option.
    """
    while (key := _generate(algorithm)).kid.startswith("-"):
        pass
    return key


def _generate(algorithm: str) -> LocalKey:
    match algorithm:
        case "ES256":
            return _local_key(algorithm, ECKey.generate_key("P-256"))
        case "Ed25519" | "EdDSA":
            return _local_key(algorithm, OKPKey.generate_key("Ed25519"))
        case "RS256":
            return _local_key(algorithm, RSAKey.generate_key(RSA_BITS))
        case _:
            raise ValueError("nothing is signed with this algorithm")


def load_signing_key(der: bytes, algorithm: str) -> LocalKey:
    """Return the key that ``to_der`` wrote. Raises ``ValueError`` if it is of another kind."""
    match algorithm, load_der_private_key(der, password=None):
        case "ES256", ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()) as native:
            return _local_key(algorithm, ECKey.import_key(native))
        case "Ed25519" | "EdDSA", ed25519.Ed25519PrivateKey() as native_ed:
            return _local_key(algorithm, OKPKey.import_key(native_ed))
        case "RS256", rsa.RSAPrivateKey(key_size=size) as native_rsa if size >= RSA_BITS:
            return _local_key(algorithm, RSAKey.import_key(native_rsa))
        case _:
            raise ValueError("the key is not of the kind that its algorithm takes")


def describe_public_key(key: PublicKey, algorithm: str) -> dict[str, Any]:
    """Return the public JWK of a key whose private part is elsewhere, its ``kid`` included."""
    match key:
        case ec.EllipticCurvePublicKey():
            members = ECKey.import_key(key).as_dict(private=False)
        case ed25519.Ed25519PublicKey():
            members = OKPKey.import_key(key).as_dict(private=False)
        case rsa.RSAPublicKey():
            members = RSAKey.import_key(key).as_dict(private=False)
    return _public_jwk(members, algorithm)


def sign_compact(key: SigningKey, header: Mapping[str, Any], payload: bytes) -> str:
    """Return ``payload`` under ``header`` as a compact JWS.

    ``header`` must name the key's algorithm; anything else would be a token nobody accepts.
    """
    if header.get("alg") != key.algorithm:
        raise ValueError("the header names another algorithm than the key's")
    signing_input = f"{base64url.encode(orjson.dumps(header))}.{base64url.encode(payload)}"
    return f"{signing_input}.{base64url.encode(key.sign(signing_input.encode('ascii')))}"


def _local_key(algorithm: str, key: _PrivateKey) -> LocalKey:
    public_jwk = _public_jwk(key.as_dict(private=False), algorithm)
    return LocalKey(public_jwk["kid"], algorithm, public_jwk, key, ALGORITHMS[algorithm])


def _public_jwk(members: dict[str, Any], algorithm: str) -> dict[str, Any]:
    return {**members, "use": "sig", "alg": algorithm, "kid": thumbprint(members)}
