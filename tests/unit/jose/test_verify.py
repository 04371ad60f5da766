"""Whether a key of this issuer made this signature. RFC 7515 §5.2, RFC 8725 §3.1."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from broker.jose.algorithms import ALGORITHMS
from broker.jose.compact import parse_compact
from broker.jose.errors import (
    AlgorithmNotAllowed,
    JoseError,
    KeyUnknown,
    Malformed,
    SignatureInvalid,
)
from broker.jose.jwk import KeySet, load_keys
from broker.jose.verify import VerifiedJws, verify_signature
from tests.jwts import compact, jwt, public_jwk

RSA = rsa.generate_private_key(65537, 2048)
P256, P384, P521, OTHER = (
    ec.generate_private_key(curve)
    for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), ec.SECP256R1())
)
ED = ed25519.Ed25519PrivateKey.generate()
SIGNERS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
    "ES256": P256,
    "ES384": P384,
    "ES512": P521,
    "Ed25519": ED,
    "EdDSA": ED,
}


def verify(token: str, keys: KeySet, *algorithms: str) -> VerifiedJws:
    """Parse and verify."""
    return verify_signature(parse_compact(token), keys, algorithms)


def keys(*jwks, algorithms=tuple(ALGORITHMS)) -> KeySet:
    """The usable keys of a set."""
    return load_keys({"keys": list(jwks)}, algorithms)


@pytest.mark.row("JW-05", "D-06")
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_each_algorithm_verifies_what_it_signed(alg):
    """RFC 7518 §3.1, RFC 9864: header, claims and ``typ`` come back."""
    key = SIGNERS[alg]
    token = jwt({"sub": "alice"}, key=key, alg=alg, header={"typ": "application/at+JWT"})
    jws = verify(token, keys(public_jwk(key, alg=alg)), alg)

    assert ({"sub": "alice"}, "at+jwt", alg) == (jws.claims, jws.typ, jws.header["alg"])


@pytest.mark.row("ATK-SIG-02")
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_each_algorithm_refuses_another_text(alg):
    """RFC 7515 §5.2: one claim more is another text."""
    key = SIGNERS[alg]
    one, other = (jwt({"n": number}, key=key, alg=alg) for number in (1, 2))
    forged = f"{one.rpartition('.')[0]}.{other.rpartition('.')[2]}"
    with pytest.raises(SignatureInvalid):
        verify(forged, keys(public_jwk(key, alg=alg)), alg)


def test_what_is_not_on_the_list_is_not_tried():
    """RFC 8725 §3.1: nor is what is on a list by mistake."""
    token = jwt({}, key=P256)
    for allowed in ([], ["ES384"], ["es256"], ["RS256", "EdDSA"]):
        with pytest.raises(AlgorithmNotAllowed):
            verify(token, keys(public_jwk(P256)), *allowed)
    with pytest.raises(AlgorithmNotAllowed):
        verify(jwt({}, key=P256, header={"alg": "none"}), keys(public_jwk(P256)), "none")


def test_a_key_that_is_not_there_may_come():
    """``KeyUnknown`` tells the caller that fresh keys may help."""
    token = jwt({}, key=P256)
    for known in (KeySet(), keys(public_jwk(OTHER)), keys(public_jwk(P256, kid="other"))):
        with pytest.raises(KeyUnknown):
            verify(token, known, "ES256")


def test_a_forgery_under_a_known_name_is_no_reason_to_fetch():
    """``SignatureInvalid`` tells the caller that no other keys will help."""
    named_so = public_jwk(OTHER, kid=public_jwk(P256)["kid"])
    with pytest.raises(SignatureInvalid):
        verify(jwt({}, key=P256), keys(named_so), "ES256")


@pytest.mark.row("ATK-KID-02")
def test_without_a_kid_each_candidate_is_tried():
    """ATK-KID-02: in the order of the set."""
    token = compact({"alg": "ES256"}, {"n": 1}, P256, "ES256")

    assert {"n": 1} == verify(token, keys(public_jwk(OTHER), public_jwk(P256)), "ES256").claims
    with pytest.raises(SignatureInvalid):
        verify(token, keys(public_jwk(OTHER)), "ES256")


def test_a_verified_jws_shows_none_of_its_claims():
    """CVE-2025-65015."""
    token = jwt({"sub": "secret-alice"}, key=P256)

    assert "secret-alice" not in repr(verify(token, keys(public_jwk(P256)), "ES256"))


@pytest.mark.parametrize("error", [Malformed, AlgorithmNotAllowed, KeyUnknown, SignatureInvalid])
def test_the_errors_are_one_family(error):
    """Callers that cannot mend anything catch one class."""
    assert issubclass(error, JoseError)
