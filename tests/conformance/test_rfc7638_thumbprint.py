"""RFC 7638: the name of a key is the hash of what makes it."""

import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from broker.jose.jwk import load_keys, thumbprint
from broker.jose.sign import generate_signing_key
from tests.jwts import b64url, public_jwk

RFC = json.loads((Path(__file__).parents[1] / "vectors" / "rfc.json").read_text("utf-8"))
KEYS = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}
MEMBERS = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}


@pytest.mark.row("JK-04")
@pytest.mark.parametrize("example", RFC["thumbprints"], ids=lambda example: example["source"])
def test_s3_1_the_examples_of_the_rfcs(example):
    """RFC 7638 §3.1, RFC 8037 appendix A.3."""
    assert example["thumbprint"] == thumbprint(example["jwk"])


@pytest.mark.row("JK-04")
@pytest.mark.parametrize("kind", KEYS)
def test_s3_2_required_members_alone_in_lexicographic_order_without_spaces(kind):
    """RFC 7638 §3.2, §3.3: computed here by hand, and found by the loader too."""
    jwk = public_jwk(KEYS[kind])
    required = {name: jwk[name] for name in MEMBERS[jwk["kty"]]}
    text = json.dumps(required, separators=(",", ":"), sort_keys=True)
    expected = b64url(hashlib.sha256(text.encode()).digest())
    alg = {"RSA": "PS512", "P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}.get(kind, "EdDSA")

    assert expected == thumbprint(jwk)
    assert [expected] == [key.thumbprint for key in load_keys({"keys": [jwk]}, [alg]).keys]


@pytest.mark.row("JK-04")
@pytest.mark.parametrize("kind", KEYS)
def test_s3_2_nothing_else_of_a_key_changes_its_name(kind):
    """RFC 7638 §3.2.1: optional members and the order have no part in it."""
    jwk = public_jwk(KEYS[kind])
    more = {"x5t": "x", "d": "private", **dict(reversed(jwk.items())), "use": "enc", "kid": "other"}

    assert thumbprint(jwk) == thumbprint(more)


@pytest.mark.row("JK-04")
@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519", "RS256"])
def test_s3_2_the_private_key_has_the_name_of_its_public_key(algorithm):
    """RFC 7638 §3.2.1: a signing key is called by what its verifiers see."""
    key = generate_signing_key(algorithm)
    bare = {
        name: value for name, value in key.public_jwk.items() if name not in {"kid", "use", "alg"}
    }

    assert [key.kid] * 2 == [thumbprint(bare), key.public_jwk["kid"]]
    assert set(MEMBERS[bare["kty"]]) == set(bare)
