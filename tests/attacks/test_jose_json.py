"""Attack: write JSON that two readers understand differently, or that costs one of them dearly."""

import json
import time
import tracemalloc

import pytest

from broker.jose.compact import parse_compact
from broker.jose.errors import Malformed
from tests.jwts import b64url, compact, public_jwk, unverified_claims
from tests.places import ACCEPTED, at_each_place

KiB = 1024


def written(place, change) -> str:
    """A token signed by the right key, whose payload is the good one's after ``change``."""
    claims = json.dumps(unverified_claims(place.make()), separators=(",", ":")).encode()
    header = {"alg": "ES256", "kid": public_jwk(place.key)["kid"], "typ": "JWT"}
    return compact(header, change(claims), place.key, "ES256")


def more(text: bytes):
    """Put a member in front of the others."""
    return lambda claims: b"{" + text + b"," + claims[1:]


@pytest.mark.row("ATK-JSON-01", "JW-03", "JW-13", "CVE-2025-53864", "GHSA-wxg7-w2v3-w38g")
@at_each_place
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(more(b'"exp":1'), id="exp-twice"),
        pytest.param(more(b'"s\\u0075b":"admin"'), id="sub-twice-by-an-escape"),
        pytest.param(more(b'"x":{"a":1,"a":1}'), id="a-member-twice-inside"),
        pytest.param(lambda claims: claims + b"{}", id="two-values"),
        pytest.param(lambda claims: claims + b"\0", id="trailing-nul"),
        pytest.param(lambda claims: claims + b"/* x */", id="comment"),
        pytest.param(lambda claims: claims[:-1] + b",}", id="trailing-comma"),
        pytest.param(more(b'"x":NaN'), id="nan"),
        pytest.param(more(b'"x":Infinity'), id="infinity"),
        pytest.param(more(b'"x":1e400'), id="1e400"),
        pytest.param(more(b'"x":1e999999'), id="1e999999"),
        pytest.param(more(b'"x":' + b"9" * 65), id="an-integer-beyond-64-bits"),
        pytest.param(more(b'"x":' + b"9" * 5000), id="an-integer-of-5000-digits"),
        pytest.param(more(b'"x":0.' + b"9" * 5000), id="a-fraction-of-5000-digits"),
        pytest.param(lambda claims: b"\xef\xbb\xbf" + claims, id="byte-order-mark"),
        pytest.param(lambda claims: claims.decode().encode("utf-16"), id="utf-16"),
        pytest.param(lambda claims: claims.decode().encode("utf-16-le"), id="utf-16-without-mark"),
        pytest.param(lambda claims: claims.decode().encode("utf-32"), id="utf-32"),
        pytest.param(more(b'"x":"\xff"'), id="not-utf-8"),
        pytest.param(more(b'"x":"\xc0\xaf"'), id="overlong-utf-8"),
        pytest.param(more(b'"x":"\xed\xa0\x80"'), id="a-surrogate-in-utf-8"),
        pytest.param(more(b'"x":"\\ud800"'), id="a-lone-surrogate"),
        pytest.param(more(b'"\\udead":1'), id="a-lone-surrogate-as-name"),
        pytest.param(more(b'"x":"\\u0000"'), id="nul-in-a-string"),
        pytest.param(more(b'"x\\u0000":1'), id="nul-in-a-name"),
        pytest.param(more(b'"x":"\n"'), id="a-raw-newline"),
        pytest.param(lambda claims: b"[" + claims + b"]", id="an-array"),
        pytest.param(lambda _: b"null", id="null"),
        pytest.param(lambda claims: json.dumps(claims.decode()).encode(), id="a-string"),
        pytest.param(more(b'"x":' + b"[" * 16 + b"]" * 16), id="17-levels"),
        pytest.param(more(b'"x":' + b"[" * 5000 + b"]" * 5000), id="5000-levels"),
        pytest.param(more(b'"x":' + b'{"a":' * 1500 + b"1" + b"}" * 1500), id="1500-objects"),
        pytest.param(lambda _: b"[" * 11_000, id="11000-levels-that-never-end"),
    ],
)
async def test_what_is_not_strict_json_is_refused(place, change):
    """ATK-JSON-01: with a good signature of the right key."""
    assert place.reason("malformed") == await place.outcome(written(place, change))


@pytest.mark.row("ATK-JSON-01")
@at_each_place
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda claims: claims, id="as-it-is"),
        pytest.param(lambda claims: b" \t\r\n" + claims + b"\n", id="space-around"),
        pytest.param(more(b'"x":"\\ud83d\\ude00\\u00e9"'), id="escapes"),
        pytest.param(more('"x":"\U0001f600"'.encode()), id="raw-utf-8"),
        pytest.param(more(b'"x":[1.5,-0,1e3,true,null]'), id="numbers"),
        pytest.param(more(b'"x":' + b"[" * 15 + b"]" * 15), id="16-levels"),
        pytest.param(more(b'"x":"' + b"[{" * 500 + b'"'), id="brackets-in-a-string"),
        pytest.param(more(b'"x":"\\"' + b"[" * 500 + b'"'), id="brackets-behind-an-escape"),
    ],
)
async def test_what_is_strict_json_is_read(place, change):
    """RFC 8259: the honest twins of the table above."""
    assert ACCEPTED == await place.outcome(written(place, change))


def holding(payload: bytes) -> str:
    """Something with three parts, of which the second holds this."""
    return f"e30.{b64url(payload)}.AA"


FLOODS = {
    "10^6 dots": "." * 10**6,
    "10 MB of base64url": "A" * 10**7,
    "10 MB of a payload": f"e30.{'A' * 10**7}.AA",
    "10^5 levels": holding(b"[" * 10**5),
    "10^6 levels of objects": holding(b"{1:" * 10**6),
    "10^6 members": holding(b"{" + b",".join([b"1:1"] * 10**6) + b"}"),
    "10^6 digits": holding(b"9" * 10**6),
    "10^6 quotes": holding(b'"' * 10**6),
    "10^6 backslashes": holding(b'"' + b"\\" * 10**6),
}


@pytest.mark.row("ATK-JSON-02", "CVE-2025-27144", "CVE-2025-61920", "JW-14")
@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_refused_at_once_and_leaves_nothing(flood):
    """ATK-JSON-02, CVE-2025-27144: by its length, before anything is split or decoded."""
    token = FLOODS[flood]
    tracemalloc.start()
    began = time.process_time()
    for _ in range(10):
        with pytest.raises(Malformed):
            parse_compact(token)
    spent = (time.process_time() - began) / 10
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert spent < 0.05
    assert peak < 256 * KiB


@pytest.mark.row("ATK-JSON-02", "CVE-2025-27144")
@at_each_place
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_is_a_malformed_token_at_each_place(place, flood):
    """ATK-JSON-02: no other exception, whatever the place."""
    assert place.reason("malformed") == await place.outcome(FLOODS[flood])


WORST = {
    "dots": "." * 16_384,
    "levels": holding(b"[" * 12_000),
    "open objects": holding(b"{" + b'"a":{' * 2000),
    "quotes": holding(b"[" * 17 + b'"' * 12_000),
    "escapes": holding(b"[" * 17 + b'"' + b"\\" * 11_990),
    "members": holding(json.dumps(dict.fromkeys(map(str, range(1200)), 1)).encode()),
    "digits": holding(b'{"x":' + b"9" * 12_000 + b"}"),
    "surrogates": holding(b'{"x":"' + b"\\ud83d" * 1900 + b'"}'),
}


@pytest.mark.row("ATK-JSON-02", "ATK-DOS-01")
@pytest.mark.parametrize("worst", WORST)
def test_the_worst_that_fits_the_cap_costs_milliseconds(worst):
    """ATK-JSON-02: linear in 16 KiB, whatever is in them."""
    token = WORST[worst]
    began = time.process_time()
    for _ in range(20):
        with pytest.raises(Malformed):
            parse_compact(token)

    assert len(token) <= 16 * KiB
    assert (time.process_time() - began) / 20 < 0.05
