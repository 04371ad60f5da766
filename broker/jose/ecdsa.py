"""ES256 as the library has it, without what it looks up at each call. RFC 7518 §3.4.

The library asks its registries which operations a key allows, builds the algorithm and goes by way
of text to write two numbers: a third of what a signature costs. A key here has one algorithm, one
curve and one use, all found out when it was loaded. The cryptography is the same; the tests hold
both against each other, and against the RFC's own vector.
"""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256

_COORDINATE: Final = 32  # bytes of P-256
_ES256: Final = ECDSA(SHA256())  # holds no state of a signature


def verify_es256(message: bytes, signature: bytes, key: EllipticCurvePublicKey) -> bool:
    """Return whether ``key``, which is on P-256, has made this JWS signature of ``message``."""
    if len(signature) != 2 * _COORDINATE:
        return False
    r, s = int.from_bytes(signature[:_COORDINATE]), int.from_bytes(signature[_COORDINATE:])
    try:
        key.verify(encode_dss_signature(r, s), message, _ES256)
    except InvalidSignature:
        return False
    return True


def sign_es256(message: bytes, key: EllipticCurvePrivateKey) -> bytes:
    """Return the JWS signature of ``message`` under ``key``, which is on P-256."""
    r, s = decode_dss_signature(key.sign(message, _ES256))
    return r.to_bytes(_COORDINATE) + s.to_bytes(_COORDINATE)
