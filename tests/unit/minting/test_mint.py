"""Step 5, mint: signed so that anybody's library reads it, or not at all."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import jwcrypto.jwk
import jwcrypto.jwt
import jwt as pyjwt
import pytest
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from broker.domain import Reference, SignedToken
from broker.errors import MintRejected, Reason
from broker.jose.sign import SigningKey, generate_signing_key
from broker.minting.claims import build_claims
from broker.minting.mint import mint
from broker.oauth import MAX_ISSUED_TOKEN
from tests.builders import BROKER, NOW, exchange, target, verified_token
from tests.decisions import permit
from tests.jwts import b64url, b64url_decode, unverified_claims, unverified_header

ID = "019ab000-0000-7000-8000-000000000001"
ALGORITHMS = ("ES256", "Ed25519", "RS256")


class Keys:
    """Signing keys that stand still."""

    def __init__(self, *keys: SigningKey) -> None:
        self._keys = {key.algorithm: key for key in keys}

    def signing_key(self, algorithm: str) -> SigningKey:
        if algorithm not in self._keys:
            raise MintRejected(Reason.MINT_KEY_UNAVAILABLE)
        return self._keys[algorithm]


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys(*map(generate_signing_key, ALGORITHMS))


def minted(
    keys: Keys, algorithm: str = "ES256", *, now=NOW, form: str = "jwt", **subject
) -> SignedToken:
    asked = exchange(
        at=now,
        subject=verified_token(expires_at=now + timedelta(hours=1), **subject),
        targets=(target(algorithm=algorithm, format=form, claims=("padding", "groups")),),
    )
    return mint(permit(asked, claims=["padding", "groups"]), keys, issuer=BROKER, id=ID, now=now)


@pytest.mark.row("AT-2.1-01", "D-06")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_header_has_three_members(keys, algorithm):
    """RFC 9068 §2.1: ``at+jwt``; the key by its thumbprint; nothing that points anywhere."""
    signed = minted(keys, algorithm)

    assert {
        "alg": algorithm,
        "kid": keys.signing_key(algorithm).kid,
        "typ": "at+jwt",
    } == unverified_header(signed.token)


def test_a_signed_token_knows_what_it_is(keys):
    """The whole value: what the audit row will say of it."""
    now = NOW + timedelta(microseconds=700_000)
    signed = minted(keys, now=now)
    made = permit(signed.permit.exchange, claims=["padding", "groups"])

    assert (
        SignedToken(
            permit=made,
            id=ID,
            token=signed.token,
            txn=ID,
            kid=keys.signing_key("ES256").kid,
            issued_at=NOW,
            expires_at=NOW + timedelta(seconds=120),
            claims=build_claims(made, issuer=BROKER, id=ID, now=now),
        )
        == signed
    )
    assert signed.claims == unverified_claims(signed.token)


@pytest.mark.row("AT-2.2-01", "AT-2.1-01")
@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_pyjwt_verifies_it(keys, algorithm):
    """A library that is not ours, with everything that it can require."""
    signed = minted(keys, algorithm, now=datetime.now(UTC))
    key = pyjwt.PyJWK(keys.signing_key(algorithm).public_jwk)

    claims = pyjwt.decode(
        signed.token,
        key,
        algorithms=[algorithm],
        audience="svc-b",
        issuer=BROKER,
        options={"require": ["iss", "sub", "aud", "exp", "iat", "nbf", "jti"]},
    )

    assert signed.claims == claims


@pytest.mark.row("AT-2.2-01", "AT-2.1-01")
@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_jwcrypto_verifies_it(keys, algorithm):
    """A second library that is not ours."""
    signed = minted(keys, algorithm, now=datetime.now(UTC))
    key = jwcrypto.jwk.JWK(**keys.signing_key(algorithm).public_jwk)

    read = jwcrypto.jwt.JWT(
        jwt=signed.token, key=key, algs=[algorithm], check_claims={"iss": BROKER, "aud": "svc-b"}
    )

    assert signed.claims == json.loads(read.claims)


@pytest.mark.row("AT-2.2-01", "AT-2.1-01")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_joserfc_verifies_it_by_the_published_set(keys, algorithm):
    """RFC 9864: ``Ed25519`` too, found by ``kid`` among the keys of all algorithms."""
    signed = minted(keys, algorithm, now=datetime.now(UTC))
    jwks = KeySet.import_key_set(
        {"keys": [keys.signing_key(name).public_jwk for name in ALGORITHMS]}
    )

    decoded = joserfc_jwt.decode(
        signed.token, jwks, registry=JWSRegistry(algorithms=[algorithm], strict_check_header=True)
    )

    assert signed.claims == decoded.claims


@pytest.mark.row("AT-2.2-01", "AT-2.2.3-02")
def test_authlib_takes_it_for_an_rfc_9068_access_token(keys):
    """RFC 9068 §4: as a resource server would, with its scope and groups."""

    class Validator(JWTBearerTokenValidator):
        def get_jwks(self):
            return KeySet.import_key_set({"keys": [keys.signing_key("ES256").public_jwk]})

    signed = minted(keys, now=datetime.now(UTC), claims={"groups": ["staff"]})
    validator = Validator(issuer=BROKER, resource_server="svc-b")

    token = validator.authenticate_token(signed.token)
    validator.validate_token(token, scopes=["orders.read"], request=None, groups=["staff"])

    assert signed.claims == dict(token)


@pytest.mark.row("OA-5.1-02")
def test_a_token_of_8_kib_is_made_and_none_beyond(keys):
    """RFC 6749 §5.1: a documented size; it is refused and never cut."""
    header, payload, signature = minted(keys, claims={"padding": ""}).token.split(".")
    bare = len(b64url_decode(payload))
    for padding in range(5000, 7000):
        length = len(header) + len(signature) + 2 + -(-(bare + padding) * 4 // 3)
        if abs(length - MAX_ISSUED_TOKEN) > 3:
            continue
        if length <= MAX_ISSUED_TOKEN:
            assert length == len(minted(keys, claims={"padding": "x" * padding}).token)
            continue
        with pytest.raises(MintRejected) as rejected:
            minted(keys, claims={"padding": "x" * padding})
        assert Reason.MINT_TOKEN_TOO_LARGE is rejected.value.reason


def test_without_a_key_there_is_no_token():
    """503, never another algorithm than the target's."""
    with pytest.raises(MintRejected) as rejected:
        minted(Keys(generate_signing_key("Ed25519")), "ES256")

    assert Reason.MINT_KEY_UNAVAILABLE is rejected.value.reason


def test_neither_token_nor_claims_are_shown(keys):
    """A ``repr`` ends up in a log."""
    signed = minted(keys, claims={"padding": "canary"})

    assert "eyJ" not in repr(signed)
    assert "canary" not in repr(signed)


@pytest.mark.row("TX-2.1-32", "OA-10-01")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_reference_token_says_nothing_and_stands_for_a_signed_record(keys, algorithm):
    """Design §4: 256 random bits; the record names the hash that it is to be stored under."""
    signed = minted(keys, algorithm, form="reference")
    digest = hashlib.sha256(signed.token.encode()).digest()
    kid = keys.signing_key(algorithm).kid
    record = signed.reference.record

    assert 32 == len(b64url_decode(signed.token))
    assert Reference(digest, ID, record, kid, NOW + timedelta(seconds=120)) == signed.reference
    assert {
        "alg": algorithm,
        "kid": kid,
        "typ": "reference+jwt",
        "ath": b64url(digest),
    } == unverified_header(record)
    assert signed.claims == unverified_claims(record)


@pytest.mark.row("OA-10-01")
def test_no_two_reference_tokens_of_one_permit_are_alike(keys):
    """RFC 6749 §10.10: nothing of the permit is in it."""
    assert 100 == len({minted(keys, form="reference").token for _ in range(100)})


def test_what_a_reference_token_stands_for_is_shown_by_nothing(keys):
    """Design §7: neither the token nor its record is in a ``repr``."""
    signed = minted(keys, form="reference")

    assert signed.token not in repr(signed)
    assert signed.reference.record not in repr(signed)


def test_what_is_stored_of_a_reference_token_is_bounded(keys):
    """Ours: a row of the table is no larger than a token may be."""
    with pytest.raises(MintRejected) as caught:
        minted(keys, form="reference", claims={"padding": "x" * MAX_ISSUED_TOKEN})

    assert Reason.MINT_TOKEN_TOO_LARGE is caught.value.reason
