"""Step 1, authenticate: one method, one client, and nobody learns which of it was wrong."""

import asyncio
import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.blocklist.rule import Scope
from broker.clients import secret as secrets_module
from broker.domain import Client, Credentials, Principal
from broker.errors import PUBLIC, AuthenticationRejected, Reason
from broker.limits.throttle import FailureThrottle
from broker.oauth import AuthMethod
from broker.settings import Rate
from tests.builders import revocation
from tests.configuration import document, secret
from tests.fakes import Revoked
from tests.jwts import BROKER_ISSUER, IDP, STRANGERS_KEY, client_assertion
from tests.places import asserting, authenticator

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
ELSEWHERE = "198.51.100.7"


def basic(client_id: str, password: str) -> Credentials:
    """Credentials by Basic."""
    text = base64.b64encode(f"{client_id}:{password}".encode()).decode()
    return Credentials(unverified_authorization=(f"Basic {text}",))


def posted(client_id: str | None, password: str) -> Credentials:
    """Credentials in the body."""
    return Credentials(unverified_client_id=client_id, unverified_client_secret=password)


async def outcome(using, credentials, *, source="192.0.2.1", now=NOW) -> str:
    """The client's id, or the reason."""
    try:
        return (await using.authenticate(credentials, source=source, now=now)).id
    except AuthenticationRejected as rejected:
        return rejected.reason.value


def throttled(count: int) -> FailureThrottle:
    """A throttle that allows that many failures a minute."""
    return FailureThrottle(Rate.model_validate(f"{count}/1m"))


async def test_a_client_is_what_its_configuration_says():
    """Design §5: and none of its secrets goes further than this step."""
    body = document()
    (known,) = (each for each in body["clients"] if each["id"] == "svc-known")
    client = await authenticator().authenticate(
        basic("svc-known", secret("svc-known")), source="192.0.2.1", now=NOW
    )

    assert (
        Client(
            id="svc-known",
            principal=Principal(BROKER_ISSUER, "svc-known"),
            auth_method=AuthMethod.CLIENT_SECRET_BASIC,
            known_as=frozenset({Principal(IDP, "known-app")}),
        )
        == client
    )
    assert known["secrets"][0].removeprefix("sha256:") not in repr(client)


@pytest.mark.row("OA-2.3-02", "OA-2.3-03", "OA-2.3-07", "CA-M-01", "CVE-2026-73309")
@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        pytest.param(basic("svc-a", secret("svc-a")), "svc-a", id="basic"),
        pytest.param(posted("svc-post", secret("svc-post")), "svc-post", id="post"),
        pytest.param(
            basic("svc-post", secret("svc-post")), "client.method_not_allowed", id="basic-for-post"
        ),
        pytest.param(
            posted("svc-a", secret("svc-a")), "client.method_not_allowed", id="post-for-basic"
        ),
        pytest.param(
            basic("svc-jwt", "x" * 43), "client.method_not_allowed", id="a-secret-for-a-key"
        ),
        pytest.param(
            basic("svc-post", "x"), "client.method_not_allowed", id="the-method-before-the-secret"
        ),
        pytest.param(basic("svc-a", "x"), "client.secret_mismatch", id="wrong-secret"),
        pytest.param(basic("svc-a", secret("svc-b")), "client.secret_mismatch", id="another-s"),
        pytest.param(basic("svc-a", ""), "client.secret_mismatch", id="empty-secret"),
        pytest.param(basic("svc-a", "   "), "client.secret_mismatch", id="spaces"),
        pytest.param(basic("svc-a", secret("svc-a") + " "), "client.secret_mismatch", id="space"),
        pytest.param(basic("svc-a", secret("svc-a")[:-1]), "client.secret_mismatch", id="prefix"),
        pytest.param(
            basic("svc-a", hashlib.sha256(secret("svc-a").encode()).hexdigest()),
            "client.secret_mismatch",
            id="its-hash",
        ),
        pytest.param(basic("SVC-A", secret("svc-a")), "client.unknown", id="id-in-upper-case"),
        pytest.param(basic("nobody", secret("svc-a")), "client.unknown", id="unknown"),
        pytest.param(posted(None, secret("svc-a")), "client.credentials_malformed", id="no-id"),
        pytest.param(Credentials(), "client.authentication_missing", id="nothing"),
        pytest.param(
            basic("svc-no-grant-type", secret("svc-no-grant-type")),
            "client.grant_type_not_allowed",
            id="may-not-exchange",
        ),
        pytest.param(
            basic("svc-no-grant-type", "x"), "client.secret_mismatch", id="and-is-not-told-so"
        ),
    ],
)
async def test_a_secret_is_the_client_s_own_by_its_own_method(credentials, expected):
    """RFC 6749 §2.3.1: exactly, and never nothing."""
    assert expected == await outcome(authenticator(), credentials)


@pytest.mark.row("OA-2.3-06", "OA-5.2-02", "ATK-TIM-01")
def test_whatever_was_wrong_the_answer_is_one():
    """RFC 6749 §5.2: unknown client, wrong secret, wrong method and bad assertion look alike."""
    wrong = [
        Reason.CLIENT_CREDENTIALS_MALFORMED,
        Reason.CLIENT_UNKNOWN,
        Reason.CLIENT_METHOD_NOT_ALLOWED,
        Reason.CLIENT_SECRET_MISMATCH,
        Reason.CLIENT_ASSERTION_INVALID,
        Reason.CLIENT_ASSERTION_EXPIRED,
        Reason.CLIENT_ASSERTION_AUDIENCE,
        Reason.CLIENT_ASSERTION_REPLAYED,
    ]

    assert 1 == len({PUBLIC[reason] for reason in wrong})


@pytest.mark.row("ATK-TIM-01", "OA-2.3-06")
async def test_an_unknown_client_costs_what_a_wrong_secret_costs(monkeypatch):
    """ATK-TIM-01: equal work, counted: one hash and two comparisons, for each of them."""
    calls = []
    digest, compare = hashlib.sha256, secrets_module.hmac.compare_digest

    class Hashing:
        @staticmethod
        def sha256(data):
            calls.append("hash")
            return digest(data)

    class Comparing:
        @staticmethod
        def compare_digest(one, other):
            calls.append("compare")
            return compare(one, other)

    using = authenticator()
    monkeypatch.setattr(secrets_module, "hashlib", Hashing)
    monkeypatch.setattr(secrets_module, "hmac", Comparing)
    work = []
    for credentials in (
        basic("svc-a", secret("svc-a")),
        basic("svc-a", "wrong"),
        basic("nobody", "wrong"),
        basic("svc-jwt", "wrong"),
        posted("svc-a", "wrong"),
    ):
        calls.clear()
        await outcome(using, credentials)
        work.append(tuple(calls))

    assert [("hash", "compare", "compare")] * 5 == work


@pytest.mark.row("OA-2.3-04", "ATK-AUTH-01")
async def test_a_guesser_is_refused_even_the_right_secret_while_it_waits():
    """RFC 6749 §2.3.1: otherwise each guess would still be worth its answer."""
    using = authenticator(throttle=throttled(3))
    right, wrong = basic("svc-a", secret("svc-a")), basic("svc-a", "wrong")
    outcomes = [await outcome(using, each) for each in (right, wrong, wrong, wrong, wrong, right)]

    assert [
        "svc-a",
        *["client.secret_mismatch"] * 3,
        *["client.throttled"] * 2,
    ] == outcomes
    assert "svc-b" == await outcome(using, basic("svc-b", secret("svc-b")))
    assert "svc-a" == await outcome(using, right, source=ELSEWHERE)


@pytest.mark.row("OA-2.3-04", "CA-3-11")
@pytest.mark.parametrize(
    ("credentials", "counts"),
    [
        pytest.param(lambda: basic("svc-a", "wrong"), True, id="wrong-secret"),
        pytest.param(lambda: posted("svc-a", "wrong"), True, id="another-method"),
        pytest.param(lambda: basic("nobody", "wrong"), True, id="unknown"),
        pytest.param(lambda: posted(None, "wrong"), True, id="malformed"),
        pytest.param(lambda: asserting("x.y.z"), True, id="malformed-assertion"),
        pytest.param(
            lambda: asserting(client_assertion(key=STRANGERS_KEY)), True, id="forged-assertion"
        ),
        pytest.param(lambda: asserting(client_assertion(exp=1)), True, id="expired-assertion"),
        pytest.param(lambda: asserting(client_assertion(aud="x")), True, id="assertion-for-x"),
        pytest.param(lambda: basic("svc-a", secret("svc-a")), False, id="a-success"),
        pytest.param(Credentials, False, id="nothing"),
        pytest.param(lambda: Credentials(("Basic eDp5",), "x", "y"), False, id="several-methods"),
        pytest.param(
            lambda: basic("svc-no-grant-type", secret("svc-no-grant-type")),
            False,
            id="may-not-exchange",
        ),
    ],
)
async def test_what_was_judged_and_not_good_is_counted_and_nothing_else(credentials, counts):
    """OA-2.3-04: a mistake in the request is no guess."""
    using = authenticator(throttle=throttled(1))
    first = await outcome(using, credentials(), now=datetime.now(UTC))
    again = await outcome(using, credentials(), now=datetime.now(UTC))

    assert "client.throttled" != first
    assert counts == (again == "client.throttled")


@pytest.mark.row("OA-2.3-04")
async def test_who_waits_is_told_how_long():
    """RFC 6585 §4: seconds until one more failure fits."""
    using = authenticator(throttle=throttled(2))
    for _ in range(2):
        await outcome(using, basic("svc-a", "wrong"))
    with pytest.raises(AuthenticationRejected) as caught:
        await using.authenticate(basic("svc-a", "wrong"), source="192.0.2.1", now=NOW)

    assert (Reason.CLIENT_THROTTLED, 30) == (caught.value.reason, caught.value.retry_after)


BLOCKED = revocation(Scope.CLIENT, key="svc-a", not_before=NOW + timedelta(hours=1))


@pytest.mark.row("CA-D-01", "CVE-2025-64521", "INV-10")
async def test_a_client_that_is_blocked_is_refused_until_then():
    """By secret and by assertion; the others are not."""
    using = authenticator(
        revocations=Revoked(
            BLOCKED, revocation(Scope.ACTOR, issuer=IDP, key="known-app", not_before=NOW)
        )
    )
    right = basic("svc-a", secret("svc-a"))

    assert "client.revoked" == await outcome(using, right)
    assert "client.revoked" == await outcome(using, right, now=NOW + timedelta(minutes=59))
    assert "svc-a" == await outcome(using, right, now=NOW + timedelta(hours=1))
    assert "svc-post" == await outcome(using, posted("svc-post", secret("svc-post")))
    assert "svc-known" == await outcome(using, basic("svc-known", secret("svc-known")))
    assert "client.revoked" == await outcome(
        using, basic("svc-known", secret("svc-known")), now=NOW - timedelta(seconds=1)
    )


@pytest.mark.row("CA-D-01", "OA-2.3-06")
async def test_that_it_is_blocked_is_told_to_nobody_without_its_secret():
    """Who guesses learns nothing; who has found the secret is not told that it was right."""
    using = authenticator(revocations=Revoked(BLOCKED))
    throttle = throttled(1)
    counted = authenticator(revocations=Revoked(BLOCKED), throttle=throttle)

    assert "client.secret_mismatch" == await outcome(using, basic("svc-a", "wrong"))
    assert PUBLIC[Reason.CLIENT_SECRET_MISMATCH] == PUBLIC[Reason.CLIENT_REVOKED]
    assert ["client.revoked"] * 3 == [
        await outcome(counted, basic("svc-a", secret("svc-a"))) for _ in range(3)
    ]


@pytest.mark.row("TX-2.2.2-06", "CA-D-01")
async def test_while_nobody_knows_who_is_blocked_nobody_gets_in():
    """503, also for a client that never was; a wrong secret is still a wrong secret."""
    revocations = Revoked()
    revocations.stale = True
    using = authenticator(revocations=revocations)

    assert "revocation.unavailable" == await outcome(using, basic("svc-a", secret("svc-a")))
    assert "client.secret_mismatch" == await outcome(using, basic("svc-a", "wrong"))


@pytest.mark.row("ATK-AUTH-01", "OA-2.3-05", "CVE-2026-49448")
@settings(max_examples=200, deadline=None)
@given(
    header=st.none() | st.text(max_size=30) | st.builds(lambda t: f"Basic {t}", st.text()),
    client_id=st.none() | st.text(min_size=1, max_size=8) | st.just("svc-a"),
    password=st.none() | st.text(min_size=1, max_size=8),
    assertion=st.none() | st.text(min_size=1, max_size=20),
    assertion_type=st.none() | st.text(min_size=1, max_size=8),
)
def test_nobody_gets_in_by_anything_else(header, client_id, password, assertion, assertion_type):
    """ATK-AUTH-01: whatever is sent, it is a refusal of the closed set."""
    credentials = Credentials(
        () if header is None else (header,), client_id, password, assertion, assertion_type
    )
    reason = Reason(asyncio.run(outcome(authenticator(), credentials)))

    assert reason.value.startswith("client.")
