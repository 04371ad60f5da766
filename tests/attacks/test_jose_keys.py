"""Attack: name a key so that the broker takes the wrong one, or does something with the name."""

import logging
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from broker.jose.jwk import MAX_TRIED, load_keys
from tests.jwts import (
    ACTS,
    BROKER_ISSUER,
    IDP,
    KEYS,
    STRANGERS_KEY,
    b64url,
    public_jwk,
    signature,
    subject_jwt,
)
from tests.places import ACCEPTED, at_each_place, keyed
from tests.verification import OWN_KEY, refused, subject, verifier

P256 = ec.generate_private_key(ec.SECP256R1())
HOSTILE = {
    "path": "../../../../dev/null",
    "proc": "../../proc/self/environ",
    "sql": "' OR 1=1--",
    "union": "x' UNION SELECT 'key';--",
    "shell": "$(id)",
    "backticks": "`id`",
    "pipe": "| id",
    "newline": "k\r\nSet-Cookie: x=y",
    "ansi": "\x1b[2J\x1b]0;owned\x07",
    "ldap": "*)(uid=*))(|(uid=*",
    "url": "https://evil.test/jwks",
    "template": "{{7*7}}${7*7}#{7*7}%n%s",
    "json": '","kid":"other',
    "right-to-left": "\u202ek",
    "dotted": "__proto__",
    "empty-looking": "\u200b",
}


@pytest.mark.row("ATK-KID-01", "JW-11")
@at_each_place
@pytest.mark.parametrize("kid", [pytest.param(value, id=name) for name, value in HOSTILE.items()])
async def test_a_kid_is_a_name_and_nothing_else(place, kid, caplog):
    """RFC 8725 §3.10: looked up in a table, and found or not; in no log and in no error."""
    caplog.set_level(logging.DEBUG)

    assert place.reason("key_unknown") == await place.outcome(place.make(kid=kid))
    assert kid not in caplog.text


@pytest.mark.row("ATK-KID-01", "JW-11")
@at_each_place
@pytest.mark.parametrize(
    "kid",
    [
        pytest.param("k" * 10_000, id="10-kb"),
        pytest.param("k\0", id="nul"),
        pytest.param("\ud800", id="lone-surrogate"),
        pytest.param("", id="empty"),
        *(
            pytest.param(value, id=type(value).__name__)
            for value in (1, 1.5, True, ["k"], {"k": 1})
        ),
    ],
)
async def test_a_kid_that_is_no_name_makes_no_token(place, kid):
    """ATK-KID-01: before anything is looked up."""
    assert place.reason("malformed") == await place.outcome(place.make(header={"kid": kid}))


@pytest.mark.row("ATK-KID-01")
@at_each_place
async def test_a_null_kid_is_no_kid_at_all_and_refused(place):
    """ATK-KID-01: nothing that is there is taken for absent."""
    assert place.reason("malformed") == await place.outcome(place.make(header={"kid": None}))


@pytest.mark.row("ATK-KID-02", "JW-09", "CVE-2026-27962")
async def test_the_kid_of_another_issuers_key_is_unknown():
    """ATK-KID-02: the key is the other issuer's, the signature is good, and it is no use."""
    token = subject_jwt(key=KEYS[ACTS])

    assert "subject_token.key_unknown" == await refused(subject(token))
    assert "acts" == (await subject(subject_jwt(iss=ACTS))).local_subject.partition(":")[0]


@pytest.mark.row("ATK-KID-02", "JW-09")
async def test_one_kid_at_two_issuers_is_two_keys():
    """ATK-KID-02: found by ``iss`` and ``kid`` together, in either order of configuration."""
    rules = {
        issuer: {"jwks": {"keys": [public_jwk(KEYS[issuer], kid="same")]}} for issuer in (IDP, ACTS)
    }
    using = verifier(rules=rules)
    outcomes = []
    for issuer in (IDP, ACTS):
        good = subject_jwt(iss=issuer, kid="same")
        crossed = subject_jwt(iss=issuer, kid="same", key=KEYS[ACTS if issuer == IDP else IDP])
        assert (await subject(good, verifier=using)).asserted_by == issuer
        outcomes.append(await refused(subject(crossed, verifier=using)))

    assert ["subject_token.signature_invalid"] * 2 == outcomes


@pytest.mark.row("ATK-KID-02", "JW-09")
@pytest.mark.parametrize("iss", [IDP, ACTS])
async def test_the_kid_of_our_own_key_opens_no_other_door(iss):
    """ATK-KID-02: whoever names our key must have been signed by it, and as us."""
    own = public_jwk(OWN_KEY)["kid"]
    borrowed = subject_jwt(iss=iss, kid=own)
    as_us = subject_jwt(iss=BROKER_ISSUER, kid=own, key=STRANGERS_KEY, typ="at+jwt")

    assert "subject_token.key_unknown" == await refused(subject(borrowed))
    assert "subject_token.signature_invalid" == await refused(subject(as_us))


@pytest.mark.row("ATK-KID-02", "JW-20")
@at_each_place
async def test_a_key_for_encryption_signs_nothing(place):
    """ATK-KID-02, RFC 7517 §4.2: though it has the right kid and made the signature."""
    here = keyed(
        place,
        public_jwk(P256, kid="enc", use="enc"),
        public_jwk(STRANGERS_KEY, kid="sig"),
        algorithms=["ES256"],
    )

    assert here.reason("key_unknown") == await here.outcome(here.make(key=P256, kid="enc"))
    assert ACCEPTED == await here.outcome(here.make(key=STRANGERS_KEY, kid="sig"))


def without_kid(place, key, alg="ES256") -> str:
    """A good token of this place whose header names no key."""
    token = place.make(key=key, alg=alg)
    header = f'{{"alg":"{alg}","typ":"JWT"}}'.encode()
    _, payload, _ = token.split(".")
    signing_input = f"{b64url(header)}.{payload}"
    return f"{signing_input}.{b64url(signature(signing_input.encode(), key, alg))}"


@pytest.mark.row("ATK-KID-02")
@at_each_place
@pytest.mark.parametrize("position", range(MAX_TRIED + 2))
async def test_without_a_kid_a_few_keys_are_tried_and_no_more(place, position):
    """ATK-KID-02: so a token costs a bounded number of verifications."""
    others = [ec.generate_private_key(ec.SECP256R1()) for _ in range(MAX_TRIED + 2)]
    others[position] = P256
    keys = [public_jwk(key, kid=f"k{index}") for index, key in enumerate(others)]
    here = keyed(place, *keys, algorithms=["ES256"])
    expected = ACCEPTED if position < MAX_TRIED else here.reason("signature_invalid")

    assert expected == await here.outcome(without_kid(here, P256))


@pytest.mark.row("ATK-KID-02", "JW-05")
@at_each_place
async def test_without_a_kid_only_keys_of_the_algorithm_are_tried(place):
    """ATK-KID-02: keys of other kinds use up nothing of the bound."""
    rsa_keys = [rsa.generate_private_key(65537, 2048) for _ in range(2)] * 3
    keys = [public_jwk(key, kid=f"r{index}") for index, key in enumerate(rsa_keys)]
    here = keyed(place, *keys, public_jwk(P256, kid="e"), algorithms=["ES256", "RS256"])

    assert ACCEPTED == await here.outcome(without_kid(here, P256))


@pytest.mark.row("ATK-KID-02")
def test_a_set_of_one_key_does_not_forgive_a_wrong_kid():
    """Where a library takes the only key there is, a wrong name stays wrong."""
    keys = load_keys({"keys": [public_jwk(P256, kid="k")]}, ["ES256"])

    assert [1, 0, 1] == [len(keys.candidates(kid, "ES256")) for kid in ("k", "K", None)]


@pytest.mark.row("ATK-DOS-01")
@at_each_place
async def test_bad_tokens_are_refused_before_they_cost_anything(place):
    """ATK-DOS-01: 50,000 characters, and the largest key there may be, 200 times."""
    began = time.process_time()
    for _ in range(200):
        assert place.reason("malformed") == await place.outcome("A" * 50_000)
        assert place.reason("malformed") == await place.outcome("." * 50_000)

    assert time.process_time() - began < 2


@pytest.mark.row("ATK-DOS-01", "JW-08", "JW-22")
@pytest.mark.parametrize(
    ("bits", "usable"), [(1024, 0), (1536, 0), (2048, 1), (4096, 1), (4104, 0), (8192, 0)]
)
def test_a_key_has_a_ceiling_as_well_as_a_floor(bits, usable):
    """RFC 7518 §3.3; ours above: PS512 with a key of 8192 bits is a forged token's price."""
    public = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
    n = public.n if bits == 2048 else (1 << bits - 1) + _odd_without_small_factors(bits)
    jwk = {
        "kty": "RSA",
        "e": "AQAB",
        "n": _number(n),
        "kid": "k",
        "alg": "PS512",
    }

    assert usable == len(load_keys({"keys": [jwk]}, ["PS512"]))


def _odd_without_small_factors(bits: int) -> int:
    small = [p for p in range(3, 200, 2) if all(p % d for d in range(3, p, 2))]
    top = 1 << bits - 1
    return next(k for k in range(1, 10_000, 2) if all((top + k) % p for p in small))


def _number(value: int) -> str:
    return b64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
