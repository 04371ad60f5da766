"""RFC 7662: what a resource server is told about a token, and what nobody is told."""

import base64
import json
import time
import uuid
from typing import Any

import pytest

from broker.jose.sign import sign_compact
from tests.jwts import (
    ACTS,
    BROKER_ISSUER,
    IDP,
    STRANGERS_KEY,
    client_assertion,
    jwt,
    subject_jwt,
    unverified_claims,
)
from tests.server import FORM
from tests.wire import (
    ACCESS_TOKEN,
    ASSERTION_TYPE,
    assert_issued,
    assert_refused,
    basic,
    exchange_form,
)

INACTIVE = {"active": False}


async def issued(broker, *, client: str = "svc-a", **form: Any) -> str:
    """A token for ``svc-b``, or for whomever the form says."""
    response = await broker.exchange(exchange_form(**form), auth=basic(client))
    return str(assert_issued(response)["access_token"])


def forged(key, *, typ: str = "at+jwt", **overrides: Any) -> str:
    """A token that the broker never made, signed with its key; good but for the overrides."""
    now = int(time.time())
    claims = {
        "iss": BROKER_ISSUER,
        "sub": "idp:alice",
        "sub_id": {"format": "iss_sub", "iss": IDP, "sub": "alice"},
        "aud": "svc-b",
        "client_id": "svc-a",
        "scope": "orders.read",
        "iat": now,
        "nbf": now,
        "exp": now + 120,
        "jti": str(uuid.uuid4()),
        "txn": str(uuid.uuid4()),
        "lineage": ["A" * 22],
        "lineage_keys": ["A" * 22],
        "lineage_clients": ["svc-a"],
        "root_iat": now,
        "delegation_depth": 1,
        "max_delegation_depth": 8,
    } | overrides
    header = {"alg": key.algorithm, "kid": key.kid, "typ": typ}
    return sign_compact(key, header, json.dumps(claims).encode())


def assert_answered(response) -> dict[str, Any]:
    """Check all that every answer shares, and return it. RFC 7662 §2.2."""
    assert 200 == response.status_code, response.text
    assert "application/json" == response.headers["content-type"]
    assert "no-store" in response.headers["cache-control"]
    assert "no-cache" == response.headers["pragma"]
    return response.json()


@pytest.mark.row("IN-2.1-01")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_s2_1_a_token_is_introspected_by_post_only(broker, method):
    """RFC 7662 §2.1, §4: a token in a URL ends up in logs."""
    response = await broker.request(
        method, "/introspect?token=x" if method == "GET" else "/introspect", auth=basic("svc-b")
    )

    assert_refused(response, "invalid_request", 405)
    assert "POST" == response.headers["allow"]


@pytest.mark.row("IN-2.1-02")
@pytest.mark.parametrize(
    "form",
    [
        pytest.param([], id="missing"),
        pytest.param([("token", "")], id="empty"),
        pytest.param([("token", "a"), ("token", "a")], id="twice"),
        pytest.param([("token", ""), ("token", "a")], id="empty-and-full"),
        pytest.param(
            [("token", "a"), ("token_type_hint", "x"), ("token_type_hint", "x")], id="hint-twice"
        ),
        pytest.param(
            [("token", "a"), ("client_id", "svc-b"), ("client_id", "svc-b")], id="client-id-twice"
        ),
    ],
)
async def test_s2_1_a_token_is_asked_about_once(broker, form):
    """RFC 7662 §2.1, RFC 6749 §3.2: one token, and no parameter twice."""
    response = await broker.request("POST", "/introspect", data=form, auth=basic("svc-b"))

    assert_refused(response, "invalid_request")


@pytest.mark.row("IN-2.1-02")
@pytest.mark.parametrize(
    ("options", "status"),
    [
        pytest.param({"content": b"token=a", "headers": {"content-type": FORM}}, 200, id="form"),
        pytest.param(
            {"content": b'{"token": "a"}', "headers": {"content-type": "application/json"}},
            400,
            id="json",
        ),
        pytest.param({"content": b"token=a"}, 400, id="no-media-type"),
        pytest.param(
            {"content": b"token=%zz", "headers": {"content-type": FORM}}, 400, id="escape"
        ),
        pytest.param(
            {"content": b"token=" + b"a" * 70_000, "headers": {"content-type": FORM}},
            413,
            id="too-large",
        ),
    ],
)
async def test_s2_1_the_body_is_a_form_like_at_the_token_endpoint(broker, options, status):
    """RFC 7662 §2.1: one reader for all endpoints, as strict at each."""
    response = await broker.request("POST", "/introspect", auth=basic("svc-b"), **options)

    assert status == response.status_code


@pytest.mark.row("IN-2.1-02")
async def test_s2_1_nothing_is_said_in_the_url(broker):
    """RFC 7662 §4: refused even beside a good form."""
    response = await broker.request(
        "POST", "/introspect?token=x", data=[("token", "x")], auth=basic("svc-b")
    )

    assert_refused(response, "invalid_request")


@pytest.mark.row("IN-2.1-03")
@pytest.mark.parametrize("target", ["svc-b", "svc-ref"])
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "foo", ACCESS_TOKEN, ""])
async def test_s2_1_a_hint_hides_nothing(broker, target, hint):
    """RFC 7662 §2.1: a wrong or an unknown hint is only a worse hint."""
    token = await issued(broker, audience=target)
    answer = await broker.introspect(token, auth=basic(target), token_type_hint=hint)

    assert assert_answered(answer)["active"] is True


@pytest.mark.row("IN-2.1-04", "IN-2.3-01")
async def test_s2_1_a_caller_without_credentials_is_a_401(broker):
    """RFC 7662 §2.1: or anybody could try tokens until one is active."""
    response = await broker.introspect(await issued(broker), auth=None)

    assert_refused(response, "invalid_client", 401)
    assert response.headers["www-authenticate"].startswith("Basic ")
    assert ["client.authentication_missing"] == await broker.audited("introspection")


@pytest.mark.row("IN-2.3-01")
@pytest.mark.parametrize(
    ("auth", "extra", "reason"),
    [
        pytest.param(("svc-b", "wrong"), {}, "client.secret_mismatch", id="secret"),
        pytest.param(("svc-z", "x"), {}, "client.unknown", id="unknown-client"),
        pytest.param(basic("svc-post"), {}, "client.method_not_allowed", id="other-method"),
    ],
)
async def test_s2_3_bad_credentials_are_a_401_also_for_a_live_token(broker, auth, extra, reason):
    """RFC 7662 §2.3: and recorded, though the answers are not."""
    response = await broker.introspect(await issued(broker), auth=auth, **extra)

    assert "Client authentication failed." == assert_refused(response, "invalid_client", 401)
    assert [reason] == await broker.audited("introspection")


@pytest.mark.row("IN-2.1-04", "MD-2-06")
@pytest.mark.parametrize("method", ["client_secret_post", "private_key_jwt"])
async def test_s2_1_every_method_of_the_token_endpoint_works(broker, method):
    """RFC 7662 §2.1, RFC 8414 §2: what the metadata lists is what there is."""
    if method == "client_secret_post":
        credentials = dict(zip(("client_id", "client_secret"), basic("svc-post"), strict=True))
    else:
        credentials = {
            "client_assertion": client_assertion(),
            "client_assertion_type": ASSERTION_TYPE,
        }
    answer = await broker.introspect("x", auth=None, **credentials)

    assert INACTIVE == assert_answered(answer)


@pytest.mark.row("IN-2.3-01", "CA-3-10")
async def test_an_assertion_is_used_once_over_all_endpoints(broker):
    """RFC 7523 §3: what has authenticated an exchange introspects nothing afterwards."""
    credentials = {"client_assertion": client_assertion(), "client_assertion_type": ASSERTION_TYPE}
    first = await broker.introspect("x", auth=None, **credentials)
    again = await broker.exchange(exchange_form(**credentials), auth=None)

    assert INACTIVE == assert_answered(first)
    assert_refused(again, "invalid_client", 401)
    assert ["client.assertion_replayed"] == await broker.audited()


@pytest.mark.row("IN-2.3-03")
async def test_s2_3_a_bearer_token_is_no_credential(broker):
    """Ours: a token for ``svc-b`` does not make its holder ``svc-b``."""
    token = await issued(broker)
    response = await broker.introspect(
        token, auth=None, headers={"authorization": f"Bearer {token}"}
    )

    assert_refused(response, "invalid_client", 401)


@pytest.mark.row("IN-2.2-01", "IN-2.2-04", "IN-2.2-07", "TX-4.1-09")
@pytest.mark.parametrize("target", ["svc-b", "svc-ref"])
async def test_s2_2_an_active_token_says_what_it_says(broker, target):
    """RFC 7662 §2.2, RFC 8693 §4: as issued, in the same shape, JWT or reference."""
    token = await issued(broker, audience=target)
    answer = assert_answered(await broker.introspect(token, auth=basic(target)))

    assert (True, "Bearer") == (answer.pop("active"), answer.pop("token_type"))
    assert all(type(answer[name]) is int for name in ("exp", "iat", "nbf"))
    assert (BROKER_ISSUER, "idp:alice", "svc-a", target, "orders.read") == tuple(
        answer[name] for name in ("iss", "sub", "client_id", "aud", "scope")
    )
    assert {"format": "iss_sub", "iss": IDP, "sub": "alice"} == answer["sub_id"]
    assert {"iss": BROKER_ISSUER, "sub": "svc-a"} == answer["act"]
    row = (await broker.records())[-1]
    assert (row["jti"], row["txn"], row["depth"]) == tuple(
        answer[name] for name in ("jti", "txn", "delegation_depth")
    )
    if target == "svc-b":
        assert unverified_claims(token) == answer


@pytest.mark.row("IN-2.2-04", "TX-4.1-09")
async def test_s4_1_a_chain_is_shown_whole(broker):
    """RFC 8693 §4.1: ``act`` in ``act``, outermost first, as in the token."""
    first = await issued(broker)
    second = await issued(
        broker,
        client="svc-b",
        subject_token=first,
        subject_token_type=ACCESS_TOKEN,
        audience="svc-c",
    )
    answer = assert_answered(await broker.introspect(second, auth=basic("svc-c")))

    outer, inner = ({"iss": BROKER_ISSUER, "sub": name} for name in ("svc-b", "svc-a"))
    assert {**outer, "act": inner} == answer["act"]


@pytest.mark.row("IN-2.2-04", "TX-4.4-05")
async def test_s4_4_may_act_is_shown_if_the_token_has_it(broker, stolen_key):
    """RFC 8693 §4.4: unchanged; and the broker writes none into what it issues."""
    may_act = {"iss": BROKER_ISSUER, "sub": "svc-c"}
    with_one = await broker.introspect(forged(stolen_key, may_act=may_act))
    subject_token = subject_jwt(iss=ACTS, may_act={"iss": BROKER_ISSUER, "sub": "svc-a"})
    without = await broker.introspect(await issued(broker, subject_token=subject_token))

    assert may_act == assert_answered(with_one)["may_act"]
    assert "may_act" not in assert_answered(without)


@pytest.mark.row("IN-2.2-01", "RI-2-05")
async def test_s2_the_audience_is_that_of_the_target(broker):
    """RFC 8707 §2: at introspection as in the token."""
    token = await issued(broker, audience=None, resource="https://uri.test/t1")
    answer = assert_answered(await broker.introspect(token, auth=basic("svc-mail")))

    assert "https://uri.test/" == answer["aud"]


@pytest.mark.row("IN-2.2-01")
async def test_s2_2_no_claim_of_a_token_is_taken_for_the_answer_s_own(broker, stolen_key):
    """RFC 7662 §2.2: ``active`` and ``token_type`` are the broker's word."""
    token = forged(stolen_key, active=False, token_type="N_A")
    answer = assert_answered(await broker.introspect(token))

    assert (True, "Bearer") == (answer["active"], answer["token_type"])


@pytest.mark.row("IN-2.2-02", "IN-2.2-03")
@pytest.mark.parametrize("target", ["svc-b", "svc-ref"])
@pytest.mark.parametrize(
    "caller",
    [
        pytest.param("svc-a", id="whom-it-was-issued-to"),
        pytest.param("svc-c", id="another-resource-server"),
        pytest.param("svc-known", id="a-client-that-is-no-target"),
        pytest.param("svc-mail", id="a-resource-server-that-exchanges-nothing"),
    ],
)
async def test_s2_2_a_token_for_another_is_not_active(broker, target, caller):
    """RFC 7662 §2.2, §4: ours: only who is an audience of a token is told about it."""
    token = await issued(broker, audience=target)
    answers = [
        assert_answered(await broker.introspect(token, auth=basic(name)))
        for name in (caller, target)
    ]

    assert INACTIVE == answers[0]
    assert answers[1]["active"] is True


async def test_s2_2_each_of_several_audiences_is_told(broker):
    """RFC 7662 §2.2: a token for two is active for both."""
    token = await issued(broker, audience=["svc-b", "svc-c"])
    answers = [
        assert_answered(await broker.introspect(token, auth=basic(name)))["active"]
        for name in ("svc-b", "svc-c", "svc-a")
    ]

    assert [True, True, False] == answers


@pytest.mark.row("IN-2.2-02", "IN-2.2-08", "IN-2.3-01", "ATK-ALG-01")
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"exp": int(time.time()) - 1}, id="expired"),
        pytest.param({"nbf": int(time.time()) + 3000}, id="not-yet"),
        pytest.param({"iat": int(time.time()) - 100_000}, id="issued-long-ago"),
        pytest.param({"iss": IDP}, id="another-issuer-s"),
        pytest.param({"iss": BROKER_ISSUER + "/"}, id="issuer-misspelt"),
        pytest.param({"typ": "JWT"}, id="typ-JWT"),
        pytest.param({"typ": "reference+jwt"}, id="typ-of-a-record"),
        pytest.param({"typ": "token-introspection+jwt"}, id="typ-of-an-answer"),
        pytest.param({"client_id": "gone"}, id="of-a-client-that-is-gone"),
        pytest.param(
            {"sub_id": {"format": "iss_sub", "iss": "https://gone.test", "sub": "alice"}},
            id="of-an-issuer-that-is-gone",
        ),
        pytest.param({"lineage": "x"}, id="lineage-malformed"),
        pytest.param({"jti": None}, id="without-jti"),
    ],
)
async def test_s4_whatever_is_wrong_with_a_token_of_ours_it_is_not_active(
    broker, stolen_key, fault
):
    """RFC 7662 §4: the whole of its state, and one answer for all that may be wrong."""
    answers = [
        assert_answered(await broker.introspect(token))
        for token in (forged(stolen_key, **fault), forged(stolen_key))
    ]

    assert INACTIVE == answers[0]
    assert answers[1]["active"] is True


@pytest.mark.row("IN-2.2-02", "IN-2.2-08")
@pytest.mark.parametrize(
    "token",
    [
        pytest.param("x", id="one-letter"),
        pytest.param("a.b.c", id="three-letters"),
        pytest.param("A" * 43, id="a-reference-that-never-was"),
        pytest.param("." * 16_000, id="dots"),
        pytest.param("A" * 40_000, id="very-long"),
        pytest.param("\u00e9" * 43, id="not-ascii"),
        pytest.param(subject_jwt(), id="a-trusted-issuer-s"),
        pytest.param(jwt({"iss": BROKER_ISSUER}, key=STRANGERS_KEY), id="a-stranger-s"),
        pytest.param("eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2Jyb2tlci50ZXN0In0.", id="unsigned"),
    ],
)
async def test_s2_2_whatever_is_no_token_of_ours_is_not_active(broker, token):
    """RFC 7662 §2.2: never an error, and exactly one member."""
    assert INACTIVE == assert_answered(await broker.introspect(token))
    assert [] == await broker.rows("introspection")


@pytest.mark.row("IN-2.2-08", "ATK-ALG-01")
async def test_s4_a_token_without_its_signature_is_not_active(broker):
    """RFC 7662 §4: alg none, and a good token with another's signature."""
    token, other = await issued(broker), await issued(broker)
    head, claims, _ = token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    for broken in (
        f"{none}.{claims}.",
        f"{none}.{claims}.AA",
        f"{head}.{claims}.{other.split('.')[2]}",
    ):
        assert INACTIVE == assert_answered(await broker.introspect(broken))


@pytest.mark.row("IN-2.2-02", "IN-2.2-08", "RV-2.1-05", "RV-2.1-07", "TX-2.1-19")
@pytest.mark.parametrize("target", ["svc-b", "svc-ref"])
async def test_s4_what_was_revoked_and_what_descends_from_it_is_not_active(broker, target):
    """RFC 7662 §4: a revoked parent takes its descendants along."""
    parent = await issued(broker, audience=target)
    child = await issued(
        broker,
        client=target,
        subject_token=parent,
        subject_token_type=ACCESS_TOKEN,
        audience="svc-c",
    )
    other = await issued(broker, audience=target)
    seen = []
    for revoked in (False, True):
        if revoked:
            assert 200 == (await broker.revoke(parent)).status_code
        seen.append(
            [
                assert_answered(await broker.introspect(token, auth=basic(caller)))["active"]
                for token, caller in ((parent, target), (child, "svc-c"), (other, target))
            ]
        )

    assert [[True, True, True], [False, False, True]] == seen


@pytest.mark.row("IN-2.2-07")
async def test_answers_are_not_cached_and_not_recorded(broker):
    """Design §7: counted, by what they were, without a value of any token."""
    token = await issued(broker)
    await broker.introspect(token)
    await broker.introspect("canary")
    metrics = (await broker.admin("/metrics")).text

    assert [] == await broker.rows("introspection")
    for outcome in ("active", "unknown"):
        assert f'broker_introspection_answers_total{{outcome="{outcome}"' in metrics.replace(
            'otel_scope_name="broker",', ""
        ).replace('otel_scope_schema_url="",', "").replace('otel_scope_version="",', "")
    assert "canary" not in metrics
