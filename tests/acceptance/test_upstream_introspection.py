"""Issuers that are asked about their tokens: opaque ones, and JWTs that they may have revoked.

Of the three issuers, ``IDP`` has opaque tokens; ``OTHER`` and ``ACTS`` are asked about JWTs, and
without an answer ``OTHER``'s are refused and ``ACTS``'s accepted.
"""

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from broker.db.embedded import EmbeddedPostgres
from broker.issuers.fetch import MAX_ANSWER
from tests.configuration import document
from tests.introspecting import (
    CLIENT_SECRET,
    INACTIVE,
    PREFIX,
    Endpoint,
    active,
    endpoint_in_background,
    introspection,
    silence,
)
from tests.jwts import ABSENT, ACTS, BROKER_ISSUER, IDP, OTHER, subject_jwt, unverified_claims
from tests.loopback import http_answer, json_answer
from tests.server import BrokerClient, BrokerProcess, eventually, talk_to, write_configuration
from tests.wire import (
    ACCESS_TOKEN,
    JWT,
    assert_issued,
    assert_refused,
    basic,
    exchange_form,
)

FORGED = "The subject token was not accepted."
REVOKED = "The subject token, or something that it descends from, was revoked."


@pytest.fixture(scope="module")
def endpoints() -> Iterator[dict[str, Endpoint]]:
    """The introspection endpoint of each issuer."""
    with (
        endpoint_in_background() as idp,
        endpoint_in_background() as other,
        endpoint_in_background() as acts,
    ):
        yield {IDP: idp, OTHER: other, ACTS: acts}


@pytest.fixture(scope="module")
def process(
    endpoints: dict[str, Endpoint],
    postgres: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[BrokerProcess]:
    """``broker serve`` that asks them; its log holds no token and no secret in the end."""
    folder = tmp_path_factory.mktemp("introspecting")
    (folder / "idp.secret").write_text(CLIENT_SECRET)
    (folder / "idp.secret").chmod(0o600)
    asked = {
        IDP: {"client_secret_file": "idp.secret", "prefix": PREFIX, "deadline": "2s"},
        OTHER: {"client_secret": "${OTHER_SECRET}", "tokens": "jwt", "cache": "0s"},
        ACTS: {"client_secret": "${OTHER_SECRET}", "tokens": "jwt", "unreachable": "accept"},
    }
    issuers = document()["issuers"]
    for issuer in issuers:
        if issuer["issuer"] in asked:
            settings = introspection(endpoints[issuer["issuer"]].server)
            del settings["client_secret"]
            issuer["introspection"] = settings | asked[issuer["issuer"]]
    config = write_configuration(folder, postgres.app_url, issuers=issuers)
    process = BrokerProcess(config, environ={"OTHER_SECRET": CLIENT_SECRET})
    try:
        process.wait_ready()
        yield process
    finally:
        code = process.stop()
    log = process.log.read_text(errors="replace")
    assert 0 == code, log
    for secret in (CLIENT_SECRET, PREFIX, "eyJ"):
        assert secret not in log


@pytest.fixture
async def broker(process: BrokerProcess, postgres: EmbeddedPostgres) -> AsyncIterator[BrokerClient]:
    """A client of it."""
    async with talk_to(process, postgres.auditor_url) as client:
        yield client


@pytest.fixture
def idp(endpoints: dict[str, Endpoint]) -> Iterator[Endpoint]:
    """The endpoint of the issuer with opaque tokens."""
    yield endpoints[IDP]
    endpoints[IDP].forget()


def opaque(idp: Endpoint, **claims: Any) -> str:
    """A new opaque token of the identity provider that says this."""
    token = PREFIX + secrets.token_urlsafe(24)
    idp.tokens[token] = active(jti=secrets.token_hex(8), **claims)
    return token


async def present(broker: BrokerClient, token: str, **form: Any) -> httpx.Response:
    """Exchange it, declared as an access token unless said otherwise."""
    return await broker.exchange(
        exchange_form(**{"subject_token": token, "subject_token_type": ACCESS_TOKEN} | form)
    )


async def test_an_opaque_token_is_exchanged(broker, idp):
    """RFC 7662: for a JWT that names its subject, and can be exchanged again (RFC 8693 §2.1)."""
    token = opaque(idp)
    issued = assert_issued(await present(broker, token))["access_token"]
    form = exchange_form(subject_token=issued, subject_token_type=ACCESS_TOKEN, audience="svc-a")
    again = assert_issued(await broker.exchange(form, auth=basic("svc-b")))["access_token"]
    claims = unverified_claims(again)

    assert ("idp:alice", {"format": "iss_sub", "iss": IDP, "sub": "alice"}) == (
        claims["sub"],
        claims["sub_id"],
    )
    assert claims["exp"] <= idp.tokens[token]["exp"]
    assert (2, 2) == (len(claims["lineage"]), len(claims["lineage_keys"]))
    assert [token] == idp.asked
    assert ["issued", "issued"] == await broker.audited()
    assert token not in str(await broker.rows())


@pytest.mark.row("TX-2.2.2-01")
async def test_one_that_is_not_active_looks_like_a_forgery(broker, idp):
    """Whoever tries tokens learns nothing of what the issuer knows."""
    # A new one: what was answered about another test's may be remembered still.
    token = PREFIX + secrets.token_urlsafe(24)

    assert FORGED == assert_refused(await present(broker, token), "invalid_request")
    assert FORGED == assert_refused(await present(broker, "x.y.z"), "invalid_request")
    assert [token] == idp.asked
    assert ["subject_token.inactive", "subject_token.malformed"] == await broker.audited()


async def test_revoking_it_at_its_issuer_ends_it_within_the_cache(broker, idp):
    """Default 1 s: and until then nobody is asked again."""
    token = opaque(idp)
    assert_issued(await present(broker, token))
    idp.tokens[token] = INACTIVE
    revoked = time.monotonic()

    async def refused() -> bool:
        return (await present(broker, token)).status_code == 400

    await eventually(refused)
    assert time.monotonic() - revoked < 5
    assert [token] * 2 == idp.asked
    assert "subject_token.inactive" == (await broker.audited())[-1]


@pytest.mark.row("CVE-2026-27840")
async def test_only_the_whole_token_is_it(broker, idp):
    """CVE-2026-27840: every prefix, every suffix, and more than it, is another token."""
    token = opaque(idp)
    parts = [token[:length] for length in range(1, len(token))]
    parts += [token[start:] for start in range(1, len(token))]
    parts += [token + more for more in ("A", "=", ".", ".A")] + [token.swapcase()]
    found = {(await present(broker, part)).status_code for part in parts}

    assert {400} == found
    assert_issued(await present(broker, token))
    assert all(asked.startswith(PREFIX) for asked in idp.asked)


@pytest.mark.row("ATK-SSRF-02")
@pytest.mark.parametrize(
    ("form", "auth", "status"),
    [
        pytest.param({}, None, 401, id="no-client"),
        pytest.param({}, ("svc-a", "wrong"), 401, id="wrong-secret"),
        pytest.param({"subject_token_type": JWT}, basic(), 400, id="called-a-jwt"),
        pytest.param({"subject_token": None}, basic(), 400, id="no-token"),
    ],
)
async def test_nobody_else_makes_us_ask(broker, idp, form, auth, status):
    """Nothing is sent before the client is known, and no token that cannot be one."""
    body = {"subject_token": opaque(idp), "subject_token_type": ACCESS_TOKEN} | form
    response = await broker.exchange(exchange_form(**body), auth=auth)

    assert (status, []) == (response.status_code, idp.asked)


@pytest.mark.row("TX-2.2.2-06", "ATK-SSRF-03")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="closes-at-once"),
        pytest.param(silence, id="silent"),
        pytest.param(http_answer(b"{}", status="500 Oops"), id="500"),
        pytest.param(http_answer(b"{}", status="401 Unauthorized"), id="401"),
        pytest.param(http_answer(b"garbage"), id="garbage"),
        pytest.param(http_answer(b"<html>", content_type="text/html"), id="html"),
        pytest.param(http_answer(b" " * (MAX_ANSWER + 1)), id="huge"),
        pytest.param(
            http_answer(b"", status="307 Temporary Redirect", Location="/introspect"),
            id="redirect",
        ),
        pytest.param(json_answer(active(), Content_Encoding="br"), id="compressed"),
    ],
)
async def test_without_an_answer_it_is_an_outage(broker, idp, answer):
    """503 and Retry-After, within the deadline, and recorded; the next answer is believed."""
    token = opaque(idp)
    idp.answer = answer
    began = time.monotonic()
    response = await present(broker, token)
    spent = time.monotonic() - began
    idp.answer = None

    assert_refused(response, "temporarily_unavailable", 503)
    assert "retry-after" in response.headers
    assert spent < 7
    assert ["issuer.unavailable"] == await broker.audited()

    async def accepted() -> bool:
        return (await present(broker, token)).status_code == 200

    await eventually(accepted)


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        pytest.param(json_answer({"active": True}), 200, "issued", id="active"),
        pytest.param(json_answer(INACTIVE), 400, "subject_token.revoked", id="revoked"),
        pytest.param(json_answer({"active": "true"}), 400, "subject_token.revoked", id="text"),
        pytest.param(
            json_answer({"active": True, "sub": "bob"}),
            400,
            "subject_token.claim_invalid",
            id="about-another",
        ),
        pytest.param(http_answer(b"{}", status="500 Oops"), 503, "issuer.unavailable", id="500"),
    ],
)
async def test_a_jwt_is_accepted_while_its_issuer_says_so(
    broker, endpoints, answer, status, reason
):
    """After it was verified here: what its issuer has revoked is revoked."""
    token = subject_jwt(iss=OTHER)
    endpoints[OTHER].answer = answer
    response = await present(broker, token, subject_token_type=JWT)
    endpoints[OTHER].answer = None

    assert (status, [reason]) == (response.status_code, await broker.audited())
    assert token == endpoints[OTHER].asked[-1]
    if reason == "subject_token.revoked":
        assert REVOKED == response.json()["error_description"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param(http_answer(b"{}", status="500 Oops"), 200, id="500"),
        pytest.param(json_answer(INACTIVE), 400, id="revoked"),
    ],
)
async def test_where_the_configuration_says_so_silence_is_let_pass(
    broker, endpoints, answer, status
):
    """``unreachable: accept``: and a no is a no all the same."""
    endpoints[ACTS].answer = answer
    response = await present(broker, subject_jwt(iss=ACTS), subject_token_type=JWT)
    endpoints[ACTS].answer = None

    assert status == response.status_code


async def test_a_jwt_that_is_refused_here_is_not_asked_about(broker, endpoints):
    """No forgery makes us send anything."""
    endpoints[OTHER].forget()
    for fault in ({"kid": "x"}, {"aud": "svc-b"}, {"sub": ABSENT}):
        response = await present(broker, subject_jwt(iss=OTHER, **fault), subject_token_type=JWT)
        assert 400 == response.status_code

    assert [] == endpoints[OTHER].asked


async def test_an_opaque_actor_token_is_judged_by_the_same_rules(broker, idp):
    """RFC 8693 §2.1: it is the client's own, and meant for this broker."""
    good = opaque(idp, sub="batch", client_id="svc-a", aud=BROKER_ISSUER)
    others = opaque(idp, sub="batch", client_id="svc-b", aud=BROKER_ISSUER)
    outcomes = [
        await present(broker, opaque(idp), actor_token=actor, actor_token_type=ACCESS_TOKEN)
        for actor in (good, others, PREFIX + "unknown")
    ]
    claims = unverified_claims(assert_issued(outcomes[0])["access_token"])

    assert {"iss": IDP, "sub": "batch"} == {n: claims["act"][n] for n in ("iss", "sub")}
    assert ["issued", "actor_token.not_of_client", "actor_token.inactive"] == await broker.audited()


async def test_questions_are_counted_by_issuer_and_outcome(broker, idp):
    """And nothing that a caller sends becomes a label."""
    token = opaque(idp)
    for _ in range(2):
        assert_issued(await present(broker, token))
    metrics = (await broker.admin("/metrics")).text

    for outcome in ("active", "kept"):
        assert f'broker_issuer_introspections_total{{outcome="{outcome}",source="idp"}}' in metrics
    assert 'broker_issuer_introspection_circuit{source="idp"} 0.0' in metrics
    assert PREFIX not in metrics
