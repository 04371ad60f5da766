"""RFC 8693 §4: who acts for whom, in the token and in what is refused."""

import pytest

from tests.jwts import (
    ACTS,
    BROKER_ISSUER,
    IDP,
    KEEP,
    OTHER,
    actor_jwt,
    subject_jwt,
    unverified_claims,
)
from tests.wire import JWT, assert_issued, assert_refused, basic, exchange_form

A, B, C = ({"iss": BROKER_ISSUER, "sub": f"svc-{name}"} for name in "abc")


async def exchanged(broker, token, client, audience, **overrides):
    """The claims of what ``client`` gets for ``token`` at ``audience``."""
    form = exchange_form(subject_token=token, audience=audience, **overrides)
    body = assert_issued(await broker.exchange(form, auth=basic(client)))
    return body["access_token"], unverified_claims(body["access_token"])


@pytest.mark.row("TX-4.1-01", "TX-4.1-02")
async def test_s4_1_act_holds_the_identity_of_the_actor_and_nothing_else(broker):
    """RFC 8693 §4.1: iss and sub; what else its token said is not copied."""
    _, claims = await exchanged(
        broker, subject_jwt(), "svc-a", "svc-b", actor_token=actor_jwt(), actor_token_type=JWT
    )

    assert {"iss": IDP, "sub": "batch"} == claims["act"]


@pytest.mark.row("TX-4.1-10")
async def test_s1_1_without_an_actor_token_the_client_acts(broker):
    """RFC 8693 §1.1: delegation is the default, and the client is named."""
    _, claims = await exchanged(broker, subject_jwt(), "svc-a", "svc-b")

    assert (A, "svc-a") == (claims["act"], claims["client_id"])


@pytest.mark.row("TX-4.1-03", "TX-4.1-14", "TX-4.1-15", "AT-H-04", "TX-4.3-01", "RV-2.1-08")
async def test_s4_1_three_hops_nest_their_actors(broker):
    """RFC 8693 §4.1: the current actor outermost; txn and origin constant; hops counted."""
    first, one = await exchanged(broker, subject_jwt(), "svc-a", "svc-b")
    second, two = await exchanged(broker, first, "svc-b", "svc-c")
    _, three = await exchanged(broker, second, "svc-c", "svc-a")

    assert {**C, "act": {**B, "act": A}} == three["act"]
    assert [1, 2, 3] == [hop["delegation_depth"] for hop in (one, two, three)]
    assert 1 == len({hop["txn"] for hop in (one, two, three)})
    assert {("idp:alice", "svc-a"), ("idp:alice", "svc-b"), ("idp:alice", "svc-c")} == {
        (hop["sub"], hop["client_id"]) for hop in (one, two, three)
    }
    assert [{"format": "iss_sub", "iss": IDP, "sub": "alice"}] * 3 == [
        hop["sub_id"] for hop in (one, two, three)
    ]
    assert [1, 2, 3] == [len(hop["lineage"]) for hop in (one, two, three)]
    assert three["lineage"][:2] == two["lineage"]
    assert [one["txn"]] * 3 == [row["txn"] for row in await broker.rows()]


@pytest.mark.row("TX-4.1-04", "D-13")
async def test_s4_1_a_prior_actor_gives_no_permission(broker):
    """RFC 8693 §4.1: only the top level and the current actor are considered."""
    token = subject_jwt(
        iss=ACTS,
        aud="svc-no-grant",
        act={"sub": "x", "act": {"iss": BROKER_ISSUER, "sub": "svc-a"}},
    )
    response = await broker.exchange(exchange_form(subject_token=token), auth=basic("svc-no-grant"))

    assert_refused(response, "invalid_target")


@pytest.mark.row("TX-4.1-05", "D-11", "ATK-ACT-02")
@pytest.mark.parametrize(
    ("client", "extra", "expected"),
    [
        pytest.param("svc-a", {}, {**A, "act": {"iss": ACTS, "sub": "x"}}, id="delegation"),
        pytest.param("svc-imp", {}, {"iss": ACTS, "sub": "x"}, id="impersonation"),
        pytest.param(
            "svc-a",
            {"actor_token_type": JWT},
            {"iss": IDP, "sub": "batch", "act": {"iss": ACTS, "sub": "x"}},
            id="with-an-actor-token",
        ),
    ],
)
async def test_s4_1_a_chain_is_never_washed_off(broker, client, extra, expected):
    """Invariant 3: kept or extended, never dropped."""
    if extra:
        extra = {**extra, "actor_token": actor_jwt()}
    token = subject_jwt(iss=ACTS, aud=client, act={"sub": "x"})
    _, claims = await exchanged(broker, token, client, "svc-b", **extra)

    assert expected == claims["act"]


def nested(levels: int) -> dict[str, object]:
    """An ``act`` of that many levels."""
    act: dict[str, object] = {"sub": "a0"}
    for level in range(1, levels):
        act = {"sub": f"a{level}", "act": act}
    return act


@pytest.mark.row("TX-4.1-06")
@pytest.mark.parametrize(
    ("client", "claims"),
    [
        pytest.param("svc-a", {"act": nested(8)}, id="ceiling"),
        pytest.param("svc-a", {"max_delegation_depth": 0}, id="subject's-own-limit"),
        pytest.param("svc-shallow", {"act": nested(1)}, id="grant"),
    ],
)
async def test_s4_1_depth_is_bounded_from_three_sides(broker, client, claims):
    """Invariant 4: one exchange more than any bound is refused."""
    token = subject_jwt(iss=ACTS, aud=client, **claims)
    response = await broker.exchange(exchange_form(subject_token=token), auth=basic(client))

    assert_refused(response, "invalid_request")
    assert ["delegation.depth_exceeded"] == await broker.audited()


@pytest.mark.row("TX-4.1-06", "ATK-ACT-01", "ATK-JSON-02", "CVE-2025-53864")
async def test_s4_1_a_chain_of_absurd_length_is_refused_cheaply(broker):
    """No recursion error, and the next exchange works."""
    levels = 10_000
    act = '{"sub":"a","act":' * levels + '{"sub":"a"}' + "}" * levels
    token = subject_jwt(iss=ACTS).split(".")
    response = await broker.exchange(
        exchange_form(subject_token=f"{token[0]}.{act.encode().hex()}.{token[2]}")
    )

    assert response.status_code in {400, 413}
    assert_issued(await broker.exchange())


@pytest.mark.row("TX-4.1-07")
@pytest.mark.parametrize(
    "act",
    [
        pytest.param("svc-x", id="string"),
        pytest.param([{"sub": "x"}], id="array"),
        pytest.param(None, id="null"),
        pytest.param(7, id="number"),
        pytest.param({}, id="without-sub"),
        pytest.param({"sub": 7}, id="sub-is-a-number"),
        pytest.param({"sub": ""}, id="sub-is-empty"),
        pytest.param({"sub": "x", "iss": 7}, id="iss-is-a-number"),
        pytest.param({"sub": "x", "act": "y"}, id="nested-string"),
        pytest.param({"sub": "x", "act": None}, id="nested-null"),
    ],
)
async def test_s4_1_a_malformed_act_is_refused(broker, act):
    """RFC 8693 §4.1: an object that identifies the actor, at every level."""
    response = await broker.exchange(exchange_form(subject_token=subject_jwt(iss=ACTS, act=act)))

    assert_refused(response, "invalid_request")
    assert ["subject_token.claim_invalid"] == await broker.audited()


@pytest.mark.row("TX-4.1-07", "TX-4.1-02")
async def test_s4_1_an_actor_without_iss_is_of_the_tokens_issuer(broker):
    """RFC 8693 §4.1: and is written out so; members that identify nobody are left behind."""
    act = {"sub": "x", "exp": 1, "aud": "y", "scope": "z", "act": {"sub": "w", "jti": "1"}}
    _, claims = await exchanged(broker, subject_jwt(iss=ACTS, act=act), "svc-a", "svc-b")

    assert {
        **A,
        "act": {"iss": ACTS, "sub": "x", "act": {"iss": ACTS, "sub": "w"}},
    } == claims["act"]


@pytest.mark.row("TX-4.1-08")
async def test_s4_1_the_actors_own_actor_is_refused(broker):
    """Ours: a chain inside the actor token is no history of the subject."""
    form = exchange_form(actor_token=actor_jwt(iss=ACTS, act={"sub": "x"}), actor_token_type=JWT)

    assert_refused(await broker.exchange(form), "invalid_request")
    assert ["actor_token.has_chain"] == await broker.audited()


@pytest.mark.row("TX-4.1-11")
async def test_s1_1_acting_for_oneself_names_no_actor(broker):
    """RFC 8693 §1.1: a token narrowed by its own subject is no delegation."""
    own = subject_jwt(sub="known-app", aud="svc-known")
    _, claims = await exchanged(broker, own, "svc-known", "svc-b")

    assert "act" not in claims
    assert "svc-known" == claims["sub"]


@pytest.mark.row("TX-4.1-11", "ATK-ISS-03")
async def test_s1_1_the_same_sub_at_another_issuer_is_somebody_else(broker):
    """Invariant 9: a bare sub is no identity."""
    token = subject_jwt(iss=OTHER, sub="svc-a")
    _, claims = await exchanged(broker, token, "svc-a", "svc-b")

    assert (A, "other:svc-a") == (claims["act"], claims["sub"])


@pytest.mark.row("TX-4.1-12")
async def test_whoever_is_in_the_chain_may_not_act_again(broker):
    """Invariant 5: A → B → A is a loop."""
    first, _ = await exchanged(broker, subject_jwt(), "svc-a", "svc-b")
    second, _ = await exchanged(broker, first, "svc-b", "svc-a")
    response = await broker.exchange(exchange_form(subject_token=second))

    assert_refused(response, "invalid_request")
    assert ["issued", "issued", "delegation.loop"] == await broker.audited()


@pytest.mark.row("TX-4.1-12")
async def test_a_grant_may_allow_to_come_back(broker):
    """Invariant 5: with ``reentry`` the actor is appended once more."""
    act = {"sub": "x", "act": {"iss": BROKER_ISSUER, "sub": "svc-reenter"}}
    token = subject_jwt(iss=ACTS, aud="svc-reenter", act=act)
    _, claims = await exchanged(broker, token, "svc-reenter", "svc-b")

    assert {"iss": BROKER_ISSUER, "sub": "svc-reenter"} == {
        name: claims["act"][name] for name in ("iss", "sub")
    }


@pytest.mark.row("TX-4.1-12")
async def test_the_same_name_at_another_issuer_is_no_loop(broker):
    """Invariants 5 and 9."""
    act = {"sub": "x", "act": {"sub": "svc-a"}}
    _, claims = await exchanged(broker, subject_jwt(iss=ACTS, act=act), "svc-a", "svc-b")

    assert A == {name: claims["act"][name] for name in ("iss", "sub")}


@pytest.mark.row("TX-4.1-13")
async def test_s1_1_impersonation_names_no_actor(broker):
    """RFC 8693 §1.1: only where the grant says so."""
    _, claims = await exchanged(broker, subject_jwt(aud="svc-imp"), "svc-imp", "svc-b")

    assert "act" not in claims
    assert 1 == claims["delegation_depth"]


@pytest.mark.row("TX-4.1-13")
async def test_s1_1_impersonation_takes_no_actor_token(broker):
    """Ours: what was sent is never silently dropped."""
    form = exchange_form(
        subject_token=subject_jwt(aud="svc-imp"),
        actor_token=actor_jwt(azp="svc-imp"),
        actor_token_type=JWT,
    )

    assert_refused(await broker.exchange(form, auth=basic("svc-imp")), "invalid_request")
    assert ["policy.impersonation_with_actor_token"] == await broker.audited()


@pytest.mark.row("TX-4.1-14")
async def test_a_limit_of_the_subject_goes_with_its_tokens(broker):
    """Invariant 4: a hop may lower it and never raise it."""
    token = subject_jwt(iss=ACTS, max_delegation_depth=2)
    first, one = await exchanged(broker, token, "svc-a", "svc-b")
    second, two = await exchanged(broker, first, "svc-b", "svc-c")
    third = await broker.exchange(
        exchange_form(subject_token=second, audience="svc-a"), auth=basic("svc-c")
    )

    assert [2, 2] == [one["max_delegation_depth"], two["max_delegation_depth"]]
    assert_refused(third, "invalid_request")


@pytest.mark.row("TX-4.1-15")
async def test_a_foreign_txn_is_not_ours(broker):
    """Ours: the root exchange names the transaction."""
    _, claims = await exchanged(broker, subject_jwt(txn="theirs"), "svc-a", "svc-b")

    assert claims["jti"] == claims["txn"]


@pytest.mark.row("TX-4.1-16", "TX-4.4-06")
@pytest.mark.parametrize(
    "claim",
    [
        pytest.param({"act": {"sub": "x"}}, id="act"),
        pytest.param({"may_act": {"sub": "svc-a"}}, id="may_act"),
        pytest.param({"max_delegation_depth": 5}, id="max_delegation_depth"),
    ],
)
async def test_what_an_issuer_may_not_assert_is_refused(broker, claim):
    """Invariant 3: neither believed nor ignored."""
    response = await broker.exchange(exchange_form(subject_token=subject_jwt(**claim)))

    assert_refused(response, "invalid_request")
    assert ["subject_token.claim_not_believed"] == await broker.audited()


@pytest.mark.row("TX-4.4-01", "TX-4.4-03", "TX-4.4-06")
@pytest.mark.parametrize("aud", ["svc-a", "another-service"])
async def test_s4_4_may_act_lets_the_party_it_names_act(broker, aud):
    """RFC 8693 §4.4: also where the audience alone would not; its own exp has no meaning."""
    may_act = {"iss": BROKER_ISSUER, "sub": "svc-a", "exp": 1}
    token = subject_jwt(iss=ACTS, aud=aud, may_act=may_act)
    _, claims = await exchanged(broker, token, "svc-a", "svc-b")

    assert "may_act" not in claims


@pytest.mark.row("TX-4.4-01", "TX-4.4-02")
@pytest.mark.parametrize(
    "may_act",
    [
        pytest.param({"iss": BROKER_ISSUER, "sub": "svc-x"}, id="somebody-else"),
        pytest.param({"sub": "svc-a"}, id="same-sub-at-its-own-issuer"),
        pytest.param({"iss": IDP, "sub": "svc-a"}, id="same-sub-at-another-issuer"),
    ],
)
async def test_s4_4_may_act_keeps_everybody_else_out(broker, may_act):
    """RFC 8693 §4.4, invariant 6: even if the audience contains the client."""
    token = subject_jwt(iss=ACTS, may_act=may_act)

    assert_refused(await broker.exchange(exchange_form(subject_token=token)), "invalid_request")
    assert ["delegation.may_act_mismatch"] == await broker.audited()


@pytest.mark.row("TX-4.4-04")
@pytest.mark.parametrize("may_act", [[], "svc-a", {}, None, 7, {"sub": ""}, {"iss": IDP}])
async def test_s4_4_a_malformed_may_act_is_a_refusal(broker, may_act):
    """RFC 8693 §4.4: it is never taken for the absence of a restriction."""
    token = subject_jwt(iss=ACTS, may_act=may_act)

    assert_refused(await broker.exchange(exchange_form(subject_token=token)), "invalid_request")
    assert ["subject_token.claim_invalid"] == await broker.audited()


@pytest.mark.row("TX-2.1-27")
async def test_s2_1_subject_and_actor_token_may_be_the_same(broker):
    """RFC 8693 §2.1: judged like any pair; the same principal appends nothing."""
    token = subject_jwt(sub="svc", azp="svc-a", aud=["svc-a", BROKER_ISSUER])
    _, claims = await exchanged(
        broker, token, "svc-a", "svc-b", actor_token=token, actor_token_type=JWT
    )

    assert "act" not in claims


@pytest.mark.row("SB-2.6-01", "AT-2.2-02")
async def test_a_subject_is_unique_under_our_issuer(broker):
    """RFC 7519 §4.1.2: prefixed by its issuer's alias, kept for one issuer, never a client's."""
    _, prefixed = await exchanged(broker, subject_jwt(), "svc-a", "svc-b")
    _, kept = await exchanged(broker, subject_jwt(iss=KEEP), "svc-a", "svc-b")
    confused = await broker.exchange(
        exchange_form(subject_token=subject_jwt(iss=KEEP, sub="svc-b"))
    )

    assert ["idp:alice", "alice"] == [prefixed["sub"], kept["sub"]]
    assert_refused(confused, "invalid_request")
    assert "subject_token.subject_is_client" == (await broker.audited())[-1]
