"""Forms are read strictly, in one way, and in linear time."""

import contextlib
import time
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.clients.form import parse_form
from broker.errors import ParseRejected, Reason
from broker.oauth import MAX_BODY, MAX_PARAMETERS

# Whatever a form can carry: NUL is refused, and a lone surrogate is no Unicode text.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NAME = TEXT.filter(bool)


def refusal(body: bytes) -> Reason:
    """Why this body is no form."""
    with pytest.raises(ParseRejected) as caught:
        parse_form(body)
    return caught.value.reason


@pytest.mark.row("TX-2.1-02", "TX-2.1-25", "ATK-HTTP-02")
@pytest.mark.parametrize(
    ("body", "form"),
    [
        pytest.param(b"", [], id="empty"),
        pytest.param(b"a=1&b=2", [("a", "1"), ("b", "2")], id="two"),
        pytest.param(b"a=1&a=2&a=1", [("a", "1"), ("a", "2"), ("a", "1")], id="repeated"),
        pytest.param(b"a=&b", [("a", ""), ("b", "")], id="empty-values"),
        pytest.param(b"&&a=1&", [("a", "1")], id="nothing-between-separators"),
        pytest.param(b"a=1;b=2", [("a", "1;b=2")], id="semicolon-is-no-separator"),
        pytest.param(b"a=1=2", [("a", "1=2")], id="first-equals-sign-separates"),
        pytest.param(b"a=1%262%3D3", [("a", "1&2=3")], id="encoded-separators-are-text"),
        pytest.param(b"=1", [("", "1")], id="empty-name"),
        pytest.param(b"%61%5f=1", [("a_", "1")], id="encoded-name"),
        pytest.param(b"a=+x%20+%2B", [("a", " x  +")], id="plus-is-space-and-nothing-is-trimmed"),
        pytest.param(b"a=%2541", [("a", "%41")], id="decoded-once"),
        pytest.param(b"a=%2500", [("a", "%00")], id="an-encoded-percent-sign-is-no-nul"),
        pytest.param(b"a=%C3%A9&b=\xc3\xa9", [("a", "é"), ("b", "é")], id="utf-8"),
        pytest.param(b"a=%0D%0A", [("a", "\r\n")], id="line-break-is-kept"),
        pytest.param(b"a[]=1&a[0]=2", [("a[]", "1"), ("a[0]", "2")], id="brackets-mean-nothing"),
    ],
)
def test_a_form_is_read_as_it_stands(body, form):
    """RFC 6749 appendix B: order, repeats and empty values are kept, each part decoded once."""
    assert form == parse_form(body)


@pytest.mark.row("TX-2.1-02")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"a=%", id="percent-at-the-end"),
        pytest.param(b"a=%4", id="half-an-escape"),
        pytest.param(b"a=%zz", id="no-hex-digits"),
        pytest.param(b"a=%4&1=x", id="escape-across-a-separator"),
        pytest.param(b"a=%+1", id="plus-inside-an-escape"),
        pytest.param(b"%u0041=1", id="javascript-escape"),
        pytest.param(b"a=%FF", id="not-utf-8"),
        pytest.param(b"\xff=1", id="raw-not-utf-8"),
        pytest.param(b"a=%C3", id="half-a-character"),
        pytest.param(b"a=%C3&b=%A9", id="character-across-a-separator"),
        pytest.param(b"a=%C0%80", id="overlong-nul"),
        pytest.param(b"a=%C0%AF", id="overlong-slash"),
        pytest.param(b"a=%ED%A0%80", id="lone-surrogate"),
        pytest.param(b"a=%F4%90%80%80", id="beyond-unicode"),
        pytest.param(b"a=x%00y", id="nul"),
        pytest.param(b"a=x\0y", id="raw-nul"),
        pytest.param(b"%00=x", id="nul-in-a-name"),
    ],
)
def test_a_doubtful_form_is_refused(body):
    """RFC 6749 appendix B: nothing is repaired, since the next reader may repair it otherwise."""
    assert Reason.REQUEST_MALFORMED_FORM == refusal(body)


@pytest.mark.row("OA-H-01")
def test_two_hundred_parameters_and_no_more():
    """Ours: counted before anything is split."""
    most = b"&".join(b"p%d=1" % number for number in range(MAX_PARAMETERS))

    assert MAX_PARAMETERS == len(parse_form(most))
    assert Reason.REQUEST_TOO_MANY_PARAMETERS == refusal(most + b"&one=more")


@pytest.mark.row("ATK-HTTP-02")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"&" * 100_000, id="separators"),
        pytest.param(b"a&" * 50_000, id="names"),
        pytest.param(b"=" * MAX_BODY, id="equals-signs"),
        pytest.param(b"a=" + b"%" * MAX_BODY, id="percent-signs"),
        pytest.param(b"a=" + b"%41" * (MAX_BODY // 3), id="escapes"),
        pytest.param(b"a=" + b"+" * MAX_BODY, id="plus-signs"),
        pytest.param(b"a=" + b"%C3%A9" * (MAX_BODY // 6), id="escaped-characters"),
        pytest.param(b"a=" + b"\xc3" * MAX_BODY, id="half-characters"),
    ],
)
def test_a_hostile_form_costs_no_more_than_a_good_one(body):
    """Ours: linear in its length, whatever it is made of."""
    started = time.process_time()
    with contextlib.suppress(ParseRejected):
        parse_form(body)

    assert time.process_time() - started < 0.5


@given(st.lists(st.tuples(NAME, TEXT), max_size=20))
def test_what_a_good_encoder_writes_is_read_back(form):
    """RFC 6749 appendix B: nothing is lost, added or moved."""
    assert form == parse_form(urlencode(form).encode("ascii"))
    assert form == parse_form(urlencode(form, quote_via=quote).encode("ascii"))


@given(st.binary(max_size=60) | st.text("%&=+;a1\0\xff", max_size=60).map(str.encode))
@example(b"%")
@example(b"a=%f")
def test_any_bytes_are_a_form_or_a_refusal(body):
    """Ours: no other exception, and no parameter is dropped without a refusal."""
    try:
        form = parse_form(body)
    except ParseRejected as rejected:
        assert rejected.reason in {
            Reason.REQUEST_MALFORMED_FORM,
            Reason.REQUEST_TOO_MANY_PARAMETERS,
        }
    else:
        assert sum(1 for part in body.split(b"&") if part) == len(form)
