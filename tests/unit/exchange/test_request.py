"""Step 0: which requests are token exchange requests, and why the others are not."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain import Credentials, TokenExchangeRequest
from broker.errors import ParseRejected, Reason
from broker.exchange.request import RawRequest, parse_request
from broker.oauth import GRANT_TYPE_TOKEN_EXCHANGE, MAX_BODY, TokenType

JWT = TokenType.JWT.value
FORM = "application/x-www-form-urlencoded"
GOOD = [
    ("grant_type", GRANT_TYPE_TOKEN_EXCHANGE),
    ("subject_token", "a.b.c"),
    ("subject_token_type", JWT),
]
NAMES = [
    *("grant_type", "subject_token", "subject_token_type", "actor_token", "actor_token_type"),
    *("requested_token_type", "scope", "purpose", "client_id", "client_secret"),
    *("client_assertion", "client_assertion_type", "authorization_details"),
]


def with_parameters(**parameters: str | None) -> list[tuple[str, str]]:
    """A good form; ``None`` leaves a parameter out."""
    form = dict(GOOD) | parameters
    return [(name, value) for name, value in form.items() if value is not None]


def raw(form=GOOD, *, content_types=(FORM,), query=b"", authorization=()) -> RawRequest:
    """A request with this form, or with exactly these bytes."""
    body = form if isinstance(form, bytes) else urlencode(form).encode()
    return RawRequest(content_types, query, authorization, body)


def parsed(form=GOOD, **overrides) -> TokenExchangeRequest:
    return parse_request(raw(form, **overrides), id="id", source="192.0.2.1")


def refusal(form=GOOD, **overrides) -> Reason:
    """Why this is no token exchange request."""
    with pytest.raises(ParseRejected) as caught:
        parsed(form, **overrides)
    return caught.value.reason


@pytest.mark.row("TX-2.1-04", "TX-2.1-13")
def test_the_least_request_there_is():
    """RFC 8693 §2.1: three parameters; an access token unless another type is asked for."""
    assert (
        TokenExchangeRequest(
            id="id",
            source="192.0.2.1",
            credentials=Credentials(),
            unverified_subject_token="a.b.c",
            subject_token_type=JWT,
            requested_token_type=TokenType.ACCESS_TOKEN,
        )
        == parsed()
    )


@pytest.mark.row("TX-2.1-11", "TX-2.1-14")
def test_every_parameter_is_read():
    """RFC 8693 §2.1, RFC 6749 §2.3.1, RFC 7521 §4.2: as it is, and in its order."""
    form = with_parameters(
        actor_token=" d.e.f\r\n",
        actor_token_type="urn:example:type",
        requested_token_type=JWT,
        scope=" b a",
        purpose="billing",
        client_id="svc-a",
        client_secret="s",
        client_assertion="g.h.i",
        client_assertion_type="t",
    )
    targets = [("audience", "b"), ("resource", "x:y"), ("audience", "a"), ("audience", "b")]

    assert TokenExchangeRequest(
        id="id",
        source="192.0.2.1",
        credentials=Credentials(("Basic x", "Bearer y"), "svc-a", "s", "g.h.i", "t"),
        unverified_subject_token="a.b.c",
        subject_token_type=JWT,
        unverified_actor_token=" d.e.f\r\n",
        actor_token_type="urn:example:type",
        requested_token_type=TokenType.JWT,
        audiences=("b", "a", "b"),
        resources=("x:y",),
        scope=" b a",
        purpose="billing",
    ) == parsed(form + targets, authorization=("Basic x", "Bearer y"))


@pytest.mark.row("TX-2.1-02")
@pytest.mark.parametrize(
    "content_type",
    [
        FORM,
        f"{FORM};charset=UTF-8",
        f"{FORM}; charset=utf-8",
        f'{FORM} ; CHARSET="Utf-8"',
        FORM.upper(),
        f"{FORM} ",
    ],
)
def test_a_form_may_say_its_charset(content_type):
    """RFC 6749 appendix B, RFC 9110 §8.3.1: there is only the one."""
    assert parsed() == parsed(content_types=(content_type,))


@pytest.mark.row("TX-2.1-02", "ATK-HTTP-01")
@pytest.mark.parametrize(
    "content_types",
    [
        pytest.param((), id="none"),
        pytest.param(("",), id="empty"),
        pytest.param((FORM, FORM), id="two-equal"),
        pytest.param((FORM, "application/json"), id="two-different"),
        pytest.param((f"{FORM}, {FORM}",), id="two-in-one"),
        pytest.param(("application/json",), id="json"),
        pytest.param(("multipart/form-data; boundary=x",), id="multipart"),
        pytest.param((f"{FORM}x",), id="longer"),
        pytest.param((f"x{FORM}",), id="prefixed"),
        pytest.param((f" {FORM}",), id="leading-space"),
        pytest.param((f"{FORM}\n",), id="line-break"),
        pytest.param((f"{FORM};charset=latin-1",), id="another-charset"),
        pytest.param((f"{FORM};charset=utf-8;charset=utf-16",), id="two-charsets"),
        pytest.param((f"{FORM};boundary=x",), id="another-parameter"),
        pytest.param((f'{FORM};charset="utf-8',), id="half-quoted"),
        pytest.param(("application/x-www-form-urlen\u0441oded",), id="look-alike"),
        pytest.param((f"{FORM};char\u017fet=utf-8",), id="long-s"),
    ],
)
def test_another_media_type_is_refused(content_types):
    """RFC 8693 §2.1: nothing else is read."""
    assert Reason.REQUEST_MEDIA_TYPE == refusal(content_types=content_types)


@pytest.mark.row("TX-2.1-17", "OA-2.3-03")
@pytest.mark.parametrize("query", [b"client_secret=x", b"anything=x", b"x", b"&"])
def test_a_query_is_refused(query):
    """RFC 6749 §2.3.1: URLs are logged on the way."""
    assert Reason.REQUEST_QUERY_PARAMETERS == refusal(query=query)


@pytest.mark.row("TX-2.1-03", "OA-5.2-05", "SB-2.4-01")
@pytest.mark.parametrize(
    ("form", "reason"),
    [
        pytest.param([], Reason.REQUEST_GRANT_TYPE_MISSING, id="no-form"),
        pytest.param(
            with_parameters(grant_type=None), Reason.REQUEST_GRANT_TYPE_MISSING, id="missing"
        ),
        pytest.param(with_parameters(grant_type=""), Reason.REQUEST_GRANT_TYPE_MISSING, id="empty"),
        pytest.param(
            with_parameters(grant_type=GRANT_TYPE_TOKEN_EXCHANGE.upper()),
            Reason.REQUEST_GRANT_TYPE_UNSUPPORTED,
            id="case-changed",
        ),
        pytest.param(
            with_parameters(grant_type=GRANT_TYPE_TOKEN_EXCHANGE + " "),
            Reason.REQUEST_GRANT_TYPE_UNSUPPORTED,
            id="trailing-space",
        ),
        pytest.param(
            [("grant_type", "password"), ("username", "u"), ("password", "p")],
            Reason.REQUEST_GRANT_TYPE_UNSUPPORTED,
            id="a-whole-request-of-another-grant",
        ),
    ],
)
def test_the_grant_type_is_exact(form, reason):
    """RFC 6749 §5.2: and asked for first, since another grant has other parameters."""
    assert reason == refusal(form)


@pytest.mark.row("TX-2.1-04", "TX-2.1-05", "TX-2.1-08", "TX-2.1-09", "OA-3.2-02", "CVE-2026-49448")
@pytest.mark.parametrize("empty", [None, ""], ids=["missing", "empty"])
@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ("subject_token", Reason.REQUEST_SUBJECT_TOKEN_MISSING),
        ("subject_token_type", Reason.REQUEST_SUBJECT_TOKEN_TYPE_MISSING),
        ("actor_token", Reason.REQUEST_ACTOR_TOKEN_MISSING),
        ("actor_token_type", Reason.REQUEST_ACTOR_TOKEN_TYPE_MISSING),
    ],
)
def test_each_token_has_its_type_and_each_type_its_token(parameter, reason, empty):
    """RFC 8693 §2.1."""
    both = {"actor_token": "d.e.f", "actor_token_type": JWT}

    assert reason == refusal(with_parameters(**both | {parameter: empty}))


@pytest.mark.row("TX-2.1-14")
@pytest.mark.parametrize(
    "requested",
    [
        TokenType.ID_TOKEN.value,
        "urn:ietf:params:oauth:token-type:refresh_token",
        "urn:ietf:params:oauth:token-type:saml2",
        f"{JWT} ",
        JWT.upper(),
        "jwt",
    ],
)
def test_another_type_is_never_issued_instead(requested):
    """RFC 8693 §2.2.1: what cannot be issued is refused."""
    assert Reason.REQUEST_REQUESTED_TOKEN_TYPE_UNSUPPORTED == refusal(
        with_parameters(requested_token_type=requested)
    )


@pytest.mark.row("TX-2.1-15", "OA-3.2-02", "ATK-HTTP-02")
def test_empty_is_absent_and_unknown_is_nothing():
    """RFC 6749 §3.2: also when repeated, and a look-alike of a known name is unknown."""
    noise = [
        *((name, "") for name in NAMES if name not in dict(GOOD)),
        *[("audience", ""), ("audience", ""), ("resource", "")],
        *[("foo", "1"), ("foo", "2"), ("", "x"), ("", "y")],
        *[("subject_token[]", "x"), ("Subject_Token", "x"), ("subject_token ", "x")],
        *[("audience[0]", "x"), ("scope\u200b", "x"), ("client.id", "x")],
    ]

    assert parsed() == parsed(GOOD + noise)


@pytest.mark.row("TX-2.1-16", "D-03", "CVE-2026-9704")
@pytest.mark.parametrize("copies", [("x", "x"), ("x", "y"), ("x", ""), ("", "x"), ("", "")])
@pytest.mark.parametrize("name", NAMES)
def test_a_repeated_parameter_is_refused(name, copies):
    """RFC 6749 §3.2: equal, unequal or empty."""
    form = [pair for pair in GOOD if pair[0] != name] + [(name, copy) for copy in copies]

    assert Reason.REQUEST_REPEATED_PARAMETER == refusal(form)


@pytest.mark.row("TX-2.1-16", "ATK-HTTP-02")
def test_an_encoded_name_is_the_same_name():
    """RFC 6749 appendix B: names are compared after decoding."""
    body = urlencode(GOOD).encode() + b"&subject%5Ftoken=other"

    assert Reason.REQUEST_REPEATED_PARAMETER == refusal(body)


@pytest.mark.row("D-12")
def test_an_earlier_fault_hides_a_later_one():
    """Ours: media type, size, query, form, repeats, grant type, tokens, requested type."""
    large = b"a" * (MAX_BODY + 1)
    twice = [("scope", "a"), ("scope", "b")]
    outcomes = [
        refusal(large, content_types=(), query=b"x"),
        refusal(large, query=b"x"),
        refusal(b"%zz", query=b"x"),
        refusal(b"&" * 300 + b"%zz"),
        refusal(b"scope=a&scope=b&c=%zz"),
        refusal([("grant_type", "x"), *twice]),
        refusal([("grant_type", "x"), ("requested_token_type", "x")]),
        refusal([("grant_type", GRANT_TYPE_TOKEN_EXCHANGE), ("requested_token_type", "x")]),
        refusal(with_parameters(requested_token_type="x")),
    ]

    assert [
        Reason.REQUEST_MEDIA_TYPE,
        Reason.REQUEST_BODY_TOO_LARGE,
        Reason.REQUEST_QUERY_PARAMETERS,
        Reason.REQUEST_TOO_MANY_PARAMETERS,
        Reason.REQUEST_MALFORMED_FORM,
        Reason.REQUEST_REPEATED_PARAMETER,
        Reason.REQUEST_GRANT_TYPE_UNSUPPORTED,
        Reason.REQUEST_SUBJECT_TOKEN_MISSING,
        Reason.REQUEST_REQUESTED_TOKEN_TYPE_UNSUPPORTED,
    ] == outcomes


def test_nothing_presented_shows_in_a_repr():
    """Style §4: a value that holds a secret has a ``repr`` without it."""
    secret = "canary"
    form = with_parameters(subject_token=secret, client_secret=secret, client_assertion=secret)
    request = raw(form, authorization=(secret,))

    assert secret not in repr(request) + repr(parse_request(request, id="", source=""))


VALUE = st.sampled_from(["", "x", "y", JWT, GRANT_TYPE_TOKEN_EXCHANGE]) | st.text(
    "xé &=%", max_size=9
)


@pytest.mark.row("CVE-2026-9704", "ATK-HTTP-02")
@given(st.lists(st.tuples(st.sampled_from([*NAMES, "audience", "resource", "other"]), VALUE)))
def test_no_result_depends_on_dropping_an_input(extra):
    """CVE-2026-9704: whatever was sent and has a meaning is in the result, or it is refused."""
    form = GOOD + extra
    try:
        request = parsed(form)
    except ParseRejected as rejected:
        assert rejected.reason.startswith("request.")
        return
    credentials = request.credentials
    read = {
        "grant_type": GRANT_TYPE_TOKEN_EXCHANGE,
        "subject_token": request.unverified_subject_token,
        "subject_token_type": request.subject_token_type,
        "actor_token": request.unverified_actor_token,
        "actor_token_type": request.actor_token_type,
        "scope": request.scope,
        "purpose": request.purpose,
        "client_id": credentials.unverified_client_id,
        "client_secret": credentials.unverified_client_secret,
        "client_assertion": credentials.unverified_client_assertion,
        "client_assertion_type": credentials.unverified_client_assertion_type,
    }
    sent = [(name, value) for name, value in form if value]

    assert {n: v for n, v in sent if n in read} == {n: v for n, v in read.items() if v is not None}
    assert tuple(value for name, value in sent if name == "audience") == request.audiences
    assert tuple(value for name, value in sent if name == "resource") == request.resources
    assert dict(sent).get("requested_token_type", TokenType.ACCESS_TOKEN) == (
        request.requested_token_type
    )


@given(st.binary(max_size=80), st.lists(st.text(max_size=40), max_size=2), st.binary(max_size=3))
def test_any_bytes_are_a_request_or_a_refusal(body, content_types, query):
    """Ours: no other exception."""
    for types in (tuple(content_types), (FORM,)):
        try:
            parsed(body, content_types=types, query=query)
        except ParseRejected as rejected:
            assert rejected.reason.startswith("request.")
