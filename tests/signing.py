"""Key pairs in PEM, as whoever signs policy bundles keeps them."""

from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from broker.jose.pem import load_private_pem
from broker.policy.signature import Signer, Verification


class Pair(NamedTuple):
    """A private key, the public one, and what it signs."""

    private: bytes
    public: bytes
    algorithm: str

    def signer(self, key_id: str = "default", scope: str = "") -> Signer:
        """Return what signs with it."""
        return Signer(load_private_pem(self.private), key_id, scope)

    def verification(self, key_id: str | None = None, scope: str = "") -> Verification:
        """Return what asks for its signature."""
        return Verification(self.public, self.algorithm, key_id, scope)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write both, and return where: private, public."""
        private, public = folder / "signing.pem", folder / "verification.pem"
        private.write_bytes(self.private)
        public.write_bytes(self.public)
        return private, public


def make_pair(algorithm: str = "ES256", *, bits: int = 2048) -> Pair:
    """Return a new pair."""
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
    match algorithm:
        case "ES256":
            key = ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            key = ed25519.Ed25519PrivateKey.generate()
        case _:
            key = rsa.generate_private_key(65537, bits)
    return Pair(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        algorithm,
    )
