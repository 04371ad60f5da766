"""What an upstream answered: a token, its own error, or nothing that anybody can use."""

import json
from typing import Any

import pytest

from broker.errors import Reason
from broker.issuers.fetch import Reply
from broker.proxy.answer import Failure, Refusal, UpstreamToken, read_reply
from tests.proxying import token

INVALID = Failure(Reason.PROXY_UPSTREAM_INVALID)


def reply(document: Any, status: int = 200, **headers: str) -> Reply:
    """A reply with a JSON document, or with these bytes."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def read_token(**members: Any) -> UpstreamToken:
    read = read_reply(reply(token(**members)))
    assert isinstance(read, UpstreamToken)
    return read


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        pytest.param(3600, 3600, id="a-number"),
        pytest.param(1, 1, id="the-least"),
        pytest.param("3599", 3599, id="digits-in-quotes"),
        pytest.param(316224000, 316224000, id="ten-years"),
        pytest.param(None, None, id="not-said"),
        pytest.param(0, None, id="none"),
        pytest.param("0", None, id="none-in-quotes"),
    ],
)
def test_a_life_that_is_known_is_kept(said, kept):
    """RFC 6749 §5.1, appendix A.14; what is not known is handed on and never kept."""
    assert kept == read_token(expires_in=said).expires_in


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(-1, id="negative"),
        pytest.param("-1", id="negative-in-quotes"),
        pytest.param("soon", id="a-word"),
        pytest.param("", id="empty"),
        pytest.param("36e2", id="an-exponent"),
        pytest.param("٣٦٠٠", id="digits-of-another-script"),
        pytest.param(3600.0, id="a-fraction"),
        pytest.param(True, id="a-truth"),
        pytest.param([3600], id="a-list"),
        pytest.param(316224001, id="more-than-ten-years"),
        pytest.param(10**30, id="beyond-64-bits"),
    ],
)
def test_a_life_that_is_none_is_no_answer(said):
    """Nobody is handed a token of which nobody knows how long it is one."""
    assert INVALID == read_reply(reply(token(expires_in=said)))


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(token(access_token=None), id="no-token"),
        pytest.param(token(access_token=""), id="empty-token"),
        pytest.param(token(access_token=7), id="a-number-for-a-token"),
        pytest.param(token(access_token="a\nb"), id="a-token-with-a-line-break"),
        pytest.param(token(access_token="a" * 16385), id="a-token-beyond-16-KiB"),
        pytest.param(token(token_type=None), id="no-token-type"),
        pytest.param(token(token_type="DPoP"), id="bound-to-a-key"),
        pytest.param(token(token_type="mac"), id="another-token-type"),
        pytest.param({"error": "invalid_client"}, id="an-error-with-200"),
        pytest.param([token()], id="a-list"),
        pytest.param(b"<html>welcome</html>", id="html"),
        pytest.param(b"", id="nothing"),
        pytest.param(b'{"access_token":"a","access_token":"b"}', id="two-tokens"),
        pytest.param(b"[" * 100_000, id="depth"),
    ],
)
def test_what_is_no_bearer_token_is_no_answer(document):
    """RFC 6749 §5.1: to the letter, for a thousand callers are handed it."""
    assert INVALID == read_reply(reply(document))


def test_a_token_is_answered_with_all_that_was_said_of_it():
    """A drop-in: but for what counts down, and for what is not to be shared."""
    read = read_token(
        token_type="bearer", scope="a b", ext_expires_in=7200, refresh_token="r", not_before=5
    )

    assert {
        "access_token": "upstream-token-1",
        "token_type": "bearer",
        "scope": "a b",
        "not_before": 5,
        "ext_expires_in": 7100,
        "expires_in": 3500,
    } == json.loads(read.render(3500, 100.0))


def test_an_unknown_life_stays_unknown():
    """What was not said is not made up."""
    assert "expires_in" not in json.loads(read_token(expires_in=None).render(0, 1.0))
    assert 0 == json.loads(read_token(expires_in=0).render(0, 1.0))["expires_in"]


def test_neither_a_token_nor_an_error_shows():
    """Not in a log, a traceback or a debugger's view of it."""
    refused = read_reply(reply({"error": "invalid_client", "hint": "s3cret"}, 401))

    assert "upstream-token" not in repr(read_token())
    assert "s3cret" not in repr(refused)


def test_an_error_is_handed_on_as_it_came():
    """RFC 6749 §5.2: body, status, challenge, and when to come again; no other header."""
    document = {"error": "invalid_client", "error_description": "no", "trace_id": "7"}
    read = read_reply(
        reply(document, 401, www_authenticate='Basic realm="idp"', retry_after="7", set_cookie="a")
    )

    assert isinstance(read, Refusal)
    assert (401, json.dumps(document).encode()) == (read.status, read.body)
    assert ((b"www-authenticate", b'Basic realm="idp"'), (b"retry-after", b"7")) == read.headers
    assert (True, True) == (read.is_final, read.blames_client)


@pytest.mark.parametrize(
    ("status", "error", "final", "blames"),
    [
        pytest.param(400, "invalid_client", True, True, id="400-invalid-client"),
        pytest.param(400, "invalid_scope", True, False, id="400-invalid-scope"),
        pytest.param(403, "access_denied", True, False, id="403"),
        pytest.param(429, "slow_down", False, False, id="429"),
        pytest.param(500, "server_error", False, False, id="500"),
        pytest.param(503, "temporarily_unavailable", False, False, id="503"),
    ],
)
def test_an_error_says_whether_it_will_be_the_same_again(status, error, final, blames):
    """And whose fault it was."""
    read = read_reply(reply({"error": error}, status))

    assert isinstance(read, Refusal)
    assert (status, final, blames) == (read.status, read.is_final, read.blames_client)


@pytest.mark.parametrize(
    ("status", "document", "expected"),
    [
        pytest.param(500, b"", INVALID, id="500-html"),
        pytest.param(404, b"", INVALID, id="404-html"),
        pytest.param(400, {"message": "no"}, INVALID, id="an-error-without-error"),
        pytest.param(400, {"error": {"code": 1}}, INVALID, id="an-error-that-is-no-code"),
        pytest.param(304, token(), INVALID, id="304"),
        pytest.param(201, token(), INVALID, id="201"),
        pytest.param(
            401, b"", Failure(Reason.PROXY_UPSTREAM_INVALID, blames_client=True), id="401-html"
        ),
        *(
            pytest.param(
                status, b"", Failure(Reason.PROXY_UPSTREAM_UNAVAILABLE, 7), id=f"{status}-html"
            )
            for status in (408, 429, 502, 503, 504)
        ),
    ],
)
def test_what_is_neither_is_said_in_our_own_words(status, document, expected):
    """502, or 503 with the time that the upstream asked for."""
    assert expected == read_reply(reply(document, status, retry_after="7"))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("99999", 3600, id="long"),
        pytest.param("Fri, 27 Nov 2026 00:00:00 GMT", None, id="a-date"),
        pytest.param("-1", None, id="negative"),
        pytest.param("", None, id="empty"),
    ],
)
def test_when_to_come_again_is_within_reason(value, seconds):
    """Whatever an upstream says."""
    read = read_reply(reply(b"", 503, retry_after=value))

    assert Failure(Reason.PROXY_UPSTREAM_UNAVAILABLE, seconds) == read
