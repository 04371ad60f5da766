"""A client-credentials request: forwarded as it was meant, or refused; nothing dropped."""

from urllib.parse import parse_qsl

import pytest

from broker.clients.request import RawRequest
from broker.errors import Reason, Rejected
from broker.proxy.request import parse_request

GOOD = "grant_type=client_credentials"
BASIC = "Basic Y2hlY2tvdXQ6czNjcmV0"  # checkout:s3cret
POST = f"{GOOD}&client_id=checkout&client_secret=s3cret"


def parse(body: str, *authorization: str, query: bytes = b""):
    """The request, or the reason why there is none."""
    raw = RawRequest(
        content_types=("application/x-www-form-urlencoded",),
        query=query,
        authorization=authorization,
        body=body.encode(),
    )
    try:
        return parse_request(raw, upstream="idp", parameters=("tenant",))
    except Rejected as rejected:
        return rejected.reason


def test_what_is_forwarded_is_what_came():
    """By the method, and with the parameters, of the request; scopes in order, each once."""
    request = parse(
        f"{GOOD}&scope=b+a&audience=x&audience=y&resource=https%3A%2F%2Fr&tenant=blue", BASIC
    )

    assert {
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": BASIC,
    } == request.headers()
    assert [
        ("grant_type", "client_credentials"),
        ("scope", "a b"),
        ("audience", "x"),
        ("audience", "y"),
        ("resource", "https://r"),
        ("tenant", "blue"),
    ] == parse_qsl(request.body().decode())
    assert ("idp", "checkout") == (
        request.question.upstream,
        request.question.unverified_client_id,
    )


def test_a_secret_in_the_body_stays_there():
    """Some providers take it nowhere else."""
    request = parse(POST)

    assert {"Content-Type": "application/x-www-form-urlencoded"} == request.headers()
    assert (
        b"grant_type=client_credentials&client_id=checkout&client_secret=s3cret" == request.body()
    )


def test_a_client_id_beside_basic_is_forwarded_too():
    """Several libraries send it."""
    request = parse(f"{GOOD}&client_id=checkout", BASIC)

    assert b"grant_type=client_credentials&client_id=checkout" == request.body()


def test_empty_parameters_are_absent():
    """RFC 6749 §3.2; also those that are not forwarded."""
    request = parse(f"{GOOD}&scope=&audience=&tenant=&other=", BASIC)

    assert b"grant_type=client_credentials" == request.body()


def test_a_secret_is_shown_nowhere():
    """Not by the request, nor by what it is made of."""
    for request in (parse(GOOD, BASIC), parse(POST)):
        assert "s3cret" not in repr(request)


@pytest.mark.parametrize(
    ("body", "authorization", "reason"),
    [
        pytest.param("", [BASIC], Reason.REQUEST_GRANT_TYPE_MISSING, id="empty"),
        pytest.param(
            "grant_type=password&username=a",
            [BASIC],
            Reason.PROXY_PARAMETER_NOT_ALLOWED,
            id="a-password",
        ),
        pytest.param(
            "grant_type=refresh_token", [BASIC], Reason.PROXY_GRANT_TYPE_UNSUPPORTED, id="grant"
        ),
        pytest.param(f"{GOOD}&{GOOD}", [BASIC], Reason.REQUEST_REPEATED_PARAMETER, id="repeated"),
        pytest.param(
            f"{GOOD}&tenant=a&tenant=a",
            [BASIC],
            Reason.REQUEST_REPEATED_PARAMETER,
            id="repeated-parameter-of-the-upstream",
        ),
        pytest.param(
            f"{GOOD}&scope=a&scope=", [BASIC], Reason.REQUEST_REPEATED_PARAMETER, id="empty-copy"
        ),
        pytest.param(
            f"{GOOD}&actor=root", [BASIC], Reason.PROXY_PARAMETER_NOT_ALLOWED, id="undeclared"
        ),
        pytest.param(
            f"{GOOD}&Tenant=a", [BASIC], Reason.PROXY_PARAMETER_NOT_ALLOWED, id="other-case"
        ),
        pytest.param(f"{GOOD}&scope=a++b", [BASIC], Reason.SCOPE_MALFORMED, id="scope-two-spaces"),
        pytest.param(f'{GOOD}&scope=a"b', [BASIC], Reason.SCOPE_MALFORMED, id="scope-quote"),
        pytest.param(GOOD, [], Reason.CLIENT_AUTHENTICATION_MISSING, id="nobody"),
        pytest.param(
            f"{GOOD}&client_id=a", [], Reason.CLIENT_AUTHENTICATION_MISSING, id="id-alone"
        ),
        pytest.param(
            f"{GOOD}&client_secret=a", [], Reason.CLIENT_CREDENTIALS_MALFORMED, id="secret-alone"
        ),
        pytest.param(GOOD, [BASIC, BASIC], Reason.CLIENT_SEVERAL_METHODS, id="two-headers"),
        pytest.param(POST, [BASIC], Reason.CLIENT_SEVERAL_METHODS, id="header-and-body"),
        pytest.param(
            f"{GOOD}&client_id=other", [BASIC], Reason.CLIENT_ID_MISMATCH, id="two-clients"
        ),
        pytest.param(GOOD, ["Bearer abc"], Reason.CLIENT_CREDENTIALS_MALFORMED, id="bearer"),
        pytest.param(GOOD, ["Basic Y2hlY2tvdXQ="], Reason.CLIENT_CREDENTIALS_MALFORMED, id="colon"),
        pytest.param(GOOD, ["Basic ****"], Reason.CLIENT_CREDENTIALS_MALFORMED, id="no-base64"),
        pytest.param(
            f"{GOOD}&client_assertion=a.b.c", [], Reason.PROXY_ASSERTION_UNSUPPORTED, id="assertion"
        ),
        pytest.param(
            f"{GOOD}&client_assertion_type=x",
            [BASIC],
            Reason.PROXY_ASSERTION_UNSUPPORTED,
            id="half",
        ),
        pytest.param(f"{GOOD}&scope=%zz", [BASIC], Reason.REQUEST_MALFORMED_FORM, id="escape"),
        pytest.param(f"{GOOD}&scope=%00", [BASIC], Reason.REQUEST_MALFORMED_FORM, id="nul"),
        pytest.param(GOOD + "&a" * 200, [BASIC], Reason.REQUEST_TOO_MANY_PARAMETERS, id="too-many"),
    ],
)
def test_what_is_doubtful_is_refused(body, authorization, reason):
    """And by its own reason."""
    assert reason == parse(body, *authorization)


def test_parameters_in_the_url_are_refused():
    """A secret there would be in every log on the way."""
    assert Reason.REQUEST_QUERY_PARAMETERS == parse(GOOD, BASIC, query=b"client_secret=a")
