"""The exchange as client libraries see it that nobody here wrote: discovery, request, answer.

The same promises for each, on the broker's own wire. Resource servers are in ``test_tokens.py``.
"""

import pytest

from tests.clients.libraries import (
    AUTHLIB,
    AUTHLIB_BY_ITSELF,
    NOT_RUN,
    OAUTH4WEBAPI,
    OPENID_CLIENT,
    ZITADEL,
    Client,
)
from tests.jwts import BROKER_ISSUER, subject_jwt, unverified_claims
from tests.wire import ACCESS_TOKEN, JWT, exchange_form


def library(it, *values, id=""):  # noqa: A002 — pytest's name
    """A row for one library, which says so where it cannot run."""
    absent = pytest.mark.skipif(not it.is_here(), reason=NOT_RUN.format(it.name))
    return pytest.param(it, *values, marks=absent, id=f"{it.name}{id and '-'}{id}")


LIBRARIES = [library(it) for it in (AUTHLIB, OAUTH4WEBAPI, OPENID_CLIENT, ZITADEL)]
# What each raises for an error, and for an error with a challenge.
ERRORS = {
    "authlib": ("OAuthError", "OAuthError"),
    "oauth4webapi": ("ResponseBodyError", "WWWAuthenticateChallengeError"),
    "openid-client": ("ResponseBodyError", "WWWAuthenticateChallengeError"),
    "zitadel": ("oidc.Error", "oidc.Error"),
}


@pytest.mark.row(
    *("TX-2.1-02", "TX-2.2.1-01", "TX-2.2.1-02", "TX-2.2.1-03", "TX-2.2.1-04", "TX-2.2.1-05"),
    *("TX-2.2.1-07", "D-10", "MD-2-02", "MD-2-03", "MD-2-06", "MD-3-02", "MD-3-03"),
)
@pytest.mark.parametrize(
    ("library", "client"),
    [
        library(it, client, id=client.method)
        for client in (
            Client(),
            Client("svc-post", "client_secret_post"),
            Client("svc-jwt", "private_key_jwt"),
        )
        for it in (AUTHLIB, OAUTH4WEBAPI, OPENID_CLIENT, ZITADEL)
        if (it, client.method) != (ZITADEL, "client_secret_post")  # which it does not offer
    ],
)
async def test_a_library_finds_the_broker_and_has_a_token(broker, library, client):
    """RFC 8693 §2, RFC 8414: told the issuer and a credential, each library does the rest."""
    form = exchange_form(subject_token=subject_jwt(aud=client.id))
    token = (await library.exchange(broker.process.url, client, form))["token"]
    claims = unverified_claims(token.pop("access_token"))
    token.pop("expires_at", None)  # Authlib's own

    assert 1 <= token.pop("expires_in") <= 300
    assert "bearer" == token.pop("token_type").lower()
    assert {"issued_token_type": ACCESS_TOKEN, "scope": "orders.read"} == token
    assert ("idp:alice", "svc-b", client.id) == (claims["sub"], claims["aud"], claims["client_id"])
    assert {"iss": BROKER_ISSUER, "sub": client.id} == claims["act"]
    assert ["issued"] == await broker.audited()


@pytest.mark.row("D-09", "OA-2.3-02")
@pytest.mark.parametrize("library", LIBRARIES)
async def test_an_id_is_the_same_raw_or_encoded(broker, library):
    """RFC 6749 §2.3.1: Authlib sends ``my-client.id``, others ``my%2Dclient%2Eid``."""
    form = exchange_form(subject_token=subject_jwt(aud="my-client.id"))
    answer = await library.exchange(broker.process.url, Client("my-client.id"), form)

    assert "orders.read" == answer["token"]["scope"]
    assert ["my-client.id"] == [row["client"] for row in await broker.rows()]


@pytest.mark.row("OA-3.2-03")
@pytest.mark.parametrize("library", [library(AUTHLIB), library(OAUTH4WEBAPI)])
async def test_an_id_in_the_body_beside_basic_does_no_harm(broker, library):
    """RFC 6749 §3.2.1: some send ``client_id`` with every request."""
    form = [*exchange_form(), ("client_id", "svc-a")]
    answer = await library.exchange(broker.process.url, Client(), form)

    assert "orders.read" == answer["token"]["scope"]


@pytest.mark.row("D-14")
@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_jwt_is_asked_for_by_name(broker, library):
    """RFC 8693 §3: the library takes ``jwt`` as issued, with Bearer as its usage."""
    form = exchange_form(requested_token_type=JWT, audience=None, resource="https://svc-b.test/")
    token = (await library.exchange(broker.process.url, Client(), form))["token"]

    assert (JWT, "bearer") == (token["issued_token_type"], token["token_type"].lower())
    assert "svc-b" == unverified_claims(token["access_token"])["aud"]


@pytest.mark.row("TX-2.1-11")
@pytest.mark.parametrize("library", [library(it) for it in (OAUTH4WEBAPI, OPENID_CLIENT, ZITADEL)])
async def test_several_audiences_are_asked_for_at_once(broker, library):
    """RFC 8693 §2.1: the parameter repeated, as each library that can does it."""
    form = exchange_form(audience=["svc-b", "svc-c"])
    token = (await library.exchange(broker.process.url, Client(), form))["token"]

    assert {"svc-b", "svc-c"} == set(unverified_claims(token["access_token"])["aud"])


@pytest.mark.row("TX-2.1-26", "TX-4.1-01")
@pytest.mark.parametrize("library", LIBRARIES)
async def test_the_next_service_exchanges_what_it_was_given(broker, library):
    """RFC 8693 §4.1: svc-a for svc-b, then svc-b for svc-c; the chain names both."""
    first = await library.exchange(broker.process.url, Client(), exchange_form())
    form = exchange_form(
        subject_token=first["token"]["access_token"],
        subject_token_type=ACCESS_TOKEN,
        audience="svc-c",
    )
    second = await library.exchange(broker.process.url, Client("svc-b"), form)
    claims = unverified_claims(second["token"]["access_token"])

    outer, inner = ({"iss": BROKER_ISSUER, "sub": name} for name in ("svc-b", "svc-a"))
    assert {**outer, "act": inner} == claims["act"]
    assert ["issued", "issued"] == await broker.audited()


@pytest.mark.row("OA-5.2-01", "OA-5.2-06", "TX-2.2.2-01", "TX-2.2.2-03", "TX-2.2.2-04")
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param({"scope": "orders.delete"}, "invalid_scope", id="scope-never-held"),
        pytest.param({"audience": "svc-z"}, "invalid_target", id="unknown-target"),
        pytest.param({"subject_token": "a.b.c"}, "invalid_request", id="no-token"),
    ],
)
@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_refusal_is_the_library_s_own_error(broker, library, fault, error):
    """RFC 6749 §5.2: the code and the text arrive where the library's users look for them."""
    form = exchange_form(**fault)
    same = (await broker.exchange(form)).json()
    refusal = (await library.exchange(broker.process.url, Client(), form))["refusal"]
    status = refusal.pop("status", 400)  # where the library tells it

    assert error == same["error"]
    assert {**same, "raised": ERRORS[library.name][0]} == refusal
    assert 400 == status


@pytest.mark.row("OA-5.2-02", "OA-2.3-06")
@pytest.mark.parametrize("library", LIBRARIES)
async def test_a_wrong_secret_is_a_401_with_a_challenge(broker, library):
    """RFC 6749 §5.2: libraries that read challenges find Basic, and the error beside it."""
    client = Client(secret="wrong")
    refusal = (await library.exchange(broker.process.url, client, exchange_form()))["refusal"]

    assert (ERRORS[library.name][1], "invalid_client") == (refusal["raised"], refusal["error"])
    assert "Client authentication failed." == refusal["error_description"]
    assert 401 == refusal.get("status", 401)
    assert "basic" == refusal.get("scheme", "basic")
    assert ["client.secret_mismatch"] == await broker.audited()


@pytest.mark.row("CA-3-05", "CA-3-06", "D-04")
async def test_an_assertion_for_the_endpoint_needs_the_client_s_setting(broker):
    """Draft 7523bis: what Authlib sends unless told the issuer is taken from who may send it."""
    outcomes = []
    for client_id in ("svc-jwt", "svc-jwt-endpoint"):
        form = exchange_form(subject_token=subject_jwt(aud=client_id))
        client = Client(client_id, "private_key_jwt")
        outcomes += await AUTHLIB_BY_ITSELF.exchange(broker.process.url, client, form)

    assert ["refusal", "token"] == outcomes
    assert ["client.assertion_audience", "issued"] == await broker.audited()
