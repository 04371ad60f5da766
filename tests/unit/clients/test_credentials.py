"""Which credentials a request presents: one method, one client, nothing decoded twice."""

import base64
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.clients.credentials import PresentedAssertion, PresentedSecret, read_credentials
from broker.domain import Credentials
from broker.errors import AuthenticationRejected, Reason
from broker.oauth import CLIENT_ASSERTION_TYPE_JWT_BEARER, AuthMethod

BASIC = AuthMethod.CLIENT_SECRET_BASIC


def header(text: str | bytes, scheme: str = "Basic") -> str:
    """An Authorization header of exactly these bytes."""
    data = text if isinstance(text, bytes) else text.encode()
    return f"{scheme} {base64.b64encode(data).decode()}"


def refusal(credentials: Credentials) -> Reason:
    """Why these credentials are not even judged."""
    with pytest.raises(AuthenticationRejected) as caught:
        read_credentials(credentials)
    return caught.value.reason


@pytest.mark.row("OA-2.3-02", "D-09")
@pytest.mark.parametrize(
    ("text", "client_id", "secret"),
    [
        pytest.param("svc-a:s3cret", "svc-a", "s3cret", id="raw"),
        pytest.param("my-client.id:x", "my-client.id", "x", id="raw-punctuation"),
        pytest.param("my%2Dclient%2Eid:x", "my-client.id", "x", id="encoded-punctuation"),
        pytest.param("my%2dclient%2eid:x", "my-client.id", "x", id="encoded-lower-case"),
        pytest.param("svc-a:a%3Ab", "svc-a", "a:b", id="colon-encoded"),
        pytest.param("svc-a:a:b", "svc-a", "a:b", id="colon-raw"),
        pytest.param("svc-a:a+b%2Bc", "svc-a", "a b+c", id="plus"),
        pytest.param("svc-a:%C3%A9", "svc-a", "é", id="utf-8-encoded"),
        pytest.param("svc-a:é", "svc-a", "é", id="utf-8-raw"),
        pytest.param("svc%252Da:x", "svc%2Da", "x", id="decoded-once-only"),
        pytest.param("svc-a:", "svc-a", "", id="empty-secret-is-judged-later"),
    ],
)
def test_basic_credentials_are_form_decoded_once(text, client_id, secret):
    """RFC 6749 §2.3.1: raw and encoded mean the same in the charset that we generate."""
    read = read_credentials(Credentials(unverified_authorization=(header(text),)))

    assert PresentedSecret(BASIC, client_id, secret) == read


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "bAsIc", "Basic  "])
def test_the_scheme_has_no_case(scheme):
    """RFC 9110 §11.1."""
    value = header("svc-a:x", scheme)

    assert isinstance(read_credentials(Credentials((value,))), PresentedSecret)


@pytest.mark.row("OA-2.3-05", "ATK-AUTH-01")
@pytest.mark.parametrize(
    "value",
    [
        pytest.param("Basic", id="no-credentials"),
        pytest.param("Basic ", id="blank-credentials"),
        pytest.param("", id="empty-header"),
        pytest.param("Bearer abc", id="another-scheme"),
        pytest.param("Basic\tc3ZjLWE6eA==", id="tab"),
        pytest.param("Basic c3ZjLWE6eA== ", id="trailing-space"),
        pytest.param("Basic c3ZjLWE6eA==, Basic c3ZjLWE6eA==", id="list-of-two"),
        pytest.param("Basic %%%", id="bad-base64"),
        pytest.param("Basic c3ZjLWE6eA", id="unpadded"),
        pytest.param("Basic c3ZjL-E6eA==", id="base64url"),
        pytest.param("Basic c3Zj LWE6eA==", id="space-inside"),
        pytest.param(header("svc-a"), id="no-colon"),
        pytest.param(header(""), id="nothing"),
        pytest.param(header(":secret"), id="empty-id"),
        pytest.param(header(b"\xff\xfe:x"), id="not-utf-8"),
        pytest.param(header(b"svc\xc0\xada:x"), id="overlong-utf-8"),
        pytest.param(header("svc%C0%ADa:x"), id="overlong-utf-8-encoded"),
        pytest.param(header("svc%ED%A0%80a:x"), id="surrogate-encoded"),
        pytest.param(header("svc%00a:x"), id="nul"),
        pytest.param(header("svc-a:x%0D%0A"), id="line-break"),
        pytest.param(header("svc%zza:x"), id="bad-escape"),
        pytest.param(header("svc-a:x%2"), id="short-escape"),
        pytest.param(header("svc-a:100%"), id="lone-percent"),
        pytest.param(header("svc-a:%+2x"), id="signed-escape"),
    ],
)
def test_malformed_basic_is_a_failed_authentication(value):
    """RFC 6749 §5.2: 401, never a crash and never a lenient reading."""
    credentials = Credentials(unverified_authorization=(value,))

    assert Reason.CLIENT_CREDENTIALS_MALFORMED is refusal(credentials)


def test_a_large_header_is_read_in_linear_time():
    """The listener bounds headers at 16 KiB; nothing here is worse than linear in it."""
    credentials = Credentials(unverified_authorization=("Basic " + "A" * 1_000_000 + "!",))

    assert Reason.CLIENT_CREDENTIALS_MALFORMED is refusal(credentials)


SECRET = {"unverified_client_id": "svc-a", "unverified_client_secret": "x"}
ASSERTION = {
    "unverified_client_assertion": "a.b.c",
    "unverified_client_assertion_type": CLIENT_ASSERTION_TYPE_JWT_BEARER,
}
HEADER = {"unverified_authorization": (header("svc-a:x"),)}


@pytest.mark.row("OA-2.3-01", "ATK-AUTH-01")
@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param(HEADER | SECRET, id="basic-and-post"),
        pytest.param(HEADER | ASSERTION, id="basic-and-assertion"),
        pytest.param(SECRET | ASSERTION, id="post-and-assertion"),
        pytest.param(HEADER | SECRET | ASSERTION, id="all-three"),
        pytest.param({"unverified_authorization": ("Bearer x",)} | SECRET, id="bearer-and-post"),
        pytest.param({"unverified_authorization": (header("a:x"),) * 2}, id="header-twice"),
        pytest.param(HEADER | {"unverified_client_assertion": "a.b.c"}, id="basic-and-half"),
        pytest.param(
            HEADER | {"unverified_client_assertion_type": "x"}, id="basic-and-the-other-half"
        ),
    ],
)
def test_two_methods_are_one_too_many(credentials):
    """RFC 6749 §2.3: whichever was checked, the other could say something else."""
    assert Reason.CLIENT_SEVERAL_METHODS is refusal(Credentials(**credentials))


@pytest.mark.row("OA-2.3-01", "TX-2.1-20", "SB-2.5-01", "CA-N-01")
@pytest.mark.parametrize("credentials", [{}, {"unverified_client_id": "svc-a"}])
def test_no_method_is_no_client(credentials):
    """There are no public clients: a name proves nothing."""
    assert Reason.CLIENT_AUTHENTICATION_MISSING is refusal(Credentials(**credentials))


@pytest.mark.row("OA-3.2-03", "ATK-AUTH-01")
def test_client_id_agrees_with_basic():
    """RFC 6749 §3.2.1: several libraries send it as well; it must name the same client."""
    same = Credentials(**HEADER, unverified_client_id="svc-a")
    other = Credentials(**HEADER, unverified_client_id="svc-b")

    assert PresentedSecret(BASIC, "svc-a", "x") == read_credentials(same)
    assert Reason.CLIENT_ID_MISMATCH is refusal(other)


def test_a_secret_alone_names_nobody():
    """A secret without a client is not looked up."""
    credentials = Credentials(unverified_client_secret="x")

    assert Reason.CLIENT_CREDENTIALS_MALFORMED is refusal(credentials)


@pytest.mark.row("CA-2.2-01")
@pytest.mark.parametrize(
    "credentials",
    [
        pytest.param({"unverified_client_assertion": "a.b.c"}, id="type-missing"),
        pytest.param(
            {"unverified_client_assertion_type": CLIENT_ASSERTION_TYPE_JWT_BEARER},
            id="assertion-missing",
        ),
        pytest.param(ASSERTION | {"unverified_client_assertion_type": "x"}, id="another-type"),
        pytest.param(
            ASSERTION
            | {"unverified_client_assertion_type": CLIENT_ASSERTION_TYPE_JWT_BEARER.upper()},
            id="type-in-another-case",
        ),
        pytest.param(
            ASSERTION
            | {
                "unverified_client_assertion_type": (
                    "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
                )
            },
            id="saml",
        ),
    ],
)
def test_an_assertion_comes_with_exactly_its_type(credentials):
    """RFC 7523 §2.2."""
    assert Reason.CLIENT_ASSERTION_INCOMPLETE is refusal(Credentials(**credentials))


def test_each_method_is_recognised():
    """The honest twins of all of the above."""
    post = PresentedSecret(AuthMethod.CLIENT_SECRET_POST, "svc-a", "x")

    assert post == read_credentials(Credentials(**SECRET))
    assert PresentedAssertion("a.b.c", "svc-a") == read_credentials(
        Credentials(**ASSERTION, unverified_client_id="svc-a")
    )


def test_credentials_are_not_shown():
    """``repr`` is what a log or a debugger shows of them."""
    everything = [
        Credentials(**HEADER | SECRET | ASSERTION),
        PresentedSecret(BASIC, "svc-a", "s3cret"),
        PresentedAssertion("a.b.c", None),
    ]

    assert not any(word in repr(everything) for word in ("s3cret", "a.b.c", "Basic c3Zj"))


UNRESERVED = st.text("abcXYZ019-._~", min_size=1)


@given(UNRESERVED, UNRESERVED)
def test_raw_and_encoded_are_the_same_client(client_id, secret):
    """D-09: a library that encodes and one that does not."""
    raw = header(f"{client_id}:{secret}")
    every_octet = [
        "".join(f"%{octet:02X}" for octet in part.encode()) for part in (client_id, secret)
    ]
    encoded = header(":".join(every_octet))
    expected = PresentedSecret(BASIC, client_id, secret)

    assert [expected, expected] == [read_credentials(Credentials((h,))) for h in (raw, encoded)]


@given(st.text(min_size=1), st.text())
def test_whatever_is_encoded_arrives(client_id, secret):
    """RFC 6749 appendix B: any printable text survives encoding; nothing else is accepted."""
    try:
        value = header(f"{quote_plus(client_id)}:{quote_plus(secret)}")
    except UnicodeEncodeError:
        return
    try:
        read = read_credentials(Credentials((value,)))
    except AuthenticationRejected:
        assert not (client_id + secret).isprintable()
    else:
        assert PresentedSecret(BASIC, client_id, secret) == read


@given(st.one_of(st.text(), st.binary().map(header)))
def test_no_header_breaks_the_reader(value):
    """Whatever arrives is read or refused."""
    try:
        read_credentials(Credentials((value,)))
    except AuthenticationRejected as rejected:
        assert Reason.CLIENT_CREDENTIALS_MALFORMED is rejected.reason
