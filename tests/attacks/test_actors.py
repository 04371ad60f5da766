"""Attack: write a chain of actors that gives more than it should, or that costs dearly to read."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain import Principal
from broker.errors import DelegationRejected, VerificationRejected
from broker.tokens.actors import find_may_act, read_chain
from broker.tokens.delegation import delegate
from broker.tokens.refusal import TokenRefused
from tests.builders import client
from tests.jwts import (
    ACTS,
    BROKER_ISSUER,
    IDP,
    KEYS,
    OTHER,
    actor_jwt,
    compact,
    public_jwk,
    subject_jwt,
)
from tests.verification import actor, own_jwt, refused, subject, verifier

SVC_A = {"iss": BROKER_ISSUER, "sub": "svc-a"}


def nested(depth: int) -> dict:
    """A chain of that many actors."""
    act: dict = {"sub": "oldest"}
    for number in range(depth - 1):
        act = {"sub": f"actor-{number}", "act": act}
    return act


@pytest.mark.row("TX-4.1-07", "ATK-ACT-01")
@pytest.mark.parametrize(
    "act",
    [
        pytest.param("svc-x", id="text"),
        pytest.param("", id="empty-text"),
        pytest.param(None, id="null"),
        pytest.param(1, id="number"),
        pytest.param(True, id="true"),
        pytest.param([], id="empty-array"),
        pytest.param([{"sub": "x"}], id="array"),
        pytest.param({}, id="empty-object"),
        pytest.param({"iss": ACTS}, id="no-sub"),
        pytest.param({"sub": None}, id="sub-null"),
        pytest.param({"sub": ""}, id="sub-empty"),
        pytest.param({"sub": 1}, id="sub-number"),
        pytest.param({"sub": ["x"]}, id="sub-array"),
        pytest.param({"sub": "x" * 1025}, id="sub-over-1-kib"),
        pytest.param({"sub": "x", "iss": None}, id="iss-null"),
        pytest.param({"sub": "x", "iss": ""}, id="iss-empty"),
        pytest.param({"sub": "x", "iss": 1}, id="iss-number"),
        pytest.param({"sub": "x", "act": None}, id="nested-null"),
        pytest.param({"sub": "x", "act": {}}, id="nested-empty"),
        pytest.param({"sub": "x", "act": "y"}, id="nested-text"),
        pytest.param({"sub": "x", "act": [{"sub": "y"}]}, id="nested-array"),
        pytest.param({"sub": "x", "act": {"sub": "y", "act": {"iss": "z"}}}, id="no-sub-deep"),
    ],
)
async def test_a_chain_that_cannot_be_read_is_refused(act):
    """TX-4.1-07: at any depth, and also null is a chain that cannot be read."""
    assert "subject_token.claim_invalid" == await refused(subject(subject_jwt(iss=ACTS, act=act)))


@pytest.mark.row("TX-4.1-07", "TX-4.1-02", "INV-9")
@pytest.mark.parametrize(
    ("act", "chain"),
    [
        pytest.param({"sub": "x"}, [(ACTS, "x")], id="without-iss-it-is-of-the-token-s-issuer"),
        pytest.param({"sub": "x", "iss": OTHER}, [(OTHER, "x")], id="with-iss"),
        pytest.param(
            {"sub": "c", "act": {"sub": "b", "iss": OTHER, "act": {"sub": "a"}}},
            [(ACTS, "c"), (OTHER, "b"), (ACTS, "a")],
            id="each-level-by-itself",
        ),
        pytest.param(
            {"sub": "x", "exp": 1, "aud": "svc-b", "scope": "admin", "may_act": SVC_A, "jti": 1},
            [(ACTS, "x")],
            id="other-members-have-no-effect",
        ),
    ],
)
async def test_a_chain_is_read_outermost_first(act, chain):
    """RFC 8693 §4.1: as pairs, each with its issuer."""
    verified = await subject(subject_jwt(iss=ACTS, act=act))

    assert [Principal(*pair) for pair in chain] == list(verified.chain)


@pytest.mark.row("TX-4.1-16", "ATK-ACT-01", "INV-3", "TX-4.4-06")
@pytest.mark.parametrize(
    "claims",
    [
        {"act": {"sub": "x"}},
        {"act": None},
        {"act": {}},
        {"may_act": SVC_A},
        {"may_act": None},
        {"max_delegation_depth": 1},
        {"max_delegation_depth": None},
        {"delegation_depth": 0},
    ],
    ids=json.dumps,
)
async def test_what_an_issuer_may_not_assert_is_refused_and_not_ignored(claims):
    """TX-4.1-16: neither believed nor lost; the same from one that may is read."""
    assert "subject_token.claim_not_believed" == await refused(subject(subject_jwt(**claims)))
    if None not in claims.values() and {} not in claims.values():
        assert ACTS == (await subject(subject_jwt(iss=ACTS, **claims))).asserted_by


@pytest.mark.row("TX-4.1-16")
@pytest.mark.parametrize(
    ("asserts", "believed"),
    [
        ([], set()),
        (["act"], {"act"}),
        (["may_act"], {"may_act"}),
        (["max_delegation_depth"], {"max_delegation_depth", "delegation_depth"}),
        (["act", "may_act"], {"act", "may_act"}),
    ],
)
async def test_asserts_says_which_of_them_are_believed(asserts, believed):
    """Design §5: one by one; the count goes with its limit."""
    using = verifier(rules={IDP: {"asserts": asserts}})
    claims = {
        "act": {"sub": "x"},
        "may_act": SVC_A,
        "max_delegation_depth": 3,
        "delegation_depth": 1,
    }
    found = set()
    for name, value in claims.items():
        try:
            await subject(subject_jwt(**{name: value}), verifier=using)
            found.add(name)
        except VerificationRejected as rejected:
            assert "subject_token.claim_not_believed" == rejected.reason

    assert believed == found


@pytest.mark.row("ATK-ACT-01", "TX-4.1-06")
@pytest.mark.parametrize("depth", [15, 16, 17, 500, 10_000])
async def test_a_chain_of_any_depth_is_refused_at_once(depth):
    """ATK-ACT-01: no recursion of ours follows it, and the process is alive."""
    text = b'{"sub":"x","act":' * depth + b'{"sub":"x"}' + b"}" * depth
    claims = b'{"iss":"' + ACTS.encode() + b'","act":' + text + b"}"
    header = {"alg": "ES256", "kid": public_jwk(KEYS[ACTS])["kid"]}
    began = time.process_time()

    assert "subject_token.malformed" == await refused(
        subject(compact(header, claims, KEYS[ACTS], "ES256"))
    )
    assert time.process_time() - began < 1


@pytest.mark.row("ATK-ACT-01", "TX-4.1-06")
def test_the_reader_has_a_bound_of_its_own():
    """ATK-ACT-01: 16 links, even if a parser before it let more through."""
    assert 16 == len(read_chain({"act": nested(16)}, ACTS))
    with pytest.raises(TokenRefused):
        read_chain({"act": nested(17)}, ACTS)


@pytest.mark.row("ATK-ACT-01", "TX-4.1-06", "INV-4")
@pytest.mark.parametrize(
    ("claims", "depth"),
    [
        pytest.param({"act": nested(3)}, 4, id="a-chain-without-a-count"),
        pytest.param({"act": nested(3), "delegation_depth": 0}, 4, id="a-count-of-0"),
        pytest.param({"act": nested(3), "delegation_depth": 1}, 4, id="less-than-the-chain"),
        pytest.param({"act": nested(3), "delegation_depth": 5}, 6, id="more-than-the-chain"),
        pytest.param({"delegation_depth": 7}, 8, id="impersonated-before"),
        pytest.param({"act": nested(8)}, None, id="a-chain-that-is-full"),
        pytest.param({"delegation_depth": 8}, None, id="a-count-that-is-full"),
        pytest.param({"delegation_depth": 2**62}, None, id="a-huge-count"),
        pytest.param({"max_delegation_depth": 0}, None, id="a-limit-of-0"),
        pytest.param({"max_delegation_depth": 1}, 1, id="a-limit-of-1"),
        pytest.param({"max_delegation_depth": 2**62}, 1, id="a-huge-limit"),
        pytest.param({"act": nested(2), "max_delegation_depth": 2}, None, id="the-limit-reached"),
    ],
)
async def test_the_depth_is_never_less_than_the_chain_and_never_past_a_limit(claims, depth):
    """Invariant 4: whatever the token says of itself; the ceiling is 8."""
    verified = await subject(subject_jwt(iss=ACTS, **claims))

    if depth is None:
        with pytest.raises(DelegationRejected, match=r"^delegation\.depth_exceeded$"):
            delegate(verified, None, client(), ceiling=8)
    else:
        delegation = delegate(verified, None, client(), ceiling=8)
        assert (depth, True) == (delegation.depth, delegation.max_depth <= 8)


@pytest.mark.row("ATK-ACT-01")
@pytest.mark.parametrize("name", ["delegation_depth", "max_delegation_depth"])
@pytest.mark.parametrize("value", [-1, -(2**62), 1.5, 1.0, True, "1", None, [], {}])
async def test_a_count_is_a_count(name, value):
    """ATK-ACT-01: an integer of at least 0."""
    token = subject_jwt(iss=ACTS, **{name: value})

    assert "subject_token.claim_invalid" == await refused(subject(token))


@pytest.mark.row("TX-4.4-04", "TX-4.4-01")
@pytest.mark.parametrize(
    "may_act",
    [None, "svc-a", "", 1, True, [], [SVC_A], {}, {"iss": ACTS}, {"sub": ""}, {"sub": ["svc-a"]}],
    ids=repr,
)
async def test_a_may_act_that_cannot_be_read_is_a_refusal(may_act):
    """TX-4.4-04: not the absence of a restriction."""
    token = subject_jwt(iss=ACTS, may_act=may_act)

    assert "subject_token.claim_invalid" == await refused(subject(token))


@pytest.mark.row("TX-4.4-01", "TX-4.4-02", "TX-4.4-03", "TX-4.4-06", "ATK-ACT-01", "INV-6")
@pytest.mark.parametrize(
    ("may_act", "aud", "expected"),
    [
        pytest.param(SVC_A, "svc-x", "acts", id="names-the-client-and-stands-for-aud"),
        pytest.param(SVC_A | {"exp": 1, "aud": "z", "nbf": 9**12}, "svc-x", "acts", id="expired"),
        pytest.param(SVC_A, "svc-a", "acts", id="names-the-client-with-its-aud"),
        pytest.param({"sub": "svc-a"}, "svc-x", "audience_mismatch", id="a-name-of-its-issuer"),
        pytest.param({"sub": "svc-a"}, "svc-a", "may_act_mismatch", id="restricts-all-the-same"),
        pytest.param(
            SVC_A | {"iss": OTHER}, "svc-a", "may_act_mismatch", id="the-same-sub-elsewhere"
        ),
        pytest.param(SVC_A | {"sub": "svc-x"}, "svc-a", "may_act_mismatch", id="another-client"),
        pytest.param(SVC_A | {"sub": "SVC-A"}, "svc-a", "may_act_mismatch", id="upper-case"),
        pytest.param(SVC_A | {"sub": "*"}, "svc-a", "may_act_mismatch", id="wildcard"),
        pytest.param(
            SVC_A | {"sub": "svc-x"}, "svc-x", "audience_mismatch", id="another-client-and-aud"
        ),
    ],
)
async def test_may_act_permits_exactly_whom_it_names(may_act, aud, expected):
    """RFC 8693 §4.4: as a pair, without an actor token the client itself."""
    token = subject_jwt(iss=ACTS, may_act=may_act, aud=aud)
    try:
        verified = await subject(token)
        outcome = delegate(verified, None, client(), ceiling=8) and "acts"
    except (VerificationRejected, DelegationRejected) as rejected:
        outcome = rejected.reason.partition(".")[2]

    assert expected == outcome


@pytest.mark.row("ATK-ACT-01", "TX-4.4-06")
async def test_may_act_in_a_token_that_the_attacker_signed_permits_nothing():
    """ATK-ACT-01: an issuer without ``may_act`` in its ``asserts`` names its own friend."""
    token = subject_jwt(may_act=SVC_A, aud="svc-x")

    assert "subject_token.claim_not_believed" == await refused(subject(token))


@pytest.mark.row("TX-4.1-08", "ATK-ACT-01", "TX-2.1-10")
@pytest.mark.parametrize("act", [{"sub": "x"}, {}, None, "x"])
async def test_an_actor_token_has_no_actor_of_its_own(act):
    """TX-4.1-08: it is not the subject's history, so it is neither merged nor lost."""
    for iss in (IDP, ACTS):
        assert "actor_token.has_chain" == await refused(actor(actor_jwt(iss=iss, act=act)))


@pytest.mark.row("TX-2.1-26", "INV-3")
async def test_our_own_tokens_are_believed_in_all_that_they_say():
    """Design §4: chain, count, limit, root and lineage."""
    chain = {"iss": BROKER_ISSUER, "sub": "svc-a", "client_id": "svc-a", "act": {"sub": "svc-c"}}
    token = own_jwt(act=chain, delegation_depth=2, max_delegation_depth=5, lineage=["A" * 22] * 2)
    verified = await subject(token, client("svc-b"))

    assert (
        (Principal(BROKER_ISSUER, "svc-a"), Principal(BROKER_ISSUER, "svc-c")),
        2,
        5,
        "root",
        ("A" * 22,) * 2,
        "svc-a",
    ) == (
        verified.chain,
        verified.delegation_depth,
        verified.max_delegation_depth,
        verified.txn,
        verified.lineage,
        verified.client_id,
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda children: (
        st.lists(children, max_size=2)
        | st.dictionaries(
            st.sampled_from(["iss", "sub", "act", "may_act", "x"]), children, max_size=4
        )
    ),
    max_leaves=12,
)


@pytest.mark.row("ATK-ACT-01", "TX-4.1-07", "TX-4.4-04")
@settings(max_examples=300, deadline=None)
@given(claims=st.dictionaries(st.sampled_from(["act", "may_act"]), json_values))
def test_whatever_is_written_there_it_is_a_chain_or_a_refusal(claims):
    """ATK-ACT-01: no other exception, and no level is ever lost."""

    def levels(value) -> int:
        return 1 + levels(value["act"]) if isinstance(value, dict) and "act" in value else 1

    try:
        chain, may_act = read_chain(claims, ACTS), find_may_act(claims, ACTS)
    except TokenRefused:
        return
    assert len(chain) == (levels(claims["act"]) if "act" in claims else 0)
    assert all(actor.issuer and actor.subject for actor in chain)
    assert (may_act is not None) == ("may_act" in claims)
