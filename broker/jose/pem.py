"""Keys in PEM files (RFC 7468), as operators keep those that sign and verify policy bundles."""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from broker.jose.errors import Malformed
from broker.jose.jwk import KeySet, load_keys, weaknesses
from broker.jose.sign import RSA_BITS, LocalKey, describe_public_key, load_signing_key

_UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm)


def load_public_pem(pem: bytes, algorithm: str, *, kid: str | None) -> KeySet:
    """Return a set of one key, which verifies ``algorithm`` and is called ``kid``.

    Raises ``Malformed`` for what is no public key, is weak, or does not fit the algorithm.
    """
    try:
        key = load_pem_public_key(pem)
    except _UNREADABLE:
        # The library's text may quote the file, and a private key may be in it by mistake.
        raise Malformed("not a public key in PEM (BEGIN PUBLIC KEY)") from None
    if not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        raise Malformed("not an RSA, EC or Ed25519 key")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < RSA_BITS:
        raise Malformed(f"an RSA key of less than {RSA_BITS} bits")
    jwk = describe_public_key(key, algorithm) | {"kid": kid}
    if kid is None:
        del jwk["kid"]
    keys = load_keys({"keys": [jwk]}, (algorithm,))
    if not keys:
        why = weaknesses({"keys": [jwk]}) or [f"it does not fit {algorithm}"]
        raise Malformed(why[0].removeprefix("key 1 is not used: "))
    return keys


def load_private_pem(pem: bytes) -> LocalKey:
    """Return the private key of a PEM file without a passphrase, with the algorithm of its kind.

    RSA signs RS256, P-256 ES256 and Ed25519 EdDSA, as ``opa`` calls them. Raises ``Malformed``.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except _UNREADABLE:
        raise Malformed("not a private key in PEM without a passphrase") from None
    match key:
        case rsa.RSAPrivateKey():
            algorithm = "RS256"
        case ec.EllipticCurvePrivateKey():
            algorithm = "ES256"
        case ed25519.Ed25519PrivateKey():
            algorithm = "EdDSA"
        case _:
            raise Malformed("not an RSA, P-256 or Ed25519 key")
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    try:
        return load_signing_key(der, algorithm)
    except ValueError:
        raise Malformed("an RSA key of less than 2048 bits, or a curve that is not P-256") from None
