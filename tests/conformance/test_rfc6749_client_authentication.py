"""RFC 6749 §2.3, §3.2, §5.2 and RFC 7523: who a client is, and what it is told when it is not."""

import base64
import time

import pytest

from tests.configuration import secret
from tests.jwts import (
    BROKER_ISSUER,
    CLIENT_KEY,
    STRANGERS_KEY,
    client_assertion,
    public_jwk,
    subject_jwt,
)
from tests.wire import ASSERTION_TYPE, assert_issued, assert_refused, basic, exchange_form

ENDPOINT = f"{BROKER_ISSUER}/token"


def authorization(user: str, password: str) -> dict[str, str]:
    """A Basic header of exactly these bytes."""
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"authorization": f"Basic {encoded}"}


def with_assertion(assertion: str | None, client: str = "svc-jwt", **overrides):
    """An exchange form that authenticates by assertion."""
    values = {
        "subject_token": subject_jwt(aud=client),
        "client_assertion": assertion,
        "client_assertion_type": ASSERTION_TYPE,
    }
    return exchange_form(**values | overrides)


@pytest.mark.row("TX-2.1-20", "SB-2.5-01")
async def test_every_client_authenticates(broker):
    """RFC 8693 §2.1: otherwise a stolen token can be laundered by anyone."""
    response = await broker.exchange(auth=None)

    assert_refused(response, "invalid_client", 401)
    assert ["client.authentication_missing"] == await broker.audited()


@pytest.mark.row("OA-5.2-02", "OA-2.3-05", "ATK-AUTH-01", "CVE-2026-73309")
@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(authorization("svc-a", "wrong"), id="wrong-secret"),
        pytest.param(authorization("svc-a", ""), id="empty-secret"),
        pytest.param(authorization("svc-a", " "), id="blank-secret"),
        pytest.param(authorization("svc-x", "wrong"), id="unknown-client"),
        pytest.param(authorization("", secret("svc-a")), id="empty-id"),
        pytest.param(authorization("svc%00a", "x"), id="nul"),
        pytest.param(authorization("svc%252Da", secret("svc-a")), id="encoded-twice"),
        pytest.param(authorization("svc%zza", "x"), id="bad-escape"),
        pytest.param({"authorization": "Basic %%%"}, id="bad-base64"),
        pytest.param({"authorization": "Basic c3ZjLWE="}, id="no-colon"),
        pytest.param({"authorization": "Basic /////w=="}, id="not-utf-8"),
        pytest.param({"authorization": "Basic"}, id="no-credentials"),
        pytest.param({"authorization": "Bearer x"}, id="another-scheme"),
    ],
)
async def test_s5_2_failed_basic_authentication_is_401_with_a_challenge(broker, headers):
    """RFC 6749 §5.2: the same answer whatever was wrong."""
    response = await broker.exchange(auth=None, headers=headers)

    assert "Client authentication failed." == assert_refused(response, "invalid_client", 401)
    assert response.headers["www-authenticate"].startswith("Basic realm=")
    assert 1 == len(await broker.audited())


@pytest.mark.row("OA-2.3-06", "ATK-TIM-01")
async def test_an_unknown_client_looks_like_a_wrong_secret(broker):
    """RFC 6749 §2.3.1: nobody learns which client ids exist."""
    answers = []
    for client in ("svc-a", "svc-unknown"):
        response = await broker.exchange(auth=(client, "wrong"))
        headers = {
            name: value
            for name, value in response.headers.items()
            if name not in {"date", "x-request-id"}
        }
        answers.append((response.status_code, response.content, headers))

    assert answers[0] == answers[1]


@pytest.mark.row("OA-2.3-02", "D-09")
@pytest.mark.parametrize("user", ["my-client.id", "my%2Dclient%2Eid"])
async def test_s2_3_1_raw_and_form_encoded_ids_mean_the_same(broker, user):
    """RFC 6749 §2.3.1: some libraries encode, some do not."""
    form = exchange_form(subject_token=subject_jwt(aud="my-client.id"))
    headers = authorization(user, secret("my-client.id"))

    assert_issued(await broker.exchange(form, auth=None, headers=headers))


@pytest.mark.row("OA-2.3-01", "ATK-AUTH-01")
@pytest.mark.parametrize(
    "form",
    [
        pytest.param({"client_id": "svc-a", "client_secret": "x"}, id="basic-and-post"),
        pytest.param(
            {"client_assertion": "a.b.c", "client_assertion_type": ASSERTION_TYPE},
            id="basic-and-assertion",
        ),
    ],
)
async def test_s2_3_two_methods_are_refused(broker, form):
    """RFC 6749 §2.3: one method a request."""
    assert_refused(await broker.exchange(exchange_form(**form)), "invalid_request")
    assert ["client.several_methods"] == await broker.audited()


@pytest.mark.row("OA-2.3-01")
async def test_s2_3_secret_and_assertion_are_two_methods(broker):
    """RFC 6749 §2.3: one method a request."""
    form = with_assertion(client_assertion(), client_id="svc-jwt", client_secret="x")

    assert_refused(await broker.exchange(form, auth=None), "invalid_request")


@pytest.mark.row("OA-2.3-03")
async def test_s2_3_1_body_credentials_work_where_they_are_registered(broker):
    """RFC 6749 §2.3.1."""
    form = exchange_form(
        subject_token=subject_jwt(aud="svc-post"),
        client_id="svc-post",
        client_secret=secret("svc-post"),
    )

    assert_issued(await broker.exchange(form, auth=None))


@pytest.mark.row("OA-2.3-03", "CA-M-01", "OA-5.2-03")
@pytest.mark.parametrize(
    ("client", "method"),
    [("svc-a", "post"), ("svc-post", "basic"), ("svc-a", "assertion"), ("svc-jwt", "post")],
)
async def test_only_the_registered_method_counts(broker, client, method):
    """RFC 7591 §2: a good credential by another method is none."""
    form = exchange_form(subject_token=subject_jwt(aud=client))
    auth = None
    if method == "post":
        form += [("client_id", client), ("client_secret", secret(client))]
    elif method == "assertion":
        form = with_assertion(client_assertion(client), client)
    else:
        auth = basic(client)
    response = await broker.exchange(form, auth=auth)

    assert_refused(response, "invalid_client", 401)
    assert "www-authenticate" in response.headers


@pytest.mark.row("OA-3.2-03")
async def test_s3_2_1_client_id_in_the_body_agrees(broker):
    """RFC 6749 §3.2.1: several libraries send it beside Basic."""
    assert_issued(await broker.exchange(exchange_form(client_id="svc-a")))
    assert_refused(await broker.exchange(exchange_form(client_id="svc-b")), "invalid_request")
    assert ["issued", "client.id_mismatch"] == await broker.audited()


@pytest.mark.row("OA-5.2-04")
async def test_s5_2_a_client_without_the_grant_type_is_unauthorized(broker):
    """RFC 6749 §5.2."""
    form = exchange_form(subject_token=subject_jwt(aud="svc-no-grant-type"))

    assert_refused(
        await broker.exchange(form, auth=basic("svc-no-grant-type")), "unauthorized_client"
    )


@pytest.mark.row("CA-2.2-01", "CA-3-05", "CA-3-12", "CA-3-08")
@pytest.mark.parametrize(
    "assertion",
    [
        pytest.param({}, id="typ-client-authentication"),
        pytest.param({"header": {"typ": "JWT"}}, id="typ-jwt"),
        pytest.param({"aud": [BROKER_ISSUER]}, id="audience-in-an-array"),
        pytest.param({"iat": int(time.time()) + 8}, id="clock-a-little-ahead"),
    ],
)
async def test_rfc_7523_an_assertion_authenticates(broker, assertion):
    """RFC 7523 §2.2, §3: iss = sub = the client, aud = our issuer, signed by its key."""
    form = with_assertion(client_assertion(**assertion))

    assert_issued(await broker.exchange(form, auth=None))


@pytest.mark.row("CA-2.2-01")
@pytest.mark.parametrize(
    "form",
    [
        pytest.param({"client_assertion_type": None}, id="type-missing"),
        pytest.param({"client_assertion_type": "x"}, id="another-type"),
        pytest.param({"client_assertion": None}, id="assertion-missing"),
    ],
)
async def test_rfc_7523_an_assertion_comes_with_its_type(broker, form):
    """RFC 7523 §2.2: the exact URN."""
    response = await broker.exchange(with_assertion(client_assertion(), **form), auth=None)

    assert_refused(response, "invalid_request")


NOW = int(time.time())  # when the run began: faults are further off than a run is long


@pytest.mark.row(
    *("CA-3-01", "CA-3-03", "CA-3-04", "CA-3-05", "CA-3-06", "CA-3-07", "CA-3-08", "CA-3-09"),
    *("CA-3-10", "CA-3-11", "CA-3-12", "CA-3.2-01", "ATK-AUTH-02", "JW-12"),
)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"iss": "svc-a"}, id="iss-is-another"),
        pytest.param({"sub": "svc-a"}, id="sub-is-another"),
        pytest.param({"iss": None}, id="iss-null"),
        pytest.param({"aud": "https://other.test"}, id="for-another-server"),
        pytest.param({"aud": None}, id="aud-null"),
        pytest.param({"aud": []}, id="aud-empty"),
        pytest.param({"aud": f"{BROKER_ISSUER}/"}, id="aud-trailing-slash"),
        pytest.param({"aud": f"{BROKER_ISSUER}:443"}, id="aud-port"),
        pytest.param({"aud": BROKER_ISSUER.upper()}, id="aud-case"),
        pytest.param({"aud": [BROKER_ISSUER, "https://other.test"]}, id="aud-not-sole"),
        pytest.param({"aud": ENDPOINT}, id="aud-endpoint-without-the-setting"),
        pytest.param({"exp": None}, id="exp-null"),
        pytest.param({"exp": NOW - 120}, id="expired"),
        pytest.param({"exp": str(NOW + 60)}, id="exp-string"),
        pytest.param({"exp": True}, id="exp-bool"),
        pytest.param({"exp": NOW + 7200}, id="exp-too-far"),
        pytest.param({"iat": NOW - 90_000}, id="iat-a-day-old"),
        pytest.param({"iat": NOW + 86_400}, id="iat-ahead"),
        pytest.param({"nbf": NOW + 86_400}, id="not-yet-valid"),
        pytest.param({"jti": None}, id="jti-null"),
        pytest.param({"jti": ""}, id="jti-empty"),
        pytest.param({"header": {"typ": "at+jwt"}}, id="an-access-token"),
        pytest.param({"header": {"typ": "dpop+jwt"}}, id="a-dpop-proof"),
        pytest.param({"header": {"typ": "secevent+jwt"}}, id="a-set"),
        pytest.param({"header": {"alg": "none"}}, id="alg-none"),
        pytest.param({"header": {"alg": "HS256"}}, id="alg-hs256"),
        pytest.param({"header": {"crit": ["exp"]}}, id="crit"),
        pytest.param({"key": STRANGERS_KEY}, id="unknown-key"),
        pytest.param(
            {"key": STRANGERS_KEY, "header": {"kid": public_jwk(CLIENT_KEY)["kid"]}}, id="forged"
        ),
    ],
)
async def test_rfc_7523_a_bad_assertion_is_invalid_client(broker, fault):
    """RFC 7523 §3: every rule, one answer."""
    response = await broker.exchange(with_assertion(client_assertion(**fault)), auth=None)

    assert "Client authentication failed." == assert_refused(response, "invalid_client", 401)


@pytest.mark.row("CA-2.2-01")
@pytest.mark.parametrize("pattern", ["{0} {0}", "{0},{0}", "{0}x.y", "{0} "])
async def test_rfc_7523_exactly_one_assertion(broker, pattern):
    """RFC 7523 §2.2: no second JWT and no trailing text."""
    form = with_assertion(pattern.format(client_assertion()))

    assert_refused(await broker.exchange(form, auth=None), "invalid_client", 401)


@pytest.mark.row("CA-3-06", "D-04")
async def test_rfc_7523_the_endpoint_as_audience_needs_the_setting(broker):
    """RFC 7523 §3: for the libraries that send it, client by client."""
    assertion = client_assertion("svc-jwt-endpoint", aud=ENDPOINT)

    assert_issued(await broker.exchange(with_assertion(assertion, "svc-jwt-endpoint"), auth=None))


@pytest.mark.row("CA-3-02")
async def test_rfc_7521_client_id_names_the_same_client(broker):
    """RFC 7521 §4.2."""
    same = with_assertion(client_assertion(), client_id="svc-jwt")
    other = with_assertion(client_assertion(), client_id="svc-a")

    assert_issued(await broker.exchange(same, auth=None))
    assert_refused(await broker.exchange(other, auth=None), "invalid_client", 401)


@pytest.mark.row("CA-3-10", "ATK-RPL-01", "CVE-2025-46815")
async def test_rfc_7523_an_assertion_is_used_once(broker):
    """RFC 7523 §3: its jti is claimed, exactly as it is spelled."""
    assertion = client_assertion(jti="one-a")
    spelled_otherwise = client_assertion(jti="one-A")
    answers = [
        await broker.exchange(with_assertion(token), auth=None)
        for token in (assertion, assertion, spelled_otherwise)
    ]

    assert [200, 401, 200] == [answer.status_code for answer in answers]
    assert ["issued", "client.assertion_replayed", "issued"] == await broker.audited()


@pytest.mark.row("OA-3.3-01", "ATK-SCP-01", "OA-5.2-06")
@pytest.mark.parametrize(
    "scope",
    ['"', "\\", "a\tb", "a\nb", "a\u00a0b", "é", " a", "a ", "a  b", "\u043erders.read"],
)
async def test_s3_3_a_malformed_scope_is_invalid_scope(broker, scope):
    """RFC 6749 §3.3: and nothing is normalised."""
    assert_refused(await broker.exchange(exchange_form(scope=scope)), "invalid_scope")
    assert ["scope.malformed"] == await broker.audited()


@pytest.mark.row("OA-3.3-02")
async def test_s3_3_order_and_repeats_mean_nothing(broker):
    """RFC 6749 §3.3."""
    token = subject_jwt(scope="orders.write orders.read")
    form = exchange_form(subject_token=token, scope="orders.write orders.read orders.write")

    assert {"orders.read", "orders.write"} == set(
        assert_issued(await broker.exchange(form))["scope"].split(" ")
    )
