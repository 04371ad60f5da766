"""The shape of a compact JWS, before any cryptography. RFC 7515 §3.1, §7.1."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.jose.compact import normalize_typ, parse_compact
from broker.jose.errors import Malformed
from broker.oauth import MAX_JOSE_HEADER, MAX_TOKEN
from tests.jwts import b64url

GOOD = {"alg": "ES256", "kid": "k", "typ": "at+jwt"}


def token(header=None, claims=None, signature: bytes = b"s") -> str:
    """Three parts; ``bytes`` go in as they are."""
    parts = [
        each if isinstance(each, bytes) else json.dumps(each, separators=(",", ":")).encode()
        for each in (GOOD if header is None else header, {} if claims is None else claims)
    ]
    return ".".join(b64url(part) for part in (*parts, signature))


def test_the_parts_are_what_they_are():
    """RFC 7515 §7.1: header, payload and signature, all of it unverified."""
    text = token(GOOD | {"foo": 1}, {"sub": "alice"}, b"signature")
    jws = parse_compact(text)

    assert ("ES256", "k", "at+jwt", GOOD | {"foo": 1}, {"sub": "alice"}, b"signature", text) == (
        jws.alg,
        jws.kid,
        jws.typ,
        jws.unverified_header,
        jws.unverified_claims,
        jws.signature,
        jws.token,
    )
    assert text.rpartition(".")[0].encode() == jws.signing_input


def test_kid_and_typ_may_be_absent():
    """RFC 7515 §4.1.4, §4.1.9: both are optional, and absent is told apart."""
    jws = parse_compact(token({"alg": "ES256"}))

    assert (None, None) == (jws.kid, jws.typ)


def test_a_parsed_token_shows_nothing_of_itself():
    """CVE-2025-65015: neither claims nor text in a ``repr`` that ends in a log."""
    jws = parse_compact(token(GOOD | {"foo": "secret-header"}, {"sub": "secret-claim"}))

    assert "secret" not in repr(jws)
    assert jws.token not in repr(jws)


@pytest.mark.row("CVE-2025-61920", "ATK-JSON-02")
def test_a_token_has_a_cap_and_the_largest_one_passes():
    """CVE-2025-61920: 16 KiB in all, before anything is decoded."""
    room = MAX_TOKEN - len(token(claims={"x": ""}))
    texts = [token(claims={"x": "x" * (size)}) for size in range(room * 3 // 4 - 4, room)]
    passed = [text for text in texts[:40] if len(text) <= MAX_TOKEN]
    refused = [text for text in texts[:40] if len(text) > MAX_TOKEN]

    assert max(map(len, passed)) > MAX_TOKEN - 4
    assert all(parse_compact(text) for text in passed)
    for text in refused:
        with pytest.raises(Malformed):
            parse_compact(text)


@pytest.mark.row("CVE-2025-61920")
@pytest.mark.parametrize("size", [MAX_JOSE_HEADER, MAX_JOSE_HEADER + 1])
def test_a_header_has_a_cap_and_the_largest_one_passes(size):
    """CVE-2025-61920: 1 KiB decoded."""
    empty = len(json.dumps(GOOD | {"x": ""}, separators=(",", ":")))
    text = token(GOOD | {"x": "x" * (size - empty)})

    if size <= MAX_JOSE_HEADER:
        assert parse_compact(text).kid == "k"
    else:
        with pytest.raises(Malformed):
            parse_compact(text)


@pytest.mark.row("CVE-2025-27144", "CVE-2025-65015", "ATK-JSON-02")
@pytest.mark.parametrize("text", ["." * 10**6, "A" * 10**7, "A." * 10**6, "\u00e9" * 10**6])
def test_a_megabyte_of_anything_is_refused_by_its_length(text):
    """CVE-2025-27144: in less than a millisecond, and the error does not repeat it."""
    began = time.process_time()
    for _ in range(100):
        with pytest.raises(Malformed) as caught:
            parse_compact(text)

    assert (time.process_time() - began) / 100 < 0.005
    assert len(str(caught.value)) < 64


@pytest.mark.row("JW-01", "JW-07")
@pytest.mark.parametrize("parts", [0, 1, 2, 4, 5, 6])
def test_there_are_three_parts(parts):
    """RFC 7515 §7.1: five would be a JWE."""
    header, payload, signature = token().split(".")
    texts = [header, payload, signature, signature, signature, signature]
    with pytest.raises(Malformed):
        parse_compact(".".join(texts[:parts]))


@pytest.mark.row("JW-02", "ATK-HDR-02", "ATK-HDR-03")
@pytest.mark.parametrize("name", ["crit", "b64", "enc", "zip"])
@pytest.mark.parametrize("value", [None, True, False, "", [], ["exp"], {}, 1])
def test_what_may_not_be_ignored_is_refused(name, value):
    """RFC 7515 §4.1.11: whatever its value."""
    with pytest.raises(Malformed):
        parse_compact(token(GOOD | {name: value}))


@pytest.mark.parametrize("alg", [None, 1, True, [], {}, ["ES256"]])
def test_alg_is_a_string(alg):
    """RFC 7515 §4.1.1; which ones are allowed is the verifier's to say."""
    with pytest.raises(Malformed):
        parse_compact(token(GOOD | {"alg": alg}))


@pytest.mark.row("ATK-KID-01")
@pytest.mark.parametrize("kid", [None, 1, True, [], {}, "", "k" * 1025])
def test_kid_is_a_name(kid):
    """RFC 7515 §4.1.4: a string that is not empty; null is not absent."""
    with pytest.raises(Malformed):
        parse_compact(token({"alg": "ES256", "kid": kid}))


def test_typ_is_shortened_only_where_nothing_is_lost():
    """RFC 7515 §4.1.9: ``application/x/y`` has a further slash."""
    typs = ("application/at+JWT", "application/x/y", "text/x", None)

    assert ["at+jwt", "application/x/y", "text/x", None] == [normalize_typ(typ) for typ in typs]


@pytest.mark.parametrize("typ", [None, 1, True, [], {}, "\u00e9", "at+jwt\u212a"])
def test_typ_is_a_media_type(typ):
    """RFC 7515 §4.1.9: ASCII, for others have a lower case that ASCII does not expect."""
    with pytest.raises(Malformed):
        parse_compact(token(GOOD | {"typ": typ}))


@pytest.mark.parametrize("value", [b"[]", b'"x"', b"1", b"null", b"true", b"", b" "])
@pytest.mark.parametrize("where", ["header", "claims"])
def test_header_and_payload_are_objects(where, value):
    """RFC 7515 §3, RFC 7519 §7.2."""
    with pytest.raises(Malformed):
        parse_compact(token(**{where: value}))


@pytest.mark.row("JW-04")
@given(st.text(st.sampled_from("aApPlLiIcCtToOnN/+jwtJWT"), max_size=30))
def test_typ_is_normalized_once_and_for_all(typ):
    """RFC 7515 §4.1.9: what is normalized stays as it is."""
    once = normalize_typ(typ)

    assert once == normalize_typ(once)
    assert once == normalize_typ(typ.upper())


@pytest.mark.row("JW-01", "ATK-JSON-01")
@given(
    st.text(max_size=60)
    | st.text(st.sampled_from("eyJhbGciOiJFUzI1NiJ9.A_-= \n{}"), max_size=80)
    | st.builds(
        lambda *parts: ".".join(map(b64url, parts)),
        st.binary(max_size=20),
        st.binary(max_size=20),
        st.binary(max_size=8),
    )
)
def test_any_text_is_a_jws_or_malformed(text):
    """No other exception, whatever arrives."""
    try:
        jws = parse_compact(text)
    except Malformed:
        return
    assert text == jws.token
