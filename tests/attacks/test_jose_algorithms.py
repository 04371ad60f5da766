"""Attack: let the token choose how it is verified, or not at all. RFC 8725 §2.1, §3.1."""

import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.jwts import (
    ABSENT,
    b64url,
    public_jwk,
    resigned,
    signature,
)
from tests.places import ACCEPTED, at_each_place, keyed

RSA = rsa.generate_private_key(65537, 2048)
P256, P384, P521 = (
    ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
)
ED = ed25519.Ed25519PrivateKey.generate()
BY_ALG = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), RSA),
    "ES256": P256,
    "ES384": P384,
    "ES512": P521,
    "Ed25519": ED,
    "EdDSA": ED,
}
SPKI = PublicFormat.SubjectPublicKeyInfo


def hmac_secrets(key) -> dict[str, bytes]:
    """Every text and encoding in which somebody may hold the public key."""
    public = key.public_key()
    pem = public.public_bytes(Encoding.PEM, SPKI)
    jwk = public_jwk(key)
    forms = {
        "pem": pem,
        "pem-without-its-newline": pem.rstrip(),
        "pem-with-crlf": pem.replace(b"\n", b"\r\n"),
        "der": public.public_bytes(Encoding.DER, SPKI),
        "jwk": json.dumps(jwk).encode(),
        "jwk-compact": json.dumps(jwk, separators=(",", ":")).encode(),
        "openssh": public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        "kid": jwk["kid"].encode(),
        "nothing": b"",
    }
    if isinstance(key, rsa.RSAPrivateKey):
        forms["pkcs1"] = public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        forms["point"] = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    else:
        forms["raw"] = public.public_bytes_raw()
    return forms


@pytest.mark.row("ATK-ALG-01", "JW-06", "CVE-2026-28802")
@at_each_place
@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "NONE", "noNE", "", " none", "none\t"])
@pytest.mark.parametrize("sign", [lambda _: b"", lambda _: b"\0"], ids=["blank", "a-byte"])
async def test_an_unsigned_token_is_refused(place, alg, sign):
    """ATK-ALG-01: whatever the case of ``none``, whatever stands for the signature."""
    token = place.make()
    forged = resigned(token, sign, {"alg": alg})

    assert await place.outcome(forged) in {
        place.reason("malformed"),
        place.reason("algorithm_not_allowed"),
    }
    assert ACCEPTED == await place.outcome(token)


@pytest.mark.row("ATK-ALG-02", "CVE-2024-33663", "JW-23")
@at_each_place
@pytest.mark.parametrize("key", [RSA, P256, ED], ids=["RSA", "EC", "Ed25519"])
async def test_a_public_key_is_no_secret(place, key):
    """ATK-ALG-02: HS256 to HS512, keyed with each form in which the public key is known."""
    algorithms = [alg for alg, fitting in BY_ALG.items() if fitting is key]
    here = keyed(place, public_jwk(key), algorithms=algorithms)
    token = here.make(key=key, alg=algorithms[0])
    outcomes = {
        await here.outcome(
            resigned(
                token,
                lambda text, secret=secret, bits=bits: hmac.new(secret, text, bits).digest(),
                {"alg": f"HS{bits[3:]}"},
            )
        )
        for secret in hmac_secrets(key).values()
        for bits in ("sha256", "sha384", "sha512")
    }

    assert {here.reason("algorithm_not_allowed")} == outcomes
    assert ACCEPTED == await here.outcome(token)


@pytest.mark.row("ATK-ALG-02")
@at_each_place
async def test_a_public_key_is_no_secret_under_the_algorithm_that_is_allowed(place):
    """ATK-ALG-02: an HMAC does not pass for the signature that the header names."""
    token = place.make()
    for secret in hmac_secrets(place.key).values():
        forged = resigned(
            token, lambda text, secret=secret: hmac.new(secret, text, hashlib.sha512).digest()
        )

        assert place.reason("signature_invalid") == await place.outcome(forged)


@pytest.mark.row("ATK-ALG-03", "JW-05")
@at_each_place
@pytest.mark.parametrize(
    "alg",
    [
        pytest.param(value, id=str(value))
        for value in (None, 1, True, ["ES256"], {"alg": "ES256"}, "es256", "ES256 ", "ES256K")
    ]
    + [pytest.param(ABSENT, id="absent")],
)
async def test_the_header_names_one_known_algorithm(place, alg):
    """ATK-ALG-03: a string, in its own case, that is on the list."""
    token = place.make(header={"alg": alg})

    assert await place.outcome(token) in {
        place.reason("malformed"),
        place.reason("algorithm_not_allowed"),
    }


@pytest.mark.row("ATK-ALG-03", "JW-05")
@at_each_place
@pytest.mark.parametrize("alg", [alg for alg in BY_ALG if alg != "ES256"])
async def test_an_algorithm_that_is_not_listed_is_refused(place, alg):
    """RFC 8725 §3.1: with a good signature by a key that is the issuer's."""
    key = BY_ALG[alg]
    here = keyed(place, public_jwk(P256), public_jwk(key), algorithms=["ES256"])

    assert here.reason("algorithm_not_allowed") == await here.outcome(here.make(key=key, alg=alg))
    assert ACCEPTED == await here.outcome(here.make(key=P256))


@pytest.mark.row("ATK-ALG-03", "JW-05", "JW-08")
@at_each_place
@pytest.mark.parametrize("of", ["ES256", "ES384", "RS256", "PS256", "RS512", "Ed25519"])
@pytest.mark.parametrize("alg", ["ES256", "ES384", "ES512", "RS256", "PS256", "RS512", "Ed25519"])
async def test_a_key_verifies_its_own_algorithm_and_no_other(place, of, alg):
    """RFC 8725 §3.1: all are allowed at the issuer, and still each key has one."""
    key = BY_ALG[of]
    here = keyed(place, public_jwk(key, alg=of, kid="k"), algorithms=list(BY_ALG))
    # Signed as the header says, as far as the key can.
    as_the_key_can = alg if BY_ALG[alg] is key else of
    token = resigned(
        here.make(key=key, alg=of),
        lambda text: signature(text, key, as_the_key_can),
        {"alg": alg, "kid": "k"},
    )

    expected = ACCEPTED if alg == of else here.reason("key_unknown")
    assert expected == await here.outcome(token)


@pytest.mark.row("ATK-ALG-03", "JW-06")
@at_each_place
async def test_ed448_does_not_pass_under_eddsa(place):
    """RFC 9864 §2.2: ``EdDSA`` could mean it; here it means Ed25519."""
    key = ed448.Ed448PrivateKey.generate()
    jwk = {
        "kty": "OKP",
        "crv": "Ed448",
        "x": b64url(key.public_key().public_bytes_raw()),
        "kid": "k",
    }
    here = keyed(place, jwk, public_jwk(ED, kid="ed"), algorithms=["EdDSA"])
    token = here.make(key=ED, alg="EdDSA", header={"kid": "ed"})

    assert ACCEPTED == await here.outcome(token)
    assert here.reason("key_unknown") == await here.outcome(resigned(token, key.sign, {"kid": "k"}))
    assert here.reason("signature_invalid") == await here.outcome(resigned(token, key.sign))


@pytest.mark.row("JW-06")
@at_each_place
@pytest.mark.parametrize("listed", ["Ed25519", "EdDSA"])
@pytest.mark.parametrize("written", ["Ed25519", "EdDSA"])
async def test_each_name_of_ed25519_is_accepted_where_it_is_listed(place, listed, written):
    """RFC 9864: two names of one algorithm, each allowed by its own name."""
    here = keyed(place, public_jwk(ED), algorithms=[listed])
    expected = ACCEPTED if written == listed else here.reason("algorithm_not_allowed")

    assert expected == await here.outcome(here.make(key=ED, alg=written))
