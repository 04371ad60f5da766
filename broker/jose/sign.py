"""Signing keys of our own, and a compact JWS made with one. RFC 7515 §5.1."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key
from joserfc.jwk import ECKey, OKPKey, RSAKey

from broker.jose import base64url
from broker.jose.algorithms import ALGORITHMS, Algorithm
from broker.jose.jwk import thumbprint

_PrivateKey = ECKey | OKPKey | RSAKey
_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its one algorithm; nothing that prints it shows the private part."""

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
        return self._algorithm.model.sign(message, self._key)


def generate_signing_key(algorithm: str) -> SigningKey:
    """Return a new key for ``ES256``, ``Ed25519`` or ``RS256``."""
    match algorithm:
        case "ES256":
            return _signing_key(algorithm, ECKey.generate_key("P-256"))
        case "Ed25519":
            return _signing_key(algorithm, OKPKey.generate_key("Ed25519"))
        case "RS256":
            return _signing_key(algorithm, RSAKey.generate_key(_RSA_BITS))
        case _:
            raise ValueError("nothing is signed with this algorithm")


def load_signing_key(der: bytes, algorithm: str) -> SigningKey:
    """Return the key that ``to_der`` wrote. Raises ``ValueError`` if it is of another kind."""
    match algorithm, load_der_private_key(der, password=None):
        case "ES256", ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()) as native:
            return _signing_key(algorithm, ECKey.import_key(native))
        case "Ed25519", ed25519.Ed25519PrivateKey() as native_ed:
            return _signing_key(algorithm, OKPKey.import_key(native_ed))
        case "RS256", rsa.RSAPrivateKey(key_size=size) as native_rsa if size >= _RSA_BITS:
            return _signing_key(algorithm, RSAKey.import_key(native_rsa))
        case _:
            raise ValueError("the key is not of the kind that its algorithm takes")


def sign_compact(key: SigningKey, header: Mapping[str, Any], payload: bytes) -> str:
    """Return ``payload`` under ``header`` as a compact JWS.

    ``header`` must name the key's algorithm; anything else would be a token nobody accepts.
    """
    if header.get("alg") != key.algorithm:
        raise ValueError("the header names another algorithm than the key's")
    signing_input = f"{base64url.encode(orjson.dumps(header))}.{base64url.encode(payload)}"
    return f"{signing_input}.{base64url.encode(key.sign(signing_input.encode('ascii')))}"


def _signing_key(algorithm: str, key: _PrivateKey) -> SigningKey:
    members = key.as_dict(private=False)
    kid = thumbprint(members)
    public_jwk = {**members, "use": "sig", "alg": algorithm, "kid": kid}
    return SigningKey(kid, algorithm, public_jwk, key, ALGORITHMS[algorithm])
