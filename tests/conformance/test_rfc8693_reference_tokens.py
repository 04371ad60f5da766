"""RFC 8693 §3: tokens that say nothing, for targets that ask for them, and their way back here."""

import re

import pytest

from tests.conformance.test_rfc7662 import assert_answered, issued
from tests.jwts import BROKER_ISSUER
from tests.wire import (
    ACCESS_TOKEN,
    ID_TOKEN,
    JWT,
    assert_issued,
    assert_refused,
    basic,
    exchange_form,
)


def onward(token: str, **overrides):
    """The next exchange: by ``svc-ref``, for ``svc-b``."""
    return exchange_form(subject_token=token, subject_token_type=ACCESS_TOKEN, **overrides)


@pytest.mark.row("TX-2.1-32", "OA-10-01")
async def test_s3_a_target_gets_reference_tokens_if_it_asks_for_them(broker):
    """Design §4: 256 random bits and no claim; issued as an access token like any other."""
    body = assert_issued(await broker.exchange(exchange_form(audience="svc-ref")))
    record = (await broker.records())[-1]

    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", body["access_token"])
    assert ACCESS_TOKEN == body["issued_token_type"]
    assert record["jti"] not in str(body)


@pytest.mark.row("OA-10-01")
async def test_no_two_reference_tokens_are_alike(broker):
    """RFC 6749 §10.10: nothing of one tells of another, though all else is equal."""
    form = exchange_form(audience="svc-ref")
    tokens = [assert_issued(await broker.exchange(form))["access_token"] for _ in range(20)]

    assert 20 == len(set(tokens))
    # Of 43 places two independent texts share one in 64: more than ten would be no chance.
    shared = max(
        sum(a == b for a, b in zip(one, other, strict=True))
        for one in tokens
        for other in tokens
        if one is not other
    )
    assert shared <= 10


@pytest.mark.row("OA-10-01")
async def test_an_id_is_no_credential(broker):
    """RFC 6749 §10.10: who has read the audit trail has no token by that."""
    token = await issued(broker, audience="svc-ref")
    record = (await broker.records())[-1]
    for known in (record["jti"], record["token_sha256"], record["txn"]):
        answer = assert_answered(await broker.introspect(known, auth=basic("svc-ref")))
        assert {"active": False} == answer
        assert_refused(
            await broker.exchange(onward(known), auth=basic("svc-ref")), "invalid_request"
        )

    assert assert_answered(await broker.introspect(token, auth=basic("svc-ref")))["active"]


@pytest.mark.row("TX-2.1-32")
@pytest.mark.parametrize(
    ("requested", "outcome"),
    [
        pytest.param(None, 200, id="nothing-requested"),
        pytest.param(ACCESS_TOKEN, 200, id="access-token"),
        pytest.param(JWT, 400, id="jwt"),
    ],
)
async def test_s2_1_a_jwt_is_not_issued_where_references_are(broker, requested, outcome):
    """RFC 8693 §2.1: who asks for a JWT means to read it, and gets no other thing instead."""
    form = exchange_form(audience="svc-ref", requested_token_type=requested)
    response = await broker.exchange(form)

    assert outcome == response.status_code
    if outcome == 400:
        assert_refused(response, "invalid_request")
        assert ["target.format_unsupported"] == await broker.audited()


@pytest.mark.row("TX-2.1-32")
async def test_s2_1_one_token_is_of_one_format(broker):
    """RFC 8693 §2.1: a token for two targets cannot be both."""
    response = await broker.exchange(exchange_form(audience=["svc-b", "svc-ref"]))

    assert_refused(response, "invalid_target")


@pytest.mark.row("TX-2.1-29")
async def test_s3_a_reference_token_is_exchanged_like_a_jwt(broker):
    """RFC 8693 §3: subject, scopes, chain, lineage and bounds are those of what it stands for."""
    token = await issued(broker, audience="svc-ref")
    response = await broker.exchange(onward(token, audience="svc-c"), auth=basic("svc-ref"))
    onwards = assert_issued(response)["access_token"]
    answer = assert_answered(await broker.introspect(onwards, auth=basic("svc-c")))
    first, second = await broker.records()

    outer, inner = ({"iss": BROKER_ISSUER, "sub": name} for name in ("svc-ref", "svc-a"))
    assert {**outer, "act": inner} == answer["act"]
    assert ("idp:alice", first["txn"], 2) == (
        answer["sub"],
        answer["txn"],
        answer["delegation_depth"],
    )
    assert first["jti"] == second["parent"]
    assert first["token_sha256"] == second["subject_token"]["sha256"]


@pytest.mark.row("TX-2.1-29")
@pytest.mark.parametrize("declared", [JWT, ID_TOKEN])
async def test_s3_a_reference_token_is_nothing_but_an_access_token(broker, declared):
    """RFC 8693 §3: declared as a JWT, it is a text that is none."""
    token = await issued(broker, audience="svc-ref")
    form = exchange_form(subject_token=token, subject_token_type=declared)

    assert_refused(await broker.exchange(form, auth=basic("svc-ref")), "invalid_request")
    assert "subject_token.malformed" == (await broker.audited())[-1]


@pytest.mark.row("TX-2.1-29")
async def test_a_reference_token_is_for_its_audience(broker):
    """Invariant 6: it is a bearer token, and still no use to whom it was not meant for."""
    token = await issued(broker, audience="svc-ref")
    response = await broker.exchange(onward(token), auth=basic("svc-c"))

    assert_refused(response, "invalid_request")
    assert ["issued", "subject_token.audience_mismatch"] == await broker.audited()


@pytest.mark.row("TX-2.1-29", "CVE-2026-27840")
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda token: token[:-1], id="truncated"),
        pytest.param(lambda token: token[1:], id="beheaded"),
        pytest.param(lambda token: token + "A", id="extended"),
        pytest.param(lambda token: token + "=", id="padded"),
        pytest.param(lambda token: " " + token, id="space-before"),
        pytest.param(lambda token: token + "\n", id="line-break"),
        pytest.param(lambda token: token.swapcase(), id="case-changed"),
        pytest.param(lambda token: token[::-1], id="reversed"),
        pytest.param(lambda token: "A" * len(token), id="unknown"),
        pytest.param(lambda token: token[:22] + "%", id="wildcard"),
    ],
)
async def test_a_part_of_a_reference_token_is_no_token(broker, spoil):
    """CVE-2026-27840: only the whole is; at the token endpoint and at introspection."""
    token = await issued(broker, audience="svc-ref")
    response = await broker.exchange(onward(spoil(token)), auth=basic("svc-ref"))
    answer = assert_answered(await broker.introspect(spoil(token), auth=basic("svc-ref")))
    honest = await broker.exchange(onward(token), auth=basic("svc-ref"))

    assert "The subject token was not accepted." == assert_refused(response, "invalid_request")
    assert {"active": False} == answer
    assert_issued(honest)
