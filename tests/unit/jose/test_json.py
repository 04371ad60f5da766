"""Strict JSON: every text has one meaning, or none. RFC 8259, in the manner of JSONTestSuite."""

import json
import math
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.jose.errors import Malformed
from broker.jose.json import MAX_NUMBER, parse_json

REFUSED = {
    # structure
    "empty": b"",
    "space": b" ",
    "a-lone-bracket": b"[",
    "a-lone-brace": b"{",
    "a-closed-bracket": b"]",
    "a-closed-brace": b"}",
    "mismatched": b"[}",
    "mismatched-inside": b'{"a":[}]',
    "extra-close": b"[]]",
    "extra-open": b"[[]",
    "leading-comma": b"[,1]",
    "trailing-comma": b"[1,]",
    "double-comma": b"[1,,2]",
    "comma-only": b"[,]",
    "no-comma": b"[1 2]",
    "comma-after-all": b"[1],",
    "colon-instead-of-comma": b'["a":1]',
    "comma-instead-of-colon": b'{"a",1}',
    "double-colon": b'{"a"::1}',
    "no-colon": b'{"a" 1}',
    "no-value": b'{"a":}',
    "no-name": b"{:1}",
    "a-number-as-name": b"{1:1}",
    "no-quotes": b"{a:1}",
    "single-quotes": b"{'a':1}",
    "object-trailing-comma": b'{"a":1,}',
    "two-values": b"{}{}",
    "two-lines": b"1\n2",
    "trailing-text": b"{}x",
    "trailing-hash": b"{}#",
    "trailing-nul": b"{}\0",
    "comment": b"{/**/}",
    "line-comment": b"{}//",
    "ellipsis": b"[...]",
    # repeated members
    "repeated": b'{"a":1,"a":1}',
    "repeated-by-an-escape": b'{"a":1,"\\u0061":2}',
    "repeated-deep": b'[{"b":{"a":1,"a":2}}]',
    "repeated-empty": b'{"":1,"":2}',
    # literals
    "True": b"[True]",
    "TRUE": b"TRUE",
    "nul": b"[nul]",
    "nulll": b"nulll",
    "undefined": b"undefined",
    "NaN": b"NaN",
    "minus-NaN": b"[-NaN]",
    "Infinity": b"[Infinity]",
    "minus-Infinity": b"[-Infinity]",
    "inf": b"[inf]",
    # numbers
    "plus": b"[+1]",
    "plus-plus": b"[++1]",
    "minus": b"[-]",
    "minus-minus": b"[--1]",
    "leading-zero": b"[01]",
    "minus-leading-zero": b"[-01]",
    "zeros": b"[00]",
    "dot": b"[.5]",
    "minus-dot": b"[-.5]",
    "dot-behind": b"[1.]",
    "two-dots": b"[1.2.3]",
    "no-exponent": b"[1e]",
    "half-an-exponent": b"[1e+]",
    "a-dot-in-the-exponent": b"[1e1.5]",
    "hexadecimal": b"[0x1F]",
    "octal": b"[0o17]",
    "binary": b"[0b1]",
    "underscore": b"[1_000]",
    "comma-in-a-number": b"[1,000.5.]",
    "space-in-a-number": b"[1 000]",
    "suffix": b"[1L]",
    "imaginary": b"[1j]",
    "full-width-digit": "[\uff11]".encode(),
    "arabic-digit": "[\u0661]".encode(),
    "a-full-width-digit-behind": "[1\uff11]".encode(),
    "1e400": b"[1e400]",
    "minus-1e400": b"[-1e400]",
    "1e999999": b"[1e999999]",
    "2**64": b"[18446744073709551616]",
    "minus-2**63-minus-1": b"[-9223372036854775809]",
    "a-million-digits": b"[" + b"1" * 10**6 + b"]",
    "a-million-fraction-digits": b"[0." + b"1" * 10**6 + b"]",
    "a-million-exponent-digits": b"[1e" + b"1" * 10**6 + b"]",
    "one-digit-too-many": b"[0." + b"1" * (MAX_NUMBER - 1) + b"]",
    # strings
    "not-closed": b'"a',
    "not-closed-behind-an-escape": b'"a\\"',
    "a-lone-backslash": b'"\\',
    "newline": b'"a\nb"',
    "tab": b'"a\tb"',
    "raw-nul": b'"\0"',
    "every-control": b'"\x1f"',
    "unknown-escape": b'"\\x41"',
    "escape-a": b'"\\a"',
    "escape-0": b'"\\0"',
    "escape-quote": b'"\\\'"',
    "short-u": b'"\\u00"',
    "u-without-digits": b'"\\u"',
    "u-with-a-letter": b'"\\u00zz"',
    "u-in-braces": b'"\\u{41}"',
    "u-with-a-plus": b'"\\u+041"',
    "u-with-a-space": b'"\\u 041"',
    "u-with-an-underscore": b'"\\u0_41"',
    "upper-U": b'"\\U00000041"',
    "escaped-nul": b'"\\u0000"',
    "escaped-nul-in-a-name": b'{"a\\u0000":1}',
    "lone-high-surrogate": b'"\\ud800"',
    "lone-low-surrogate": b'"\\udc00"',
    "high-and-text": b'"\\ud800x"',
    "high-and-high": b'"\\ud800\\ud800"',
    "reversed-pair": b'"\\udc00\\ud800"',
    "lone-surrogate-in-a-name": b'{"\\ud800":1}',
    "lone-surrogate-deep": b'[{"a":["\\udead"]}]',
    # encodings
    "byte-order-mark": b"\xef\xbb\xbf{}",
    "half-a-byte-order-mark": b"\xef\xbb{}",
    "utf-16": "{}".encode("utf-16"),
    "utf-16-le": "{}".encode("utf-16-le"),
    "utf-16-be": "{}".encode("utf-16-be"),
    "utf-32": "{}".encode("utf-32"),
    "utf-32-be": "{}".encode("utf-32-be"),
    "latin-1": b'"\xe9"',
    "lone-continuation": b'"\x80"',
    "truncated": b'"\xe2\x82"',
    "overlong-2": b'"\xc0\xaf"',
    "overlong-3": b'"\xe0\x80\xaf"',
    "overlong-nul": b'"\xc0\x80"',
    "surrogate": b'"\xed\xa0\x80"',
    "surrogate-pair-cesu": b'"\xed\xa0\xbd\xed\xb8\x80"',
    "beyond-unicode": b'"\xf4\x90\x80\x80"',
    "five-bytes": b'"\xf8\x88\x80\x80\x80"',
    "ff": b"\xff",
    # spaces that are none
    "form-feed": b"[\x0c]",
    "vertical-tab": b"[\x0b]",
    "no-break-space": "[\u00a0]".encode(),
    "word-joiner": "[\u2060]".encode(),
    "line-separator": "[\u2028]".encode(),
    # depth
    "17-arrays": b"[" * 17 + b"]" * 17,
    "17-objects": b'{"a":' * 17 + b"1" + b"}" * 17,
    "17-of-both": b'[{"a":' * 8 + b"[" + b"]" + b"}]" * 8,
    "10^5-arrays": b"[" * 10**5,
    "10^5-closed-arrays": b"[" * 10**5 + b"]" * 10**5,
    "10^5-objects": b'{"a":' * 10**5,
    "10^6-open": b"[" * 10**6,
}

READ = {
    "object": (b"{}", {}),
    "array": (b"[]", []),
    "text": (b'"a"', "a"),
    "number": (b"1", 1),
    "true": (b"true", True),
    "null": (b"null", None),
    "spaces": (b" \t\r\n{ \t\r\n} \t\r\n", {}),
    "zero": (b"[0,-0,0.0,-0.0,0e5]", [0, 0, 0.0, -0.0, 0.0]),
    "exponents": (b"[1e3,1E3,1e+3,1e-3,1.5e3]", [1e3, 1e3, 1e3, 1e-3, 1.5e3]),
    "2**64-1": (b"[18446744073709551615]", [2**64 - 1]),
    "-2**63": (b"[-9223372036854775808]", [-(2**63)]),
    "tiny": (b"[1e-400]", [0.0]),
    "long-fraction": (b"[0." + b"1" * 60 + b"]", [float("0." + "1" * 60)]),
    "escapes": (b'"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041"', '"\\/\b\f\n\r\tA'),
    "pair": (b'"\\ud83d\\ude00"', "\U0001f600"),
    "raw-pair": ('"\U0001f600"'.encode(), "\U0001f600"),
    "noncharacter": ('"\uffff"'.encode(), "\uffff"),
    "delete": (b'"\x7f"', "\x7f"),
    "mark-inside": ('"\ufeff"'.encode(), "\ufeff"),
    "backslash-u-text": (b'"\\\\u0000"', "\\u0000"),
    "names-in-case": (b'{"a":1,"A":2}', {"a": 1, "A": 2}),
    "names-decomposed": ('{"\u00e9":1,"e\u0301":2}'.encode(), {"\u00e9": 1, "e\u0301": 2}),
    "empty-name": (b'{"":0}', {"": 0}),
    "16-arrays": (b"[" * 16 + b"]" * 16, None),
    "16-arrays-and-one-beside": (b"[" * 16 + b"]" * 15 + b",[]]", None),
    "many-flat": (b"[" + b"[]," * 999 + b"[]]", [[]] * 1000),
    "brackets-in-text": (b'["' + b"[{" * 5000 + b'"]', ["[{" * 5000]),
    "brackets-behind-an-escape": (
        b'["\\"' + b"[{" * 50 + b'\\\\",[]]',
        ['"' + "[{" * 50 + "\\", []],
    ),
}


@pytest.mark.row("ATK-JSON-01", "ATK-JSON-02", "JW-03", "JW-13", "JW-15", "CVE-2025-53864")
@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in REFUSED.items()])
def test_a_text_that_is_not_strict_json_is_refused(text):
    """RFC 8259: and whatever two readers could take differently; in short, without the text."""
    with pytest.raises(Malformed) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 64
    assert caught.value.__cause__ is None


@pytest.mark.row("ATK-JSON-01")
@pytest.mark.parametrize(
    ("text", "value"), [pytest.param(*pair, id=name) for name, pair in READ.items()]
)
def test_a_text_that_is_strict_json_has_its_value(text, value):
    """RFC 8259."""
    found = parse_json(text)

    if value is not None:
        assert value == found


@pytest.mark.row("ATK-JSON-02", "CVE-2025-53864")
def test_depth_is_bounded_before_anything_recurses():
    """CVE-2025-53864: with little stack left as well."""
    limit = sys.getrecursionlimit()

    def deep(remaining: int) -> object:
        return parse_json(b"[" * 10**5) if remaining == 0 else deep(remaining - 1)

    with pytest.raises(Malformed):
        deep(limit // 2)


@pytest.mark.parametrize("depth", [0, 1, 3, 16, 40])
def test_the_bound_is_the_callers(depth):
    """``max_depth`` counts arrays and objects together."""
    text = b"[" * depth + b"1" + b"]" * depth

    assert parse_json(text, max_depth=depth) is not None
    with pytest.raises(Malformed):
        parse_json(b"[" + text + b"]", max_depth=depth)
    with pytest.raises(Malformed):
        parse_json(b'{"a":' + text + b"}", max_depth=depth)


@pytest.mark.row("ATK-JSON-02")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"[" * 10**6, id="brackets"),
        pytest.param(b'"' * 10**6, id="quotes"),
        pytest.param(b"[" * 17 + b'"' + b"\\" * 10**6, id="backslashes"),
        pytest.param(b"[" * 17 + b'"\\"' * 10**6, id="escaped-quotes"),
        pytest.param(b"[]" * 10**6, id="closed"),
        pytest.param(b"9" * 10**6, id="digits"),
    ],
)
def test_a_megabyte_is_read_in_linear_time(text):
    """ATK-JSON-02: no text makes the scan go back."""
    began = time.process_time()
    with pytest.raises(Malformed):
        parse_json(text)

    assert time.process_time() - began < 2


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
            children,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(json_values, st.booleans(), st.sampled_from([(", ", ": "), (",", ":")]))
def test_what_is_written_is_read(value, ascii_only, separators):
    """Round trip: as escapes and as raw UTF-8, with spaces and without."""
    text = json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()

    # Their texts, because ``True == 1 == 1.0``.
    assert repr(value) == repr(parse_json(text, max_depth=40))


@given(
    st.dictionaries(st.text("ab", max_size=2), json_values, min_size=1, max_size=3),
    st.sampled_from([(", ", ": "), (",", ":")]),
)
def test_a_member_that_is_there_twice_is_refused_however_it_is_written(members, separators):
    """Two readers take two values of it (RFC 7519 §4)."""
    text = json.dumps(members, ensure_ascii=False, separators=separators)
    repeated = text[:-1] + separators[0] + text[1:]

    with pytest.raises(Malformed):
        parse_json(repeated.encode(), max_depth=40)


@pytest.mark.row("ATK-JSON-01", "ATK-JSON-02")
@given(
    st.binary(max_size=60)
    | st.text(st.sampled_from('{}[]",:\\u0019ade+-.Ntf \n'), max_size=60).map(str.encode)
)
def test_any_bytes_are_a_value_or_malformed(data):
    """No other exception, ever; and what is read, Python's own reader reads the same."""
    try:
        value = parse_json(data)
    except Malformed:
        return
    assert value == json.loads(data)
    assert not (isinstance(value, float) and math.isinf(value))
