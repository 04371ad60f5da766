"""RFC 8693 §2.2, RFC 9068: what is answered, and what the issued token says."""

import time

import jwt as pyjwt
import pytest

from tests.jwts import (
    BROKER_ISSUER,
    OTHER,
    SCOPELESS,
    STRANGERS_KEY,
    subject_jwt,
    unverified_claims,
    unverified_header,
)
from tests.wire import assert_issued, assert_refused, basic, exchange_form


async def key_set(broker) -> pyjwt.PyJWKSet:
    """The published keys, as a library that is not ours reads them."""
    return pyjwt.PyJWKSet.from_dict((await broker.get("/.well-known/jwks.json")).json())


@pytest.mark.row(
    *("TX-2.2.1-01", "TX-2.2.1-04", "TX-2.2.1-06", "TX-2.2.1-08", "TX-2.2.1-09"),
    *("OA-5.1-01", "D-10"),
)
async def test_s2_2_1_the_answer_says_all_it_must(broker):
    """RFC 8693 §2.2.1: and nothing more; no refresh token, and a life that is true."""
    body = assert_issued(await broker.exchange())
    claims = unverified_claims(body["access_token"])

    assert abs(claims["exp"] - time.time() - body["expires_in"]) <= 2
    assert "orders.read" == body["scope"] == claims["scope"]


@pytest.mark.row("TX-2.2.1-07", "OA-3.3-04", "TX-6-06", "TX-2.1-21", "RI-2-06")
async def test_s2_2_1_narrowing_is_announced(broker):
    """RFC 6749 §3.3: the answer names what was granted when that is less than was asked."""
    form = exchange_form(
        subject_token=subject_jwt(aud="svc-narrow"), scope="orders.write orders.read"
    )
    body = assert_issued(await broker.exchange(form, auth=basic("svc-narrow")))

    assert "orders.read" == body["scope"] == unverified_claims(body["access_token"])["scope"]


@pytest.mark.row("TX-6-06")
async def test_narrowing_to_nothing_is_a_refusal(broker):
    """Ours: an empty token helps nobody."""
    form = exchange_form(subject_token=subject_jwt(aud="svc-narrow"), scope="orders.write")

    assert_refused(await broker.exchange(form, auth=basic("svc-narrow")), "invalid_scope")


@pytest.mark.row("TX-6-04", "TX-6-06", "OA-5.2-06", "TX-2.1-21", "ATK-SCP-02", "CVE-2026-56668")
@pytest.mark.parametrize(
    ("form", "reason"),
    [
        pytest.param({"scope": "orders.write"}, "policy.scope_not_held", id="not-held"),
        pytest.param({"scope": "orders.read x"}, "policy.scope_unknown", id="unknown"),
        pytest.param({"scope": None}, "scope.missing", id="none-and-no-default"),
        pytest.param({"scope": "ORDERS.READ"}, "policy.scope_unknown", id="case-changed"),
        pytest.param({"scope": "*"}, "policy.scope_unknown", id="wildcard"),
        pytest.param(
            {"scope": "orders.write orders.read", "audience": ["svc-b", "svc-c"]},
            "policy.scope_unknown",
            id="unknown-at-one-of-two",
        ),
    ],
)
async def test_s5_2_a_scope_that_cannot_be_granted_is_invalid_scope(broker, form, reason):
    """RFC 6749 §5.2, invariant 1: requested, known, and held or derived."""
    assert_refused(await broker.exchange(exchange_form(**form)), "invalid_scope")
    assert [reason] == await broker.audited()


@pytest.mark.row("TX-6-04", "ATK-SCP-02")
@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"scope": ""}, id="empty"),
        pytest.param({"scope": "orders.read.all"}, id="prefix"),
        pytest.param({"scope": "x", "scp": "orders.read"}, id="in-another-claim"),
        pytest.param({"scope": "x", "scopes": ["orders.read"]}, id="in-a-misspelt-claim"),
    ],
)
async def test_a_subject_holds_only_what_its_scope_claim_says(broker, claims):
    """Invariant 1: a token without scopes holds none, not all."""
    form = exchange_form(subject_token=subject_jwt(**claims))

    assert_refused(await broker.exchange(form), "invalid_scope")


@pytest.mark.row("OA-3.3-03")
async def test_s3_3_an_omitted_scope_means_the_grants_default(broker):
    """RFC 6749 §3.3: documented, and announced."""
    form = exchange_form(subject_token=subject_jwt(aud="svc-default"), scope=None, audience=None)
    body = assert_issued(await broker.exchange(form, auth=basic("svc-default")))

    assert "orders.read" == body["scope"]


@pytest.mark.row("TX-6-05")
async def test_a_scope_may_follow_from_a_held_one(broker):
    """Invariant 1: the grant says from which, and the audit row says so too."""
    token = subject_jwt(aud="svc-derive", scope="orders.write")
    form = exchange_form(subject_token=token, audience="svc-c", scope="customers.read")
    body = assert_issued(await broker.exchange(form, auth=basic("svc-derive")))

    assert "customers.read" == body["scope"]
    assert [{"from": "orders.write", "scope": "customers.read"}] == (await broker.records())[0][
        "derived"
    ]


@pytest.mark.row("TX-6-05")
@pytest.mark.parametrize(
    ("token", "outcome"),
    [
        pytest.param({"scope": "orders.read"}, 400, id="source-not-held"),
        pytest.param({"iss": SCOPELESS, "scope": "x"}, 200, id="identity-of-a-scopeless-issuer"),
        pytest.param({"iss": OTHER, "scope": "x"}, 400, id="identity-of-another-issuer"),
    ],
)
async def test_a_scope_follows_from_an_identity_only_where_that_is_configured(
    broker, token, outcome
):
    """Invariant 1: ``scopeless`` issuers alone."""
    form = exchange_form(
        subject_token=subject_jwt(aud="svc-derive", **token),
        audience="svc-c",
        scope="customers.read",
    )
    response = await broker.exchange(form, auth=basic("svc-derive"))

    assert outcome == response.status_code


@pytest.mark.row("TX-2.2.2-01", "D-01")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param({"exp": 1_600_000_000}, "expired", id="expired"),
        pytest.param({"nbf": 4_000_000_000}, "not_yet_valid", id="not-yet-valid"),
        pytest.param({"key": STRANGERS_KEY}, "key_unknown", id="unknown-key"),
        pytest.param({"iss": "https://stranger.test"}, "issuer_unknown", id="unknown-issuer"),
        pytest.param({"sub": None}, "claim_invalid", id="sub-null"),
        pytest.param({"aud": "elsewhere"}, "audience_mismatch", id="another-audience"),
    ],
)
async def test_s2_2_2_a_bad_subject_token_is_invalid_request(broker, fault, reason):
    """RFC 8693 §2.2.2: never invalid_grant, never 401."""
    response = await broker.exchange(exchange_form(subject_token=subject_jwt(**fault)))

    assert_refused(response, "invalid_request")
    assert [f"subject_token.{reason}"] == await broker.audited()


@pytest.mark.row("TX-2.2.2-01", "TX-2.2.2-05", "ATK-SIG-02")
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"key": STRANGERS_KEY}, id="unknown-key"),
        pytest.param({"key": STRANGERS_KEY, "kid": "OWN"}, id="signed-by-a-stranger"),
        pytest.param({"iss": "https://stranger.test"}, id="unknown-issuer"),
    ],
)
async def test_s2_2_2_forgeries_look_alike(broker, fault):
    """RFC 8693 §2.2.2: no hint which check failed."""
    if fault.get("kid") == "OWN":
        fault = {**fault, "kid": unverified_header(subject_jwt())["kid"]}
    response = await broker.exchange(exchange_form(subject_token=subject_jwt(**fault)))

    assert "The subject token was not accepted." == assert_refused(response, "invalid_request")


@pytest.mark.row("TX-2.2.2-04")
async def test_s5_2_nothing_of_the_request_is_echoed(broker):
    """RFC 6749 §5.2: the description is a constant."""
    evil = 'x"\\é\r\nSet-Cookie: a=b'
    response = await broker.exchange(exchange_form(audience=evil, scope=evil, purpose=evil))

    assert "x" not in assert_refused(response, "invalid_target").split()
    assert "set-cookie" not in response.headers


@pytest.mark.row("AT-2.1-01", "AT-2.2-01", "AT-H-02", "TX-4.2-01", "MD-2-01", "TX-6-02")
async def test_rfc_9068_the_issued_token_is_a_jwt_access_token(broker):
    """RFC 9068 §2: header, claims and their types; checked by a library that is not ours."""
    token = assert_issued(await broker.exchange())["access_token"]
    header = unverified_header(token)
    key = (await key_set(broker))[header["kid"]]
    claims = pyjwt.decode(token, key, algorithms=["ES256"], audience="svc-b", issuer=BROKER_ISSUER)

    assert {"alg": "ES256", "typ": "at+jwt", "kid": header["kid"]} == header
    assert {
        *("iss", "aud", "exp", "iat", "nbf", "jti", "client_id", "scope", "sub", "sub_id"),
        *("act", "delegation_depth", "max_delegation_depth", "txn", "lineage"),
        *("lineage_keys", "lineage_clients", "root_iat"),
    } == set(claims)
    assert claims["nbf"] == claims["iat"]
    assert all(isinstance(claims[name], int) for name in ("exp", "iat", "nbf", "root_iat"))
    assert claims["exp"] - claims["iat"] <= 300


@pytest.mark.row("D-06", "AT-2.1-01")
@pytest.mark.parametrize(
    ("audience", "alg", "algorithms"),
    [("svc-rsa", "RS256", ["RS256"]), ("svc-ed", "Ed25519", ["Ed25519", "EdDSA"])],
)
async def test_rfc_9068_a_target_says_which_algorithm_it_verifies(
    broker, audience, alg, algorithms
):
    """RFC 9068 §2.1: RS256 is possible; the key is published."""
    form = exchange_form(audience=audience)
    token = assert_issued(await broker.exchange(form))["access_token"]
    header = unverified_header(token)
    published = (await broker.get("/.well-known/jwks.json")).json()["keys"]

    assert alg == header["alg"]
    assert [alg] == [key["alg"] for key in published if key["kid"] == header["kid"]]


@pytest.mark.row("TX-6-02", "AT-2.2.1-01", "AT-2.2.3-02", "AT-H-03")
async def test_only_what_the_target_asks_for_is_passed_on(broker):
    """RFC 8693 §6: the target's list, unchanged, and never one of our own claims."""
    extra = {"email": "a@example.com", "acr": "urn:x", "auth_time": 1, "tenant": "t", "iss2": "x"}
    form = exchange_form(subject_token=subject_jwt(**extra), audience="svc-mail")
    claims = unverified_claims(assert_issued(await broker.exchange(form))["access_token"])

    assert {"email": "a@example.com", "acr": "urn:x", "auth_time": 1} == {
        name: claims[name] for name in extra if name in claims
    }


@pytest.mark.row("TX-6-03", "ATK-TIME-01", "JW-15")
async def test_a_token_never_outlives_its_subject_token(broker):
    """Invariant 2: and a fraction of a second is rounded down."""
    now = int(time.time())
    token = subject_jwt(exp=now + 60.5)
    claims = unverified_claims(
        assert_issued(await broker.exchange(exchange_form(subject_token=token)))["access_token"]
    )

    assert now + 60 == claims["exp"]


@pytest.mark.row("AT-3-01", "RI-2-05", "TX-2.1-23")
async def test_the_audience_is_what_the_target_is_configured_with(broker):
    """RFC 9068 §3: whichever of its names the request used."""
    form = exchange_form(audience=None, resource="https://uri.test/t1")
    claims = unverified_claims(assert_issued(await broker.exchange(form))["access_token"])

    assert "https://uri.test/" == claims["aud"]


@pytest.mark.row("RI-2-01", "RI-2-02", "RI-2-03", "RI-2-04", "RI-2-07", "RI-2-09", "AT-3-02")
@pytest.mark.parametrize(
    "resource",
    [
        *("/api", "api.example", "//h/p", "://x", "https://uri.test/#x", "https://uri.test/#"),
        *("https://uri.test/?t=2", "https://uri.test/t2", "https://uri.test/t2/../t1"),
        *("https://uri.test/t1/", "HTTPS://uri.test/", "https://uri.test:443/"),
        "https://uri.test/t1%2f..%2ft2",
        None,
    ],
)
async def test_rfc_8707_a_resource_matches_exactly_or_not_at_all(broker, resource):
    """RFC 8707 §2: absolute, no fragment, and the string that is configured."""
    form = exchange_form(audience=None, resource=resource)

    assert_refused(await broker.exchange(form), "invalid_target")


@pytest.mark.row("RI-2-03")
async def test_rfc_8707_a_configured_query_is_part_of_the_name(broker):
    """RFC 8707 §2: discouraged, and legal."""
    form = exchange_form(audience=None, resource="https://uri.test/?t=1")

    assert_issued(await broker.exchange(form))


@pytest.mark.row("OP-10")
async def test_every_answer_has_the_request_id_of_its_audit_row(broker):
    """Ours: and a caller's own id is not taken for it."""
    response = await broker.exchange(headers={"x-request-id": "mine"})

    assert "mine" != response.headers["x-request-id"]
    assert [response.headers["x-request-id"]] == [row["request_id"] for row in await broker.rows()]


@pytest.mark.row("OP-12")
async def test_policy_and_record_see_only_the_claims_that_are_named(broker):
    """Ours: ``policy_claims``, and no other claim of the subject."""
    claims = {"groups": ["ops"], "email": "canary@example.com"}
    form = exchange_form(subject_token=subject_jwt(iss=OTHER, **claims))
    assert_issued(await broker.exchange(form))
    (record,) = await broker.records()

    assert ["ops"] == record["personal"]["policy_input"]["subject"]["claims"]["groups"]
    assert "canary@example.com" not in str(record)
