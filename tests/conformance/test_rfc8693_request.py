"""RFC 8693 §2.1: what a token exchange request must be."""

import pytest

from tests.jwts import (
    ACTS,
    KEYS,
    ONCE,
    OTHER,
    actor_jwt,
    jwt,
    subject_claims,
    subject_jwt,
    unverified_claims,
)
from tests.wire import (
    ACCESS_TOKEN,
    GRANT_TYPE,
    ID_TOKEN,
    JWT,
    assert_issued,
    assert_refused,
    basic,
    exchange_form,
)

SAML2 = "urn:ietf:params:oauth:token-type:saml2"
REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"


@pytest.mark.row("TX-2.1-01")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH"])
async def test_s2_1_an_exchange_is_made_by_post_only(broker, method):
    """RFC 8693 §2.1: any other method is refused and told which one to use."""
    response = await broker.request(method, "/token", data=exchange_form(), auth=basic())

    assert 405 == response.status_code
    assert "POST" == response.headers["allow"]
    assert "access_token" not in response.text


@pytest.mark.row("TX-2.1-02")
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("application/json", b'{"grant_type": "x"}', id="json"),
        pytest.param("multipart/form-data; boundary=x", b"--x--", id="multipart"),
        pytest.param(None, b"grant_type=x", id="no-content-type"),
        pytest.param("text/plain", b"grant_type=x", id="text"),
        pytest.param("application/x-www-form-urlencoded", b"grant_type=%FF", id="not-utf-8"),
        pytest.param("application/x-www-form-urlencoded", b"grant_type=%zz", id="bad-escape"),
        pytest.param("application/x-www-form-urlencoded", b"grant_type=a%00b", id="nul"),
    ],
)
async def test_s2_1_the_body_is_a_utf_8_form(broker, content_type, body):
    """RFC 8693 §2.1, RFC 6749 appendix B: nothing else is read."""
    headers = {} if content_type is None else {"content-type": content_type}
    response = await broker.request("POST", "/token", content=body, headers=headers, auth=basic())

    assert_refused(response, "invalid_request")
    assert 1 == len(await broker.audited())


@pytest.mark.row("TX-2.1-02")
async def test_s2_1_a_charset_parameter_is_understood(broker):
    """RFC 6749 appendix B: several clients say which charset they use."""
    response = await broker.exchange(
        headers={"content-type": "application/x-www-form-urlencoded;charset=UTF-8"}
    )

    assert_issued(response)


@pytest.mark.row("TX-2.1-03", "OA-5.2-05", "SB-2.4-01")
@pytest.mark.parametrize(
    ("grant_type", "error"),
    [
        pytest.param(None, "invalid_request", id="missing"),
        pytest.param("", "invalid_request", id="empty"),
        pytest.param("x", "unsupported_grant_type", id="unknown"),
        pytest.param(GRANT_TYPE.upper(), "unsupported_grant_type", id="case-changed"),
        pytest.param(GRANT_TYPE + " ", "unsupported_grant_type", id="trailing-space"),
        pytest.param("password", "unsupported_grant_type", id="password"),
        pytest.param("implicit", "unsupported_grant_type", id="implicit"),
        pytest.param("authorization_code", "unsupported_grant_type", id="authorization-code"),
        pytest.param("client_credentials", "unsupported_grant_type", id="client-credentials"),
        pytest.param(
            "urn:ietf:params:oauth:grant-type:jwt-bearer", "unsupported_grant_type", id="jwt-bearer"
        ),
    ],
)
async def test_s2_1_the_grant_type_is_exact(broker, grant_type, error):
    """RFC 8693 §2.1, RFC 6749 §5.2: one URN, compared as it is."""
    assert_refused(await broker.exchange(exchange_form(grant_type=grant_type)), error)


@pytest.mark.row("TX-2.1-04", "TX-2.1-05", "TX-2.1-08", "TX-2.1-09", "OA-3.2-02")
@pytest.mark.parametrize("empty", [None, ""], ids=["missing", "empty"])
@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ("subject_token", "request.subject_token_missing"),
        ("subject_token_type", "request.subject_token_type_missing"),
        ("actor_token", "request.actor_token_missing"),
        ("actor_token_type", "request.actor_token_type_missing"),
    ],
)
async def test_s2_1_tokens_come_with_their_types(broker, parameter, reason, empty):
    """RFC 8693 §2.1: each token needs its type and each type its token."""
    both = {"actor_token": actor_jwt(), "actor_token_type": JWT}
    response = await broker.exchange(exchange_form(**both | {parameter: empty}))

    assert_refused(response, "invalid_request")
    assert [reason] == await broker.audited()


@pytest.mark.row("TX-2.1-06", "TX-3-01")
@pytest.mark.parametrize(
    "token_type",
    [
        pytest.param(SAML2, id="saml2"),
        pytest.param("urn:ietf:params:oauth:token-type:saml1", id="saml1"),
        pytest.param(REFRESH_TOKEN, id="refresh-token"),
        pytest.param("jwt", id="bare-jwt"),
        pytest.param("urn:example:random", id="random-urn"),
        pytest.param("/relative", id="relative"),
        pytest.param(JWT.upper(), id="case-changed"),
    ],
)
async def test_s3_an_unaccepted_token_type_is_invalid_request(broker, token_type):
    """RFC 8693 §2.2.2, §3: only what the issuer's configuration lists is accepted."""
    response = await broker.exchange(exchange_form(subject_token_type=token_type))

    assert_refused(response, "invalid_request")
    assert ["subject_token.type_not_accepted"] == await broker.audited()


@pytest.mark.row("TX-2.1-07", "ATK-TYP-01")
@pytest.mark.parametrize(
    ("declared", "token"),
    [
        pytest.param(ID_TOKEN, {"typ": "at+jwt"}, id="access-token-as-id-token"),
        pytest.param(ACCESS_TOKEN, {"at_hash": "x"}, id="id-token-as-access-token"),
        pytest.param(JWT, {"typ": "dpop+jwt"}, id="dpop-proof"),
        pytest.param(JWT, {"htm": "POST", "htu": "https://x"}, id="dpop-proof-without-its-typ"),
        pytest.param(JWT, {"typ": "logout+jwt"}, id="logout-token"),
        pytest.param(JWT, {"events": {"x": {}}}, id="set-without-its-typ"),
        pytest.param(JWT, {"typ": "secevent+jwt"}, id="set"),
        pytest.param(JWT, {"typ": "client-authentication+jwt"}, id="client-assertion"),
        pytest.param(JWT, {"typ": "oauth-id-jag+jwt"}, id="id-jag"),
        pytest.param(JWT, {"typ": "txntoken+jwt"}, id="transaction-token"),
        pytest.param(JWT, {"typ": "token-introspection+jwt"}, id="introspection-answer"),
        pytest.param(JWT, {"token_introspection": {}}, id="introspection-without-its-typ"),
        pytest.param(JWT, {"req_wl": "x"}, id="transaction-token-without-its-typ"),
    ],
)
async def test_s2_1_a_token_of_another_kind_is_refused(broker, declared, token):
    """RFC 8693 §2.1, RFC 8725 §3.12: the kind is read from the token, not from its label."""
    response = await broker.exchange(
        exchange_form(subject_token=subject_jwt(**token), subject_token_type=declared)
    )

    assert_refused(response, "invalid_request")
    assert ["subject_token.type_not_accepted"] == await broker.audited()


@pytest.mark.row("TX-2.1-07")
async def test_s2_1_opaque_text_is_no_jwt(broker):
    """RFC 8693 §2.1: validation follows the declared type."""
    assert_refused(await broker.exchange(exchange_form(subject_token="opaque")), "invalid_request")
    assert ["subject_token.malformed"] == await broker.audited()


@pytest.mark.row("TX-2.1-10", "TX-2.2.2-02")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param({"exp": 1_600_000_000}, "actor_token.expired", id="expired"),
        pytest.param({"key": KEYS[OTHER], "kid": "x"}, "actor_token.key_unknown", id="wrong-key"),
        pytest.param({"iss": "https://stranger.test"}, "actor_token.issuer_unknown", id="issuer"),
        pytest.param({"aud": "svc-a"}, "actor_token.audience_mismatch", id="not-for-the-broker"),
        pytest.param({"typ": "dpop+jwt"}, "actor_token.type_not_accepted", id="wrong-typ"),
        pytest.param({"azp": "svc-b"}, "actor_token.not_of_client", id="another-client's"),
        pytest.param(
            {"iss": ACTS, "act": {"sub": "x"}}, "actor_token.has_chain", id="with-an-actor"
        ),
    ],
)
async def test_s2_1_an_actor_token_is_judged_like_a_subject_token(broker, fault, reason):
    """RFC 8693 §2.1, §2.2.2: and besides, it belongs to the client and is meant for us."""
    form = exchange_form(actor_token=actor_jwt(**fault), actor_token_type=JWT)

    assert_refused(await broker.exchange(form), "invalid_request")
    assert [reason] == await broker.audited()


@pytest.mark.row("TX-2.1-11", "TX-2.1-23")
async def test_s2_1_audiences_and_resources_mix(broker):
    """RFC 8693 §2.1: the audience is exactly the set of targets that both name."""
    form = exchange_form(
        audience=["svc-b", "svc-c"],
        resource=["https://svc-b.test/", "https://uri.test/"],
        scope="orders.read",
    )
    several = assert_issued(await broker.exchange(form))
    one = assert_issued(await broker.exchange())

    assert {"svc-b", "svc-c", "https://uri.test/"} == set(
        unverified_claims(several["access_token"])["aud"]
    )
    assert 3 == len(unverified_claims(several["access_token"])["aud"])
    assert "svc-b" == unverified_claims(one["access_token"])["aud"]


@pytest.mark.row("TX-2.1-12", "TX-2.1-22", "TX-2.1-23", "TX-2.2.2-03", "CVE-2022-1245")
@pytest.mark.parametrize(
    "audience",
    [
        pytest.param("svc-x", id="unknown"),
        pytest.param("https://api.internal/admin", id="unconfigured-url"),
        pytest.param("svc-a", id="known-but-not-granted"),
        pytest.param(["svc-b", "svc-x"], id="one-good-one-unknown"),
        pytest.param(["svc-b", "svc-a"], id="one-good-one-not-granted"),
        pytest.param(["svc-b", "svc-rsa"], id="two-algorithms"),
        pytest.param(["svc-a", "svc-b", "svc-c", "svc-uri"], id="too-many"),
    ],
)
async def test_s2_2_2_a_target_that_cannot_be_served_refuses_all(broker, audience):
    """RFC 8693 §2.2.2: invalid_target for the whole request, and nothing is minted."""
    assert_refused(await broker.exchange(exchange_form(audience=audience)), "invalid_target")
    assert 1 == len(await broker.audited())


@pytest.mark.row(
    *("TX-2.1-13", "TX-2.1-14", "TX-2.2.1-02", "TX-2.2.1-03", "TX-2.2.1-05", "D-14"),
)
@pytest.mark.parametrize(
    ("requested", "issued"), [(None, ACCESS_TOKEN), (ACCESS_TOKEN, ACCESS_TOKEN), (JWT, JWT)]
)
async def test_s2_2_1_the_issued_type_is_the_requested_one(broker, requested, issued):
    """RFC 8693 §2.1, §2.2.1: an access token unless a JWT is asked for, never another type."""
    body = assert_issued(await broker.exchange(exchange_form(requested_token_type=requested)))

    assert issued == body["issued_token_type"]


@pytest.mark.row("TX-2.1-14")
@pytest.mark.parametrize(
    "requested",
    [
        REFRESH_TOKEN,
        SAML2,
        ID_TOKEN,
        "urn:ietf:params:oauth:token-type:id-jag",
        "urn:ietf:params:oauth:token-type:txn_token",
        "urn:ietf:params:oauth:token-type:jwt ",
        "unknown",
    ],
)
async def test_s2_1_another_type_is_never_substituted(broker, requested):
    """RFC 8693 §2.1: what cannot be issued is refused."""
    assert_refused(
        await broker.exchange(exchange_form(requested_token_type=requested)), "invalid_request"
    )


@pytest.mark.row("TX-2.1-15", "OA-3.2-02")
async def test_s3_2_empty_is_absent_and_unknown_is_ignored(broker):
    """RFC 6749 §3.2: as the clients that always send every parameter rely on."""
    form = exchange_form(
        audience="",
        resource="https://svc-b.test/",
        actor_token="",
        actor_token_type="",
        options="{}",
        foo=["1", "2"],
    )

    assert (
        "svc-b"
        == unverified_claims(assert_issued(await broker.exchange(form))["access_token"])["aud"]
    )


@pytest.mark.row("TX-2.1-16", "D-03", "CVE-2026-9704")
@pytest.mark.parametrize("second", ["same", "other", ""], ids=["equal", "unequal", "empty"])
@pytest.mark.parametrize(
    "parameter",
    [
        *("grant_type", "subject_token", "subject_token_type", "actor_token", "actor_token_type"),
        *("requested_token_type", "scope", "purpose", "client_id", "client_secret"),
        *("client_assertion", "client_assertion_type", "authorization_details"),
    ],
)
async def test_s3_2_a_repeated_parameter_is_refused(broker, parameter, second):
    """RFC 6749 §3.2: only audience and resource may repeat."""
    form = [(name, value) for name, value in exchange_form() if name != parameter]
    first = dict(exchange_form()).get(parameter, "x")
    repeated = [(parameter, first), (parameter, first if second == "same" else second)]

    assert_refused(await broker.exchange(form + repeated), "invalid_request")
    assert ["request.repeated_parameter"] == await broker.audited()


@pytest.mark.row("TX-2.1-17", "OA-2.3-03")
@pytest.mark.parametrize("parameter", ["subject_token", "client_secret", "scope", "anything"])
async def test_parameters_in_the_url_are_refused(broker, parameter):
    """RFC 6749 §2.3.1: URLs are logged on the way, so nothing is read from them."""
    response = await broker.request(
        "POST", f"/token?{parameter}=value", data=exchange_form(), auth=basic()
    )

    assert_refused(response, "invalid_request")
    assert ["request.query_parameters"] == await broker.audited()


@pytest.mark.row("TX-2.1-18")
async def test_s2_1_an_exchange_does_not_use_a_token_up(broker):
    """RFC 8693 §2.1: the same subject token gives another token each time."""
    form = exchange_form()
    bodies = [assert_issued(await broker.exchange(form)) for _ in range(2)]

    assert 2 == len({unverified_claims(body["access_token"])["jti"] for body in bodies})


@pytest.mark.row("TX-2.1-18", "ATK-RPL-01")
async def test_s2_1_a_one_time_token_is_used_up(broker):
    """RFC 8693 §2.1: unless the token is one-time by its kind, which its issuer's rules say."""
    form = exchange_form(subject_token=subject_jwt(iss=ONCE))
    first, second = await broker.exchange(form), await broker.exchange(form)

    assert_issued(first)
    assert_refused(second, "invalid_request")
    assert ["issued", "subject_token.replayed"] == await broker.audited()


@pytest.mark.row("TX-2.1-18")
async def test_a_refusal_does_not_use_a_one_time_token_up(broker):
    """Design §5: the claim is made with the issued token's audit row, or not at all."""
    token = subject_jwt(iss=ONCE)
    refused = await broker.exchange(exchange_form(subject_token=token, scope="orders.write"))
    issued = await broker.exchange(exchange_form(subject_token=token))

    assert_refused(refused, "invalid_scope")
    assert_issued(issued)


@pytest.mark.row("TX-2.1-24", "JW-10", "ATK-AUD-01")
@pytest.mark.parametrize(
    "aud",
    [
        pytest.param("svc-a", id="client-id"),
        pytest.param("https://broker.test", id="broker"),
        pytest.param(["other", "svc-a"], id="one-of-several"),
    ],
)
async def test_s3_9_a_token_meant_for_the_caller_is_accepted(broker, aud):
    """RFC 8725 §3.9, invariant 6: the client, a target that it is, or this broker."""
    assert_issued(await broker.exchange(exchange_form(subject_token=subject_jwt(aud=aud))))


@pytest.mark.row("TX-2.1-24", "ATK-AUD-01", "JW-17", "GHSA-g5h5-m4hm-xjrr")
@pytest.mark.parametrize(
    ("aud", "reason"),
    [
        pytest.param("svc-b", "subject_token.audience_mismatch", id="another-service"),
        pytest.param([], "subject_token.claim_invalid", id="empty"),
        pytest.param("SVC-A", "subject_token.audience_mismatch", id="case-changed"),
        pytest.param("svc-a/", "subject_token.audience_mismatch", id="trailing-slash"),
        pytest.param("svc-", "subject_token.audience_mismatch", id="prefix"),
        pytest.param(7, "subject_token.claim_invalid", id="number"),
        pytest.param({"svc-a": 1}, "subject_token.claim_invalid", id="object"),
        pytest.param([["svc-a"]], "subject_token.claim_invalid", id="nested"),
        pytest.param(["svc-a", 1], "subject_token.claim_invalid", id="mixed"),
    ],
)
async def test_s3_9_a_token_meant_for_somebody_else_is_refused(broker, aud, reason):
    """RFC 8725 §3.9, invariant 6: exact match, string or array of strings."""
    response = await broker.exchange(exchange_form(subject_token=subject_jwt(aud=aud)))

    assert_refused(response, "invalid_request")
    assert [reason] == await broker.audited()


@pytest.mark.row("TX-2.1-25")
@pytest.mark.parametrize("pattern", [" {}", "{} ", "{}\r\n", "Bearer {}", '"{}"', "{}="])
async def test_s7_2_a_token_is_taken_as_it_is(broker, pattern):
    """RFC 7519 §7.2: nothing is trimmed, unquoted or padded."""
    form = exchange_form(subject_token=pattern.format(subject_jwt()))

    assert_refused(await broker.exchange(form), "invalid_request")
    assert ["subject_token.malformed"] == await broker.audited()


@pytest.mark.row("TX-2.1-28")
@pytest.mark.parametrize(
    ("purpose", "reason"),
    [
        (None, "policy.purpose_missing"),
        ("", "policy.purpose_missing"),
        ("curiosity", "policy.purpose_not_allowed"),
    ],
)
async def test_a_grant_that_asks_for_a_purpose_gets_one_of_its_own(broker, purpose, reason):
    """Ours: absent or unlisted is a refusal."""
    form = exchange_form(subject_token=subject_jwt(aud="svc-purpose"), purpose=purpose)

    assert_refused(await broker.exchange(form, auth=basic("svc-purpose")), "invalid_request")
    assert [reason] == await broker.audited()


@pytest.mark.row("TX-2.1-28")
async def test_a_purpose_stands_in_the_token_only_where_the_grant_asks(broker):
    """Ours: and in the audit row."""
    asked = exchange_form(subject_token=subject_jwt(aud="svc-purpose"), purpose="billing")
    with_purpose = assert_issued(await broker.exchange(asked, auth=basic("svc-purpose")))
    without = assert_issued(await broker.exchange(exchange_form(purpose="billing")))

    assert "billing" == unverified_claims(with_purpose["access_token"])["purpose"]
    assert "purpose" not in unverified_claims(without["access_token"])


@pytest.mark.row("TX-2.1-30")
async def test_a_grant_may_be_for_the_subjects_of_some_issuers(broker):
    """Ours: by origin, so a second hop through this broker does not change it."""
    allowed = await broker.exchange(
        exchange_form(subject_token=subject_jwt(aud="svc-idp-only")), auth=basic("svc-idp-only")
    )
    refused = await broker.exchange(
        exchange_form(subject_token=subject_jwt(iss=OTHER, aud="svc-idp-only")),
        auth=basic("svc-idp-only"),
    )

    assert_issued(allowed)
    assert_refused(refused, "invalid_request")
    assert ["issued", "policy.issuer_not_allowed"] == await broker.audited()


@pytest.mark.row("TX-2.1-30")
async def test_an_issuer_says_who_may_present_its_tokens(broker):
    """Ours: ``issuers[].clients``."""
    token = subject_jwt(iss="https://strict.test", aud="svc-b", tenant="t")
    form = exchange_form(subject_token=token, audience="svc-c")

    assert_refused(await broker.exchange(form, auth=basic("svc-b")), "invalid_request")
    assert ["subject_token.issuer_not_for_client"] == await broker.audited()


@pytest.mark.row("TX-2.1-31")
@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        pytest.param({"jti": None}, "subject_token.claim_missing", id="null"),
        pytest.param({"tenant": ""}, "subject_token.claim_missing", id="empty"),
        pytest.param({"tenant": None}, "subject_token.claim_missing", id="absent"),
        pytest.param({"iat": 1_700_000_000}, "subject_token.too_old", id="older-than-max-age"),
    ],
)
async def test_an_issuer_says_what_its_tokens_must_have(broker, claims, reason):
    """Ours: ``require`` and ``max_age``."""
    body = subject_claims(iss="https://strict.test", tenant="t") | claims
    token = jwt(body, key=KEYS["https://strict.test"])

    assert_refused(await broker.exchange(exchange_form(subject_token=token)), "invalid_request")
    assert [reason] == await broker.audited()


@pytest.mark.row("TX-3-03", "AT-4-01", "JW-04")
@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
async def test_an_access_token_labelled_jwt_is_accepted(broker, typ):
    """RFC 8693 §3: several clients label every token so; it is judged as what it is."""
    form = exchange_form(subject_token=subject_jwt(typ=typ), subject_token_type=JWT)

    assert_issued(await broker.exchange(form))


@pytest.mark.row("D-12")
async def test_an_earlier_fault_hides_a_later_one(broker):
    """Ours: parse, authenticate, verify, delegate, decide, in this order."""
    wrong = ("svc-a", "wrong")
    outcomes = [
        assert_refused(
            await broker.exchange(exchange_form(subject_token=None), auth=wrong), "invalid_request"
        ),
        assert_refused(
            await broker.exchange(exchange_form(subject_token="x"), auth=wrong),
            "invalid_client",
            401,
        ),
        assert_refused(
            await broker.exchange(exchange_form(subject_token="x", audience="unknown")),
            "invalid_request",
        ),
        assert_refused(
            await broker.exchange(exchange_form(audience="unknown", scope='"')), "invalid_target"
        ),
    ]

    assert 4 == len(set(outcomes))
    assert [
        "request.subject_token_missing",
        "client.secret_mismatch",
        "subject_token.malformed",
        "target.unknown",
    ] == await broker.audited()
