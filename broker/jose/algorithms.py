"""The signature algorithms there are here, and what kind of key each takes. RFC 7518 §3, RFC 9864.

``none`` and HMAC are missing on purpose: no configuration can bring them back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from joserfc.jwa import JWSAlgModel
from joserfc.jwk import ECKey, Key
from joserfc.jws import JWSRegistry

from broker.jose.ecdsa import sign_es256, verify_es256


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One algorithm, the only kind of key that it is used with, and the library's model of it."""

    name: str
    kty: str
    crv: str | None  # None: RSA has no curve
    model: JWSAlgModel

    def verify(self, message: bytes, signature: bytes, key: Key) -> bool:
        """Return whether ``key``, which is of this kind, has made the signature."""
        if self.name == "ES256" and isinstance(key, ECKey):
            return verify_es256(message, signature, key.public_key)
        return self.model.verify(message, signature, key)

    def sign(self, message: bytes, key: Key) -> bytes:
        """Return the signature of ``message`` under ``key``, which is private and of this kind."""
        if self.name == "ES256" and isinstance(key, ECKey) and key.private_key is not None:
            return sign_es256(message, key.private_key)
        return self.model.sign(message, key)


def _algorithm(name: str, kty: str, crv: str | None = None) -> Algorithm:
    return Algorithm(name, kty, crv, JWSRegistry(algorithms=(name,)).get_alg(name))


_ED25519 = _algorithm("Ed25519", "OKP", "Ed25519")

# In the order in which a key without ``alg`` takes the first that its issuer allows.
ALGORITHMS: Final[Mapping[str, Algorithm]] = MappingProxyType(
    {
        **{
            name: _algorithm(name, "RSA")
            for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
        },
        "ES256": _algorithm("ES256", "EC", "P-256"),
        "ES384": _algorithm("ES384", "EC", "P-384"),
        "ES512": _algorithm("ES512", "EC", "P-521"),
        "Ed25519": _ED25519,
        # The deprecated name (RFC 9864 §2.2) could mean Ed448 too; here it means one curve.
        "EdDSA": _ED25519,
    }
)
