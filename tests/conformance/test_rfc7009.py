"""RFC 7009: a client gives a token back, and it is refused from then on."""

import hashlib
from typing import Any

import pytest

from tests.conformance.test_rfc7662 import INACTIVE, assert_answered, forged, issued
from tests.jwts import (
    ABSENT,
    BROKER_ISSUER,
    IDP,
    STRANGERS_KEY,
    b64url,
    jwt,
    subject_jwt,
    unverified_claims,
)
from tests.wire import ACCESS_TOKEN, assert_refused, basic, exchange_form


async def is_active(broker, token: str, caller: str = "svc-b") -> bool:
    answer = assert_answered(await broker.introspect(token, auth=basic(caller)))
    assert answer["active"] is True or INACTIVE == answer
    return bool(answer["active"])


async def exchanged(broker, token: str, *, client: str = "svc-b", audience: str = "svc-c") -> Any:
    """Present a token of ours as subject."""
    form = exchange_form(subject_token=token, subject_token_type=ACCESS_TOKEN, audience=audience)
    return await broker.exchange(form, auth=basic(client))


def assert_given_back(response) -> None:
    """RFC 7009 §2.2: 200, and a body that means nothing."""
    assert (200, b"") == (response.status_code, response.content)
    assert "no-store" in response.headers["cache-control"]


@pytest.mark.row("RV-2-01", "RV-2.3-01")
@pytest.mark.parametrize("path", ["/revoke", "/revoke?token=x", "/revoke?callback=f"])
async def test_s2_a_token_is_revoked_by_post_only(broker, path):
    """RFC 7009 §2, §2.3: no GET, so no JSONP either."""
    response = await broker.get(path, auth=basic())

    assert_refused(response, "invalid_request", 405)
    assert "POST" == response.headers["allow"]


@pytest.mark.row("RV-2.3-01")
async def test_s2_3_a_callback_is_a_parameter_like_any_unknown_one(broker):
    """RFC 7009 §2.3: ours calls nobody back."""
    assert_given_back(await broker.revoke("x", callback="alert"))


@pytest.mark.row("RV-2.1-01")
@pytest.mark.parametrize(
    "form",
    [
        pytest.param([], id="missing"),
        pytest.param([("token", "")], id="empty"),
        pytest.param([("token", "a"), ("token", "b")], id="twice"),
        pytest.param([("token", "a"), ("token_type_hint", ""), ("token_type_hint", "")], id="hint"),
    ],
)
async def test_s2_1_one_token_is_given_back(broker, form):
    """RFC 7009 §2.1, RFC 6749 §3.2."""
    assert_refused(
        await broker.request("POST", "/revoke", data=form, auth=basic()), "invalid_request"
    )


@pytest.mark.row("RV-2.1-02", "RV-2-01")
@pytest.mark.parametrize("target", ["svc-b", "svc-ref"])
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "foo"])
async def test_s2_1_whatever_the_hint_the_token_is_revoked(broker, target, hint):
    """RFC 7009 §2.1: the server looks further."""
    token = await issued(broker, audience=target)
    before = await is_active(broker, token, target)
    assert_given_back(await broker.revoke(token, token_type_hint=hint))

    assert [True, False] == [before, await is_active(broker, token, target)]


@pytest.mark.row("RV-2.1-03")
@pytest.mark.parametrize("token", ["garbage", None], ids=["garbage", "a-live-one"])
@pytest.mark.parametrize("auth", [None, ("svc-a", "wrong"), ("svc-z", "x")], ids=str)
async def test_s2_1_the_client_comes_first(broker, token, auth):
    """RFC 7009 §2.1: a 401 says nothing about a token."""
    presented = token or await issued(broker)
    response = await broker.revoke(presented, auth=auth)

    assert_refused(response, "invalid_client", 401)
    assert "www-authenticate" in response.headers
    assert 1 == len(await broker.rows("revocation"))
    if token is None:
        assert await is_active(broker, presented)


@pytest.mark.row("RV-2.1-04", "D-07")
@pytest.mark.parametrize("target", ["svc-b", "svc-ref"])
@pytest.mark.parametrize("other", ["svc-c", None], ids=["a-third", "its-audience"])
async def test_s2_1_nobody_revokes_a_token_of_another_client(broker, target, other):
    """RFC 7009 §2.1: refused, revealing nothing more, and the token lives on."""
    token = await issued(broker, audience=target)
    response = await broker.revoke(token, auth=basic(other or target))

    assert "This client may not revoke that token." == assert_refused(
        response, "unauthorized_client"
    )
    assert await is_active(broker, token, target)
    assert ["revocation.not_of_client"] == await broker.audited("revocation")
    assert_given_back(await broker.revoke(token))


@pytest.mark.row("RV-2.1-05", "TX-2.1-26", "CVE-2026-9097")
@pytest.mark.parametrize("target", ["svc-b", "svc-ref"])
async def test_s2_1_a_revocation_is_in_force_when_it_is_answered(broker, target):
    """RFC 7009 §2.1: on the answering replica at once, at introspection and as subject."""
    token = await issued(broker, audience=target)
    honest = await exchanged(broker, token, client=target)
    assert_given_back(await broker.revoke(token))
    refused = await exchanged(broker, token, client=target)

    assert 200 == honest.status_code
    assert_refused(refused, "invalid_request")
    assert not await is_active(broker, token, target)
    assert ["issued", "issued", "subject_token.revoked"] == await broker.audited()


@pytest.mark.row("RV-2.1-05")
async def test_a_revocation_is_recorded_with_who_and_what(broker):
    """Promises §2.4: a row of its own, by the client, for exactly this token."""
    token = await issued(broker)
    await broker.revoke(token)
    record = (await broker.records("administration"))[-1]
    details = {name: record["details"][name] for name in ("scope", "issuer", "key", "not_before")}

    assert ("revocation", "client:svc-a") == (record["action"], record["personal"]["by"])
    assert {
        "scope": "jti",
        "issuer": BROKER_ISSUER,
        "key": unverified_claims(token)["jti"],
        "not_before": None,
    } == details


@pytest.mark.row("RV-2.1-07", "RV-2.1-08", "TX-2.1-19")
async def test_s2_1_descendants_go_with_what_they_descend_from(broker):
    """Ours: the cascade is in the token; siblings and ancestors live on."""
    first = await issued(broker)
    second = await issued(
        broker,
        client="svc-b",
        subject_token=first,
        subject_token_type=ACCESS_TOKEN,
        audience="svc-c",
    )
    third = await issued(
        broker,
        client="svc-c",
        subject_token=second,
        subject_token_type=ACCESS_TOKEN,
        audience="svc-a",
    )
    sibling = await issued(
        broker,
        client="svc-b",
        subject_token=first,
        subject_token_type=ACCESS_TOKEN,
        audience="svc-c",
    )
    tree = ((first, "svc-b"), (second, "svc-c"), (third, "svc-a"), (sibling, "svc-c"))
    assert 3 == len(unverified_claims(third)["lineage"])
    assert_given_back(await broker.revoke(second, auth=basic("svc-b")))

    assert [True, False, False, True] == [
        await is_active(broker, token, caller) for token, caller in tree
    ]
    assert_refused(
        await exchanged(broker, third, client="svc-a", audience="svc-b"), "invalid_request"
    )


@pytest.mark.row("RV-2.1-06", "RV-2.2-02")
async def test_no_refresh_token_is_issued_that_could_be_revoked(broker):
    """RFC 7009 §2.1: so there is no grant whose access tokens would have to go along."""
    body = (await broker.exchange()).json()

    assert "refresh_token" not in body
    assert_given_back(await broker.revoke("x", token_type_hint="refresh_token"))


@pytest.mark.row("RV-2.2-01")
@pytest.mark.parametrize(
    "token",
    [
        pytest.param("x", id="malformed"),
        pytest.param("A" * 43, id="a-reference-that-never-was"),
        pytest.param("a.b.c", id="no-jwt"),
        pytest.param(subject_jwt(), id="a-trusted-issuer-s"),
        pytest.param(jwt({"iss": BROKER_ISSUER}, key=STRANGERS_KEY), id="a-stranger-s"),
        pytest.param("A" * 40_000, id="very-long"),
    ],
)
async def test_s2_2_what_is_no_token_of_ours_is_given_back_already(broker, token):
    """RFC 7009 §2.2: 200, for the client's purpose is achieved."""
    assert_given_back(await broker.revoke(token))
    assert [] == await broker.rows("administration")


@pytest.mark.row("RV-2.2-01")
async def test_s2_2_an_expired_token_is_given_back_already(broker, stolen_key):
    """RFC 7009 §2.2."""
    assert_given_back(await broker.revoke(forged(stolen_key, exp=1_700_000_000, iat=1_600_000_000)))
    assert [] == await broker.rows("administration")


@pytest.mark.row("RV-2.2-01")
async def test_s2_2_a_token_is_given_back_twice(broker):
    """RFC 7009 §2.2: and revoked once; another client learns nothing of it any more."""
    token = await issued(broker)
    for auth in (basic(), basic(), basic("svc-c")):
        assert_given_back(await broker.revoke(token, auth=auth))

    assert 1 == len(await broker.rows("administration"))


@pytest.mark.row("RV-2.2-02")
@pytest.mark.parametrize("typ", ["txntoken+jwt", "oauth-id-jag+jwt", "token-introspection+jwt"])
async def test_s2_2_1_a_kind_that_is_not_tracked_is_unsupported(broker, stolen_key, typ):
    """RFC 7009 §2.2.1: a 200 would be taken for a revocation."""
    response = await broker.revoke(forged(stolen_key, typ=typ))

    assert_refused(response, "unsupported_token_type")
    assert ["revocation.token_type_unsupported"] == await broker.audited("revocation")


@pytest.mark.row("RV-2.1-08")
@pytest.mark.parametrize(
    "lineage",
    [
        pytest.param(["A" * 22] * 10, id="more-than-the-ceiling"),
        pytest.param(["A" * 21], id="short"),
        pytest.param(["A" * 23], id="long"),
        pytest.param(["A" * 21 + "="], id="padded"),
        pytest.param([1], id="number"),
        pytest.param("A" * 22, id="no-list"),
        pytest.param({"0": "A" * 22}, id="object"),
        pytest.param([], id="empty"),
        pytest.param(None, id="null"),
    ],
)
async def test_a_lineage_that_we_did_not_write_is_refused(broker, stolen_key, lineage):
    """Design §4: who may leave out an ancestor may outlive its revocation."""
    response = await exchanged(broker, forged(stolen_key, lineage=lineage))

    assert_refused(response, "invalid_request")
    assert 200 == (await exchanged(broker, forged(stolen_key))).status_code


@pytest.mark.row("RV-2.1-08")
@pytest.mark.parametrize("jti", ["j-1", ABSENT], ids=["with-an-id", "without"])
async def test_an_ancestor_is_named_by_issuer_and_id_or_by_its_text(broker, jti):
    """Design §4: the first 16 bytes of SHA-256, written down here without any code of ours."""
    token = subject_jwt(jti=jti)
    named = token if jti is ABSENT else f"{IDP}\0{jti}"
    entry = b64url(hashlib.sha256(named.encode()).digest()[:16])

    assert [entry] == unverified_claims(await issued(broker, subject_token=token))["lineage"]
