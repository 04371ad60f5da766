"""Attack: let the header point to a key, ask for an extension, or be something else than a JWS."""

import json
import time
import zlib

import pytest

from tests.jwts import (
    STRANGERS_KEY,
    b64url,
    public_jwk,
    resigned,
    signature,
    unverified_header,
)
from tests.places import ACCEPTED, at_each_place

STRANGERS_JWK = public_jwk(STRANGERS_KEY, alg="ES256")
POINTERS = {
    "jku": "https://evil.test/jwks",
    "x5u": "https://evil.test/cert",
    "jwk": STRANGERS_JWK,
    "x5c": ["MIIB"],
    "x5t": "AAAA",
    "x5t#S256": "AAAA",
}


@pytest.mark.row("ATK-HDR-01", "JW-11", "CVE-2026-27962")
@at_each_place
@pytest.mark.parametrize("name", POINTERS)
@pytest.mark.parametrize("kid", ["the-good-one", "the-attackers", "absent"])
async def test_a_key_in_the_header_is_never_used(place, name, kid):
    """ATK-HDR-01: the attacker's own key, by value or by reference, with a good signature by it."""
    good = place.make()
    header = unverified_header(good) | {name: POINTERS[name]}
    if kid == "the-attackers":
        header["kid"] = STRANGERS_JWK["kid"]
    elif kid == "absent":
        del header["kid"]
    raw = json.dumps(header).encode()
    forged = resigned(good, lambda text: signature(text, STRANGERS_KEY, "ES256"), raw)
    expected = "key_unknown" if kid == "the-attackers" else "signature_invalid"

    assert place.reason(expected) == await place.outcome(forged)


@pytest.mark.row("ATK-HDR-01", "JW-24")
@at_each_place
@pytest.mark.parametrize("name", POINTERS)
async def test_a_pointer_in_an_honest_token_is_ignored(place, name):
    """ATK-HDR-01: refused, unless the issuer's own key made the signature."""
    assert ACCEPTED == await place.outcome(place.make(header={name: POINTERS[name]}))


def jwe(header: dict, ciphertext: bytes = b"x" * 32) -> str:
    """The five parts of a JWE. RFC 7516 §7.1."""
    parts = [json.dumps(header).encode(), b"k" * 32, b"i" * 12, ciphertext, b"t" * 16]
    return ".".join(b64url(part) for part in parts)


def nested(depth: int) -> str:
    """A JWE in a JWE in a JWE."""
    token = jwe({"alg": "dir", "enc": "A128GCM"})
    for _ in range(depth):
        token = jwe({"alg": "dir", "enc": "A128GCM", "cty": "JWT"}, token.encode())[:16_000]
    return token


BOMB = zlib.compress(bytes(10_000_000), 9)[2:-4]


@pytest.mark.row(
    *("ATK-HDR-03", "JW-07", "JW-14", "CVE-2024-28102", "CVE-2024-33664", "CVE-2024-28180"),
    "CVE-2023-6681",
)
@at_each_place
@pytest.mark.parametrize(
    "token",
    [
        pytest.param(jwe({"alg": "dir", "enc": "A256GCM", "zip": "DEF"}, BOMB), id="zip-bomb"),
        pytest.param(
            jwe({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 10**9, "p2s": "AAAA"}),
            id="pbes2-of-a-billion",
        ),
        pytest.param(jwe({"alg": "dir", "enc": "A128GCM"}), id="dir"),
        pytest.param(jwe({"alg": "RSA1_5", "enc": "A128CBC-HS256"}), id="rsa1_5"),
        pytest.param(
            jwe(
                {
                    "alg": "ECDH-ES",
                    "enc": "A128GCM",
                    "epk": {"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"},
                }
            ),
            id="ecdh-es-off-its-curve",
        ),
        pytest.param(nested(50), id="nested-50-times"),
    ],
)
async def test_a_jwe_is_refused_without_any_work_on_it(place, token):
    """ATK-HDR-03, JW-07: nothing is decrypted, inflated or derived."""
    began = time.process_time()
    outcomes = {await place.outcome(token) for _ in range(20)}

    assert {place.reason("malformed")} == outcomes
    assert time.process_time() - began < 1


@pytest.mark.row("ATK-HDR-03", "JW-07", "CVE-2024-28102")
@at_each_place
@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"zip": "DEF"}, id="zip"),
        pytest.param({"enc": "A256GCM"}, id="enc"),
        pytest.param({"alg": "dir", "enc": "A256GCM"}, id="dir"),
        pytest.param({"alg": "PBES2-HS256+A128KW", "p2c": 10**9}, id="pbes2"),
    ],
)
async def test_a_jws_that_calls_itself_a_jwe_is_refused(place, header):
    """JW-07: told apart by what it says as well as by its five parts."""
    assert await place.outcome(place.make(header=header)) in {
        place.reason("malformed"),
        place.reason("algorithm_not_allowed"),
    }


@pytest.mark.row("CVE-2025-61920", "ATK-JSON-02")
@at_each_place
async def test_the_header_has_a_cap_of_its_own(place):
    """CVE-2025-61920: 1 KiB, before it is decoded; the largest one passes."""
    room = 1024 - len(
        json.dumps(unverified_header(place.make()) | {"x": ""}, separators=(",", ":"))
    )

    assert ACCEPTED == await place.outcome(place.make(header={"x": "x" * room}))
    assert place.reason("malformed") == await place.outcome(
        place.make(header={"x": "x" * (room + 1)})
    )
