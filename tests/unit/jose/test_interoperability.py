"""What we sign is verified by libraries that did not sign it. Promises §6.

They are lenient, each in its own way (promises §8): used to accept, never to show a refusal.
"""

import json
import warnings

import jwcrypto.jwk
import jwcrypto.jws
import jwt as pyjwt
import pytest
from authlib.deprecate import AuthlibDeprecationWarning
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_private_key
from jwcrypto.jws import InvalidJWSSignature

from broker.jose.sign import generate_signing_key, sign_compact
from tests.jwts import b64url_decode

with warnings.catch_warnings():
    # Its successor is the library that we sign with, so it is the older one that can judge.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.jose import JsonWebKey, JsonWebSignature
    from authlib.jose.errors import BadSignatureError
    from authlib.jose.rfc8037.jws_eddsa import EdDSAAlgorithm

KEYS = {algorithm: generate_signing_key(algorithm) for algorithm in ("ES256", "RS256", "Ed25519")}
CLAIMS = {"iss": "https://broker.test", "sub": "idp:alice", "scope": "orders.read", "n": 2**53}


def token(algorithm: str) -> str:
    """A token of ours, as ``mint`` makes it."""
    header = {"alg": algorithm, "kid": KEYS[algorithm].kid, "typ": "at+jwt"}
    return sign_compact(KEYS[algorithm], header, json.dumps(CLAIMS).encode())


def by_pyjwt(text: str, algorithm: str) -> dict:
    """PyJWT; its name of Ed25519 is the older one."""
    named = "EdDSA" if algorithm == "Ed25519" else algorithm
    key = pyjwt.PyJWK(KEYS[algorithm].public_jwk, algorithm=named)
    head, _, signed = text.rpartition(".")
    assert key.Algorithm.verify(head.encode(), key.key, b64url_decode(signed))
    return json.loads(b64url_decode(text.split(".")[1]))


def by_jwcrypto(text: str, algorithm: str) -> dict:
    """The library jwcrypto."""
    jws = jwcrypto.jws.JWS()
    jws.allowed_algs = [algorithm, "EdDSA"]
    jws.deserialize(text)
    jws.verify(jwcrypto.jwk.JWK(**KEYS[algorithm].public_jwk))
    return json.loads(jws.payload)


def by_authlib(text: str, algorithm: str) -> dict:
    """The library Authlib, which does not know the newer name of EdDSA: so by its model of it."""
    key = JsonWebKey.import_key(KEYS[algorithm].public_jwk)
    if algorithm != "Ed25519":
        return json.loads(JsonWebSignature([algorithm]).deserialize_compact(text, key)["payload"])
    head, _, signed = text.rpartition(".")
    model = EdDSAAlgorithm()
    assert model.verify(head.encode(), b64url_decode(signed), model.prepare_key(key))
    return json.loads(b64url_decode(text.split(".")[1]))


def by_cryptography(text: str, algorithm: str) -> dict:
    """By hand, over the primitives alone."""
    public = load_der_private_key(KEYS[algorithm].to_der(), None).public_key()
    head, _, signed = text.rpartition(".")
    raw = b64url_decode(signed)
    if algorithm == "ES256":
        der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
        public.verify(der, head.encode(), ec.ECDSA(hashes.SHA256()))
    elif algorithm == "RS256":
        public.verify(raw, head.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        public.verify(raw, head.encode())
    return json.loads(b64url_decode(text.split(".")[1]))


LIBRARIES = {
    "PyJWT": by_pyjwt,
    "jwcrypto": by_jwcrypto,
    "Authlib": by_authlib,
    "cryptography": by_cryptography,
}


@pytest.mark.row("AT-2.1-01", "D-06")
@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_that_did_not_sign_verifies(library, algorithm):
    """RFC 7515 §5.2: four of them, for each algorithm that we sign with."""
    assert CLAIMS == LIBRARIES[library](token(algorithm), algorithm)


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_and_it_does_look(library, algorithm):
    """The honest twin: a changed payload is noticed by each of them."""
    head, payload, signed = token(algorithm).split(".")
    forged = f"{head}.{payload[:-2]}AA.{signed}"
    with pytest.raises((AssertionError, InvalidJWSSignature, BadSignatureError, InvalidSignature)):
        LIBRARIES[library](forged, algorithm)
