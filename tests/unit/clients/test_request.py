"""What every endpoint reads of a request, and the requests about one token."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.clients.request import RawRequest, TokenInquiry, parse_inquiry, read_parameters
from broker.domain import Credentials
from broker.errors import ParseRejected, Reason

FORM = "application/x-www-form-urlencoded"
NAMES = ("token", "token_type_hint", "client_id", "client_secret", "client_assertion")


def raw(form, *, content_types=(FORM,), query=b"", authorization=()) -> RawRequest:
    return RawRequest(content_types, query, authorization, urlencode(form).encode())


def refusal(form, **options) -> Reason:
    with pytest.raises(ParseRejected) as caught:
        parse_inquiry(raw(form, **options))
    return caught.value.reason


@pytest.mark.row("IN-2.1-02", "RV-2.1-01")
def test_an_inquiry_is_a_token_and_credentials():
    """RFC 7662 §2.1, RFC 7009 §2.1: the token as it was sent, the hint read by nobody."""
    form = [
        ("token", " a b\r\n"),
        ("token_type_hint", "foo"),
        ("client_id", "svc-b"),
        ("client_secret", "s"),
        ("scope", "x"),
        ("scope", "y"),
        ("callback", "f"),
    ]

    assert TokenInquiry(
        Credentials(
            unverified_authorization=("Basic x",),
            unverified_client_id="svc-b",
            unverified_client_secret="s",
        ),
        " a b\r\n",
    ) == parse_inquiry(raw(form, authorization=("Basic x",)))


@pytest.mark.row("IN-2.1-02", "RV-2.1-01")
@pytest.mark.parametrize(
    ("form", "options", "reason"),
    [
        pytest.param([], {}, "request.token_missing", id="missing"),
        pytest.param([("token", "")], {}, "request.token_missing", id="empty"),
        pytest.param([("Token", "a")], {}, "request.token_missing", id="misspelt"),
        pytest.param([("token", "a")] * 2, {}, "request.repeated_parameter", id="twice"),
        pytest.param([("token", "a")], {"query": b"a"}, "request.query_parameters", id="query"),
        pytest.param([("token", "a")], {"content_types": ()}, "request.media_type", id="no-type"),
        pytest.param(
            [("token", "a")], {"content_types": (FORM, FORM)}, "request.media_type", id="two-types"
        ),
        pytest.param([("token", "a" * 70_000)], {}, "request.body_too_large", id="too-large"),
        pytest.param(
            [("token", "a"), *((f"p{n}", "") for n in range(200))],
            {},
            "request.too_many_parameters",
            id="too-many",
        ),
        pytest.param([("token", "a\0b")], {}, "request.malformed_form", id="nul"),
    ],
)
def test_what_is_no_inquiry_is_refused(form, options, reason):
    """RFC 6749 §3.2: as at the token endpoint, by the same code."""
    assert reason == refusal(form, **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("second", ["", "b"])
def test_whatever_is_read_is_read_once(name, second):
    """RFC 6749 §3.2: credentials included, and a second one that is empty counts."""
    form = [("token", "a"), (name, "b"), (name, second)]

    assert Reason.REQUEST_REPEATED_PARAMETER is refusal(form)


def test_no_request_shows_its_token_or_credentials():
    """Design §7: whatever prints it prints none of them."""
    request = raw([("token", "canary"), ("client_secret", "canary")], authorization=("canary",))
    inquiry = parse_inquiry(request)
    parameters = read_parameters(request, single=frozenset({"token"}))

    assert "canary" not in repr(request) + repr(inquiry) + repr(parameters)


@given(form=st.lists(st.tuples(st.sampled_from(NAMES), st.text(max_size=5)), max_size=6))
def test_no_answer_depends_on_a_parameter_that_was_dropped(form):
    """CVE-2026-9704's kind: what is read is what was sent, or the request is refused."""
    try:
        inquiry = parse_inquiry(raw(form))
    except ParseRejected:
        return
    sent = dict(form)

    assert sent["token"] == inquiry.unverified_token
    assert (sent.get("client_secret") or None) == inquiry.credentials.unverified_client_secret
