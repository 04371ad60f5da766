"""Keys of our own, and what they sign. RFC 7515 §5.1, RFC 7518 §3."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.jose.compact import parse_compact
from broker.jose.jwk import load_keys
from broker.jose.sign import generate_signing_key, load_signing_key, sign_compact
from broker.jose.verify import verify_signature

SIGNED_WITH = ("ES256", "Ed25519", "EdDSA", "RS256")
KEYS = {algorithm: generate_signing_key(algorithm) for algorithm in SIGNED_WITH}


def verified(token: str, algorithm: str) -> dict:
    """The claims, by our own verifier and the published key."""
    keys = load_keys({"keys": [KEYS[algorithm].public_jwk]}, [algorithm])
    return verify_signature(parse_compact(token), keys, [algorithm]).claims


def header(algorithm: str) -> dict:
    """A header of ours."""
    return {"alg": algorithm, "kid": KEYS[algorithm].kid, "typ": "at+jwt"}


@pytest.mark.row("D-06", "AT-2.1-01", "JW-22")
@pytest.mark.parametrize("algorithm", SIGNED_WITH)
def test_what_we_sign_we_verify(algorithm):
    """RFC 7515 §5.1, §5.2: header and payload are those that were given."""
    token = sign_compact(KEYS[algorithm], header(algorithm), b'{"sub":"alice"}')

    assert {"sub": "alice"} == verified(token, algorithm)
    assert header(algorithm) == parse_compact(token).unverified_header
    assert "=" not in token


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(SIGNED_WITH),
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
        st.integers(-(2**63), 2**64 - 1) | st.booleans() | st.none(),
    ),
)
def test_whatever_is_signed_is_verified(algorithm, claims):
    """Round trip, for each algorithm."""
    token = sign_compact(KEYS[algorithm], header(algorithm), json.dumps(claims).encode())

    assert claims == verified(token, algorithm)


@pytest.mark.parametrize("algorithm", SIGNED_WITH)
@pytest.mark.parametrize("named", ["none", "HS256", "PS256", "ES384", "Ed448", None, 1, ["ES256"]])
def test_a_header_that_names_another_algorithm_is_not_signed(algorithm, named):
    """RFC 8725 §3.1: it would be a token that nobody accepts, or that somebody should not."""
    for other in (header(algorithm) | {"alg": named}, {"kid": "k"}):
        with pytest.raises(ValueError, match="another algorithm"):
            sign_compact(KEYS[algorithm], other, b"{}")


@pytest.mark.parametrize("algorithm", SIGNED_WITH)
def test_a_key_survives_being_stored(algorithm):
    """PKCS #8 and back: the same key, under the same name."""
    key = KEYS[algorithm]
    again = load_signing_key(key.to_der(), algorithm)

    assert (key, key.public_jwk) == (again, again.public_jwk)
    assert {"sub": "alice"} == verified(
        sign_compact(again, header(algorithm), b'{"sub":"alice"}'), algorithm
    )


@pytest.mark.row("JW-22", "JW-08")
@pytest.mark.parametrize("algorithm", SIGNED_WITH)
@pytest.mark.parametrize(
    ("native", "fits"),
    [
        pytest.param(ec.generate_private_key(ec.SECP256R1()), "ES256", id="P-256"),
        pytest.param(ec.generate_private_key(ec.SECP384R1()), None, id="P-384"),
        pytest.param(ec.generate_private_key(ec.SECP256K1()), None, id="secp256k1"),
        pytest.param(rsa.generate_private_key(65537, 2048), "RS256", id="RSA-2048"),
        pytest.param(rsa.generate_private_key(65537, 1024), None, id="RSA-1024"),
        pytest.param(ed25519.Ed25519PrivateKey.generate(), "Ed25519", id="Ed25519"),
    ],
)
def test_a_stored_key_of_another_kind_is_not_loaded(algorithm, native, fits):
    """JW-22: too short, of another curve, or of another type."""
    der = native.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    if fits == {"EdDSA": "Ed25519"}.get(algorithm, algorithm):
        assert algorithm == load_signing_key(der, algorithm).algorithm
    else:
        with pytest.raises(ValueError, match="not of the kind"):
            load_signing_key(der, algorithm)


@pytest.mark.parametrize(
    "algorithm", ["none", "HS256", "PS256", "ES384", "ES512", "Ed448", "es256", ""]
)
def test_nothing_else_is_signed_with(algorithm):
    """Design §5: ES256, Ed25519 under either of its names, and RS256."""
    with pytest.raises(ValueError, match="nothing is signed"):
        generate_signing_key(algorithm)
    with pytest.raises(ValueError, match="not of the kind"):
        load_signing_key(KEYS["ES256"].to_der(), algorithm)


@pytest.mark.row("OP-03")
@pytest.mark.parametrize("algorithm", SIGNED_WITH)
def test_a_signing_key_shows_its_public_part_only(algorithm):
    """OP-03: neither in a ``repr`` nor in the JWK that is published."""
    key = KEYS[algorithm]
    native = load_der_private_key(key.to_der(), None)
    private = {
        ec.EllipticCurvePrivateKey: lambda: native.private_numbers().private_value,
        rsa.RSAPrivateKey: lambda: native.private_numbers().d,
    }
    number = next((read() for kind, read in private.items() if isinstance(native, kind)), None)

    assert {"use": "sig", "alg": algorithm, "kid": key.kid}.items() <= key.public_jwk.items()
    assert set() == {"d", "p", "q", "dp", "dq", "qi", "k"} & key.public_jwk.keys()
    assert str(number) not in repr(key)
    assert "_key" not in repr(key)


@pytest.mark.parametrize("algorithm", SIGNED_WITH)
def test_no_two_keys_are_alike(algorithm):
    """RFC 7638: nor are their names."""
    assert KEYS[algorithm].kid != generate_signing_key(algorithm).kid


def test_no_key_has_a_name_that_a_command_takes_for_an_option():
    """``broker keys revoke -uAb…`` failed in an emergency; one of 64 thumbprints begins so."""
    kids = [generate_signing_key("Ed25519").kid for _ in range(1000)]

    assert not [kid for kid in kids if kid.startswith("-")]
