"""ES256 without the library's detours gives the library's answers."""

from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from broker.jose.base64url import decode
from broker.jose.ecdsa import sign_es256, verify_es256

LIBRARY = JWSRegistry(algorithms=("ES256",)).get_alg("ES256")
PRIVATE = ec.generate_private_key(ec.SECP256R1())
PUBLIC = PRIVATE.public_key()
KEY = cast(ECKey, ECKey.import_key(PRIVATE))

# RFC 7515 appendix A.3: the key, what is signed, and the signature.
RFC_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
RFC_INPUT = (
    b"eyJhbGciOiJFUzI1NiJ9"
    b".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)
RFC_SIGNATURE = decode(
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)


def test_the_vector_of_the_rfc_verifies() -> None:
    """RFC 7515 A.3, and not with one bit changed."""
    key = cast(ec.EllipticCurvePublicKey, ECKey.import_key(RFC_KEY).public_key)

    assert verify_es256(RFC_INPUT, RFC_SIGNATURE, key)
    for place in (0, 31, 32, 63):
        changed = bytearray(RFC_SIGNATURE)
        changed[place] ^= 1
        assert not verify_es256(RFC_INPUT, bytes(changed), key)


@given(st.binary(max_size=300))
def test_either_verifies_what_the_other_signs(message: bytes) -> None:
    """Both ways, over any message."""
    assert LIBRARY.verify(message, sign_es256(message, PRIVATE), KEY)
    assert verify_es256(message, LIBRARY.sign(message, KEY), PUBLIC)


@given(st.binary(min_size=0, max_size=80) | st.binary(min_size=64, max_size=64))
def test_both_say_the_same_to_any_bytes(signature: bytes) -> None:
    """Of any length, and of the right one."""
    assert verify_es256(b"message", signature, PUBLIC) is LIBRARY.verify(b"message", signature, KEY)


@pytest.mark.parametrize(
    ("r", "s"),
    [
        pytest.param(0, 0, id="zeros, with which everything verified elsewhere once"),
        pytest.param(0, 1, id="no r"),
        pytest.param(1, 0, id="no s"),
        pytest.param(2**256 - 1, 2**256 - 1, id="beyond the order"),
    ],
)
def test_numbers_that_no_signature_has_are_refused(r: int, s: int) -> None:
    """CVE-2022-21449: a verifier that does not look at their range takes zeros for a signature."""
    signature = r.to_bytes(32) + s.to_bytes(32)

    assert not verify_es256(b"message", signature, PUBLIC)


def test_short_numbers_keep_their_length() -> None:
    """RFC 7518 §3.4: leading zeros are part of the signature. One in 128 has them."""
    assert {len(sign_es256(b"%d" % each, PRIVATE)) for each in range(1000)} == {64}
