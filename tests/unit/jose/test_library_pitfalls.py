"""What the libraries below us do, and what our seam does instead. Promises §8, a test for each row.

Where it costs nothing, the pitfall itself is shown first: so it is seen when a library mends it.
"""

import ast
import base64
import json
import zlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from joserfc import jws as library_jws
from joserfc import jwt as library_jwt
from joserfc.errors import JoseError as LibraryError
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from broker.jose import base64url
from broker.jose.compact import parse_compact
from broker.jose.errors import AlgorithmNotAllowed, JoseError, KeyUnknown, Malformed
from broker.jose.json import parse_json
from broker.jose.jwk import load_keys
from broker.jose.verify import verify_signature
from tests.jwts import b64url, compact, jwt, public_jwk, signature
from tests.vectors import jws_texts, make_jws

BROKER = Path(__file__).parents[3] / "broker"
P256 = ec.generate_private_key(ec.SECP256R1())
JWK = public_jwk(P256, alg="ES256")
LIBRARY_KEY = ECKey.import_key(JWK)


def ours(token: str, *jwks, algorithms=("ES256",)) -> dict:
    """The claims by our seam."""
    keys = load_keys({"keys": list(jwks or (JWK,))}, algorithms)
    return verify_signature(parse_compact(token), keys, algorithms).claims


def library(token: str, key=LIBRARY_KEY, algorithms=("ES256",)) -> dict:
    """The claims by the library alone."""
    return library_jwt.decode(token, key, algorithms=list(algorithms)).claims


# What joserfc does when it decodes.


def test_decode_checks_no_claim_so_nobody_calls_it():
    """The library decodes what expired in 1970; here claims are judged in ``tokens/verify.py``."""
    assert {"exp": 1} == library(jwt({"exp": 1}, key=P256))
    calls = {
        f"{path.relative_to(BROKER)}: {alias.name}"
        for path in BROKER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("joserfc")
        for alias in node.names
        if node.module in {"joserfc", "joserfc.jwt", "joserfc.jwe"}
        or alias.name in {"decode", "deserialize_compact", "jwt", "jws", "jwe"}
    }

    assert set() == calls


@pytest.mark.parametrize("part", range(3), ids=["header", "payload", "signature"])
def test_padding_is_refused_by_us_whatever_the_library_does(part):
    """Wycheproof tcId 367, 370: three parts by regular expression, first."""
    header = b'{"alg":"ES256","x":""}'
    parts = [b64url(header), b64url(b"{}"), ""]
    parts[part] += "=" * (-len(parts[part]) % 4)
    parts[2] = b64url(signature(".".join(parts[:2]).encode(), P256, "ES256")) + "==" * (part == 2)

    assert "=" in parts[part]
    with pytest.raises(Malformed):
        ours(".".join(parts))


def test_algorithms_are_always_given():
    """The library has defaults, HS256 among them; here there is no way to leave them out."""
    secret = OctKey.import_key("x" * 32)
    forged = library_jwt.encode({"alg": "HS256"}, {"a": 1}, secret)
    keys = load_keys({"keys": [JWK]}, ["ES256"])

    assert {"a": 1} == library_jwt.decode(forged, secret).claims
    with pytest.raises(TypeError):
        verify_signature(parse_compact(forged), keys)
    with pytest.raises(AlgorithmNotAllowed):
        ours(forged, algorithms=("HS256",))


@pytest.mark.filterwarnings("ignore")
def test_none_does_not_pass_where_it_is_listed():
    """The library lets it, if it is on the list."""
    header = b'{"alg":"none"}'
    unsigned = f"{b64url(header)}.{b64url(b'{}')}."

    assert b"{}" == library_jws.deserialize_compact(unsigned, None, ["none"]).payload
    with pytest.raises(JoseError):
        ours(unsigned, algorithms=("none",))
    with pytest.raises(AlgorithmNotAllowed):
        ours(unsigned + "AA", algorithms=("none", "ES256"))


@pytest.mark.parametrize(
    ("payload", "read"),
    [
        pytest.param(b'{"sub":"a","sub":"b"}', {"sub": "b"}, id="last-duplicate-wins"),
        pytest.param(b'{"exp":1e400}', {"exp": float("inf")}, id="infinity"),
        pytest.param('{"sub":"a"}'.encode("utf-16"), {"sub": "a"}, id="utf-16"),
        pytest.param(b'\xef\xbb\xbf{"sub":"a"}', {"sub": "a"}, id="byte-order-mark"),
        pytest.param(b'{"sub":"\\ud800"}', {"sub": "\ud800"}, id="lone-surrogate"),
    ],
)
def test_the_payload_is_read_strictly(payload, read):
    """The library's reader understands all of these, and some otherwise than the next reader."""
    token = compact({"alg": "ES256", "kid": JWK["kid"]}, payload, P256, "ES256")

    assert read == library(token)
    with pytest.raises(Malformed):
        ours(token)


def test_nan_is_no_number_of_json():
    """Likewise."""
    token = compact({"alg": "ES256"}, b'{"exp":NaN}', P256, "ES256")

    assert library(token)["exp"] != library(token)["exp"]
    with pytest.raises(Malformed):
        ours(token)


def test_the_header_is_read_strictly():
    """The library takes the last of two members of one name."""
    header = b'{"alg":"none","alg":"ES256"}'
    token = compact(header, {}, P256, "ES256")

    assert {} == library(token)
    with pytest.raises(Malformed):
        ours(token)


@pytest.mark.parametrize("crit", [[], ["alg"]])
def test_no_crit_is_accepted(crit):
    """The library accepts these two."""
    token = jwt({}, key=P256, header={"crit": crit})

    assert {} == library(token)
    with pytest.raises(Malformed):
        ours(token)


@pytest.mark.parametrize("name", ["jku", "jwk", "x5u", "x5c"])
def test_a_key_in_the_header_is_never_used(name):
    """The library lets them pass unnoticed; so they may be there, and are nothing."""
    stranger = ec.generate_private_key(ec.SECP256R1())
    value = {"jwk": public_jwk(stranger), "x5c": ["AA"]}.get(name, "https://evil.test/")
    with pytest.raises(KeyUnknown):
        ours(jwt({}, key=stranger, header={name: value}))

    assert {} == ours(jwt({}, key=P256, header={name: value}))


def test_header_parameters_that_are_not_understood_are_ignored():
    """RFC 7515 §4: the library refuses them."""
    token = jwt({}, key=P256, header={"foo": 1})
    with pytest.raises(LibraryError):
        library(token)

    assert {} == ours(token)


def test_the_caps_are_our_own():
    """The library's are 512 bytes of header, 128,000 of payload: ours 1 KiB, and 16 KiB in all."""
    long_header = jwt({}, key=P256, header={"kid": JWK["kid"], "x5t": "x" * 700})
    with pytest.raises(LibraryError):
        library(long_header)
    long_payload = jwt({"x": "x" * 20_000}, key=P256)

    assert {} == ours(long_header)
    assert 20_000 == len(library(long_payload)["x"])
    with pytest.raises(Malformed):
        ours(long_payload)


def test_a_signature_of_the_largest_key_is_within_the_caps():
    """Of 4096 bits: 683 characters."""
    key = rsa.generate_private_key(65537, 4096)
    token = jwt({"a": 1}, key=key, alg="RS512")

    assert {"a": 1} == ours(token, public_jwk(key, alg="RS512"), algorithms=("RS512",))


@pytest.mark.row("CVE-2025-65015")
def test_no_error_repeats_what_was_sent():
    """CVE-2025-65015: the library's texts hold the kid and the token; ours are constants."""
    canary = "canary-" * 20
    texts = []
    for token in (
        jwt({}, key=P256, header={"kid": canary}),
        jwt({}, key=P256, header={"alg": canary}),
        jwt({}, key=P256, header={"crit": [canary]}),
        jwt({"x": canary * 200}, key=P256),
        f"{canary}.{canary}.{canary}",
        compact({"alg": "ES256"}, f'{{"{canary}":1,"{canary}":1}}'.encode(), P256, "ES256"),
    ):
        with pytest.raises(JoseError) as caught:
            ours(token)
        error: BaseException | None = caught.value
        while error is not None:
            texts.append(str(error))
            error = error.__cause__

    assert [] == [text for text in texts if "canary" in text or len(text) > 64]


def test_jwe_is_not_there_at_all():
    """PBES2, zip and the rest of RFC 7516 cannot be reached: a JWE has five parts."""
    bomb = zlib.compress(bytes(10**6))
    header = b64url(b'{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","zip":"DEF","p2c":1000000000}')
    with pytest.raises(Malformed):
        parse_compact(f"{header}.AA.AA.{b64url(bomb)}.AA")


# What joserfc does with keys.


@pytest.mark.parametrize(
    "jwk",
    [
        pytest.param(make_jws.rsa_jwk(make_jws.RSA_1024), id="rsa-1024"),
        pytest.param(
            make_jws.rsa_jwk(make_jws.RSA, n=make_jws.number(jws_texts._roca())), id="roca"
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_weak_keys_are_left_out_though_the_library_takes_them(jwk):
    """JWK tcId 7, 8."""
    assert RSAKey.import_key({name: jwk[name] for name in ("kty", "n", "e")})
    assert 0 == len(load_keys({"keys": [jwk]}, ["RS256"]))


@pytest.mark.filterwarnings("ignore")
def test_a_set_that_mixes_secrets_and_public_keys_is_not_believed():
    """JWK tcId 1, 10 to 12: the library takes it, and secrets of three bytes."""
    mixed = {"keys": [JWK, {"kty": "oct", "k": b64url(b"abc")}]}

    assert 2 == len(KeySet.import_key_set(mixed).keys)
    with pytest.raises(Malformed):
        load_keys(mixed, ["ES256"])


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(JWK | {"crv": "P-255"}, id="unknown-crv"),
        pytest.param(JWK | {"y": b64url(bytes(31) + b"\1")}, id="off-curve"),
        pytest.param({name: JWK[name] for name in ("kty", "crv", "x")}, id="missing-member"),
        pytest.param(JWK | {"x": "!"}, id="bad-base64"),
    ],
)
def test_one_bad_key_does_not_spoil_the_set(bad):
    """The library raises for all of them, each time another exception."""
    both = {"keys": [bad | {"kid": "bad"}, JWK]}
    with pytest.raises(Exception):  # noqa: B017 — of several types, which is the pitfall
        KeySet.import_key_set(both)

    assert {JWK["kid"]} == load_keys(both, ["ES256"]).kids


def test_the_key_is_chosen_by_us():
    """The library takes the first of two, any where there is one, and a bare one in any case."""
    other = public_jwk(ec.generate_private_key(ec.SECP256R1()), kid="k")
    mine = public_jwk(P256, kid="k")
    named, wrongly = (jwt({}, key=P256, header={"kid": kid}) for kid in ("k", "wrong"))

    assert {} == library(named, KeySet.import_key_set({"keys": [mine, other]}))
    assert {} == library(wrongly)
    for token, keys in ((named, (mine, other)), (wrongly, (mine,))):
        with pytest.raises(KeyUnknown):
            ours(token, *keys)


@pytest.mark.filterwarnings("ignore")
def test_ed448_does_not_pass_under_eddsa():
    """The library lets it."""
    key = ed448.Ed448PrivateKey.generate()
    jwk = {
        "kty": "OKP",
        "crv": "Ed448",
        "x": b64url(key.public_key().public_bytes_raw()),
        "kid": "k",
    }
    header = b'{"alg":"EdDSA","kid":"k"}'
    signing_input = f"{b64url(header)}.{b64url(b'{}')}"
    token = f"{signing_input}.{b64url(key.sign(signing_input.encode()))}"

    assert {} == library(token, OKPKey.import_key(jwk), ("EdDSA",))
    with pytest.raises(KeyUnknown):
        ours(token, jwk, algorithms=("EdDSA", "Ed25519"))


def test_ed25519_of_small_order_is_left_out_though_the_library_takes_it():
    """RFC 8032 §5.1.7: under the identity one signature fits every message."""
    identity = make_jws.SMALL_ORDER["order-1"]
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64url(identity), "kid": "k"}

    assert ed25519.Ed25519PublicKey.from_public_bytes(identity)
    assert OKPKey.import_key(jwk)
    assert 0 == len(load_keys({"keys": [jwk]}, ["Ed25519"]))


# What Python itself does.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param('{"a":1,"a":2}', {"a": 2}, id="duplicates"),
        pytest.param("[Infinity]", [float("inf")], id="infinity"),
        pytest.param("[1e400]", [float("inf")], id="too-large"),
        pytest.param('["\\ud800"]', ["\ud800"], id="lone-surrogate"),
        pytest.param('["\\u0000"]', ["\0"], id="nul"),
    ],
)
def test_json_is_read_strictly_though_python_s_reader_is_not(text, value):
    """Python ``json``: accepts all of these."""
    assert value == json.loads(text)
    with pytest.raises(Malformed):
        parse_json(text.encode())


def test_depth_is_no_recursion_error():
    """Python ``json``: depth and size are checked first."""
    with pytest.raises(RecursionError):
        json.loads("[" * 10**5)
    with pytest.raises(Malformed):
        parse_json(b"[" * 10**5)


def test_a_number_of_many_digits_is_no_value_error_of_python_s():
    """Python ``int``: refuses beyond 4,300 digits, with a text of its own."""
    with pytest.raises(ValueError, match="4300"):
        json.loads("9" * 5000)
    with pytest.raises(Malformed):
        parse_json(b"9" * 5000)


@pytest.mark.parametrize("text", ["Z!m9v", "Zm 9v", "Zm\n9v", "Zm9v====", "Zm9v=Zm9v"])
def test_foreign_characters_are_not_skipped(text):
    """Python ``base64``: ``urlsafe_b64decode`` skips them."""
    assert base64.urlsafe_b64decode(text + "===").startswith(b"foo")
    with pytest.raises(Malformed):
        base64url.decode(text)


def test_unused_bits_make_no_second_spelling():
    """Python ``base64``: ignores them, so one value would have several texts."""
    assert base64.urlsafe_b64decode("Zg==") == base64.urlsafe_b64decode("Zh==")
    with pytest.raises(Malformed):
        base64url.decode("Zh")
