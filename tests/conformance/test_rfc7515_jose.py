"""RFC 7515, 7517 and 8037: what a compact JWS and a key set are. At our seam, ``broker.jose``."""

import json
from pathlib import Path

import pytest

from broker.jose.algorithms import ALGORITHMS
from broker.jose.base64url import decode
from broker.jose.compact import normalize_typ, parse_compact
from broker.jose.errors import JoseError, KeyUnknown, Malformed
from broker.jose.jwk import load_keys
from broker.jose.verify import verify_signature
from tests.jwts import IDP, KEYS, OTHER, b64url, compact, public_jwk, subject_jwt
from tests.places import ACCEPTED, at_each_place

RFC = json.loads((Path(__file__).parents[1] / "vectors" / "rfc.json").read_text("utf-8"))
ALL = tuple(ALGORITHMS)


@pytest.mark.parametrize("example", RFC["verified"], ids=lambda example: example["source"])
def test_appendix_a_the_examples_verify(example):
    """RFC 7515 appendix A.2, A.3: and say what the RFC says they say."""
    keys = load_keys({"keys": [example["jwk"]]}, [example["alg"]])
    verified = verify_signature(parse_compact(example["jws"]), keys, [example["alg"]])

    assert {
        "iss": "joe",
        "exp": 1300819380,
        "http://example.com/is_root": True,
    } == verified.claims


@pytest.mark.parametrize("example", RFC["signatures"], ids=lambda example: example["source"])
def test_appendix_a_the_signatures_of_the_other_examples_verify(example):
    """RFC 7515 A.4, RFC 8037 A.5: their payload is no claims set, so no token for us."""
    (key,) = load_keys({"keys": [example["jwk"]]}, [example["alg"]]).keys
    signing_input, _, signature = example["jws"].rpartition(".")

    assert key.algorithm.model.verify(signing_input.encode(), decode(signature), key.key)
    assert not key.algorithm.model.verify(signing_input.encode() + b"x", decode(signature), key.key)
    with pytest.raises(Malformed):
        parse_compact(example["jws"])


@pytest.mark.row("JW-01", "JW-06", "JW-23", "CVE-2026-28802")
@pytest.mark.parametrize("example", RFC["refused"], ids=lambda example: example["source"])
def test_appendix_a_what_we_do_not_take_is_refused(example):
    """RFC 7515 A.1, A.5, A.7: no HMAC, no unsecured JWS, no JSON serialization."""
    keys = load_keys({"keys": [each["jwk"] for each in RFC["verified"]]}, ALL)
    with pytest.raises(JoseError):
        verify_signature(parse_compact(example["jws"]), keys, ALL)


@pytest.mark.row("JW-01", "TX-2.1-25")
@at_each_place
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda token: token + "=", id="padding"),
        pytest.param(lambda token: token.replace(".", "=.", 1), id="padding-inside"),
        pytest.param(lambda token: f" {token}", id="leading-space"),
        pytest.param(lambda token: f"{token} ", id="trailing-space"),
        pytest.param(lambda token: f"{token}\r\n", id="trailing-newline"),
        pytest.param(lambda token: f"Bearer {token}", id="bearer"),
        pytest.param(lambda token: f'"{token}"', id="quotes"),
        pytest.param(lambda token: token.rpartition(".")[0], id="two-parts"),
        pytest.param(lambda token: f"{token}.", id="four-parts"),
        pytest.param(lambda token: f"{token}.e30.e30", id="five-parts"),
        pytest.param(lambda token: f"{token} {token}", id="two-tokens"),
        pytest.param(lambda token: token.replace(".", "..", 1), id="empty-payload"),
        pytest.param(lambda token: token.rpartition(".")[0] + ".", id="no-signature"),
        pytest.param(lambda token: token[:9] + "+" + token[10:], id="foreign-character"),
        pytest.param(lambda token: token[:9] + "\u0430" + token[10:], id="not-ascii"),
        pytest.param(lambda token: token[:9] + "\ud800" + token[10:], id="lone-surrogate"),
        pytest.param(
            lambda token: json.dumps(
                dict(zip(("protected", "payload", "signature"), token.split("."), strict=True))
            ),
            id="json-serialization",
        ),
        pytest.param(lambda _: "opaque" * 5, id="opaque"),
    ],
)
async def test_s7_1_three_parts_of_base64url_and_nothing_else(place, change):
    """RFC 7515 §7.1: the token itself is accepted, in its one spelling."""
    token = place.make()

    assert place.reason("malformed") == await place.outcome(change(token))
    assert ACCEPTED == await place.outcome(token)


@pytest.mark.row("JW-02", "ATK-HDR-02", "CVE-2025-59420", "CVE-2026-32597", "CVE-2026-48990")
@at_each_place
@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"crit": ["exp"], "exp": 1}, id="crit-exp"),
        pytest.param({"crit": ["foo"], "foo": 1}, id="crit-unknown"),
        pytest.param({"crit": ["absent"]}, id="crit-of-what-is-absent"),
        pytest.param({"crit": ["alg"]}, id="crit-registered-name"),
        pytest.param({"crit": []}, id="crit-empty"),
        pytest.param({"crit": [1]}, id="crit-number"),
        pytest.param({"crit": "exp"}, id="crit-text"),
        pytest.param({"crit": None}, id="crit-null"),
        pytest.param({"crit": ["foo", "foo"], "foo": 1}, id="crit-twice"),
        pytest.param({"b64": False}, id="b64-false"),
        pytest.param({"b64": False, "crit": ["b64"]}, id="b64-false-critical"),
        pytest.param({"b64": True}, id="b64-true"),
    ],
)
async def test_s4_1_11_no_extension_is_understood(place, header):
    """RFC 7515 §4.1.11: whatever must be understood is not."""
    assert place.reason("malformed") == await place.outcome(place.make(header=header))


@pytest.mark.row("JW-24")
@at_each_place
async def test_s4_what_is_not_critical_is_ignored(place):
    """RFC 7515 §4: a private header parameter, and those that point to keys."""
    header = {"foo": {"bar": [1]}, "jku": "https://evil.test/", "x5t": "x", "cty": "JWT"}

    assert ACCEPTED == await place.outcome(place.make(header=header))


@pytest.mark.row("JW-03", "ATK-JSON-01", "CVE-2025-53864")
@pytest.mark.parametrize(
    ("header", "claims"),
    [
        pytest.param(b'{"alg":"ES256","alg":"ES256"}', b"{}", id="alg"),
        pytest.param(b'{"alg":"ES256","\\u0061lg":"none"}', b"{}", id="alg-by-an-escape"),
        pytest.param(b'{"alg":"ES256"}', b'{"sub":"a","sub":"b"}', id="sub"),
        pytest.param(b'{"alg":"ES256"}', b'{"sub":"a","\\u0073ub":"b"}', id="sub-by-an-escape"),
        pytest.param(b'{"alg":"ES256"}', b'{"exp":1,"exp":2}', id="exp"),
        pytest.param(b'{"alg":"ES256"}', b'{"act":{"sub":"a","sub":"b"}}', id="inside-act"),
    ],
)
def test_s4_a_repeated_member_is_refused(header, claims):
    """RFC 7515 §4, RFC 7519 §4: the text lets the last one win, we let none."""
    with pytest.raises(Malformed):
        parse_compact(compact(header, claims, KEYS[IDP], "ES256"))


@pytest.mark.row("JW-03")
def test_s4_a_repeated_member_of_a_key_spoils_the_set():
    """RFC 7517 §4: no two readers may find two keys in one."""
    key = json.dumps(public_jwk(KEYS[IDP])).removesuffix("}")
    with pytest.raises(Malformed):
        load_keys(f'{{"keys":[{key},"x":"AA"}}]}}'.encode(), ["ES256"])


@pytest.mark.row("JW-04", "AT-4-01")
@pytest.mark.parametrize(
    ("typ", "short"),
    [
        ("at+jwt", "at+jwt"),
        ("AT+JWT", "at+jwt"),
        ("application/at+jwt", "at+jwt"),
        ("Application/At+Jwt", "at+jwt"),
        ("JWT", "jwt"),
        ("application/x/y", "application/x/y"),
        ("text/at+jwt", "text/at+jwt"),
        ("application/application/at+jwt", "application/application/at+jwt"),
        (None, None),
    ],
)
def test_s4_1_9_typ_is_short_for_a_media_type_and_has_no_case(typ, short):
    """RFC 7515 §4.1.9."""
    assert short == normalize_typ(typ)


@pytest.mark.row("JW-04", "AT-4-01")
@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT", "Application/AT+jwt"])
@at_each_place
async def test_s4_1_9_both_spellings_are_treated_alike(place, typ):
    """RFC 9068 §4: accepted as subject and actor token, and never as a client assertion."""
    expected = place.reason("type_not_accepted") if place.name == "client" else ACCEPTED

    assert expected == await place.outcome(place.make(typ=typ))


@pytest.mark.row("JW-19")
def test_s5_a_set_is_read_key_by_key():
    """RFC 7517 §5: what is unknown, broken or not for signatures is left out, and no more."""
    good = public_jwk(KEYS[IDP], kid="good", unknown={"member": 1})
    bad = [
        {"kty": "XX", "kid": "1"},
        good | {"kid": "2", "crv": "P-255"},
        good | {"kid": "3", "y": b64url(b"\1" * 32)},
        {name: value for name, value in good.items() if name != "y"} | {"kid": "4"},
        good | {"kid": "5", "x": "+/=="},
        good | {"kid": "6", "use": "enc"},
        good | {"kid": "7", "key_ops": ["sign"]},
        "text",
        None,
        {"kty": ["EC"]},
    ]

    assert {"good"} == load_keys({"keys": [*bad, good, *bad]}, ALL).kids


@pytest.mark.row("JW-20")
@pytest.mark.parametrize(
    ("members", "used"),
    [
        pytest.param({"use": "sig"}, True, id="use-sig"),
        pytest.param({"use": "enc"}, False, id="use-enc"),
        pytest.param({"use": "SIG"}, False, id="use-case"),
        pytest.param({"key_ops": ["verify"]}, True, id="ops-verify"),
        pytest.param({"key_ops": ["verify", "sign"]}, True, id="ops-verify-and-more"),
        pytest.param({"key_ops": ["sign"]}, False, id="ops-without-verify"),
        pytest.param({"key_ops": []}, False, id="ops-empty"),
        pytest.param({"use": "enc", "key_ops": ["verify"]}, False, id="use-against-ops"),
        pytest.param({"use": "sig", "key_ops": ["encrypt"]}, False, id="ops-against-use"),
    ],
)
def test_s4_2_a_key_is_used_for_what_it_is_for(members, used):
    """RFC 7517 §4.2, §4.3: if both are there, both must allow it."""
    jwk = public_jwk(KEYS[IDP]) | members

    assert used == bool(len(load_keys({"keys": [jwk]}, ["ES256"])))


@pytest.mark.row("JW-21")
def test_s4_5_keys_that_share_a_kid_are_both_left_out():
    """RFC 7517 §4.5: choosing one would be a guess, and order would decide who signs."""
    one, other = (public_jwk(KEYS[issuer], kid="same") for issuer in (IDP, OTHER))
    third = public_jwk(KEYS[IDP], kid="third")
    jws = parse_compact(subject_jwt(kid="same"))

    for order in ([one, other, third], [other, third, one]):
        keys = load_keys({"keys": order}, ["ES256"])
        assert {"third"} == keys.kids
        with pytest.raises(KeyUnknown):
            verify_signature(jws, keys, ["ES256"])


def test_s4_5_the_same_key_twice_is_one_key():
    """Ours: nothing is ambiguous about it."""
    jwk = public_jwk(KEYS[IDP], kid="same")

    assert {"same"} == load_keys({"keys": [jwk, jwk | {"x5t": "x"}]}, ["ES256"]).kids


@pytest.mark.row("JW-21")
@pytest.mark.parametrize("first", [True, False], ids=["before", "behind"])
def test_s8_a_set_that_holds_a_secret_is_not_believed(first):
    """Wycheproof's mixed set: who publishes a secret has lost it."""
    good, secret = public_jwk(KEYS[IDP]), {"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMko"}
    with pytest.raises(Malformed):
        load_keys({"keys": [secret, good] if first else [good, secret]}, ALL)
