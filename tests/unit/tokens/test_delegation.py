"""Step 3, delegate: the chain only grows, exchanges are counted, and nobody slips back in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain import Principal
from broker.errors import DelegationRejected, Reason
from broker.tokens.delegation import delegate
from tests.builders import ALICE, BROKER, IDP, OTHER_IDP, client, verified_token

A, B, C = (Principal(BROKER, name) for name in ("svc-a", "svc-b", "svc-c"))

principals = st.builds(
    Principal, st.sampled_from([BROKER, IDP, OTHER_IDP]), st.sampled_from(["svc-a", "x", "y", "z"])
)
chains = st.lists(principals, max_size=10).map(tuple)
limits = st.none() | st.integers(0, 12)
actors = st.none() | st.builds(lambda p: verified_token(principal=p), principals)
known_names = st.frozensets(principals, max_size=2)


@pytest.mark.row("TX-4.1-10")
def test_without_an_actor_token_the_client_is_the_actor():
    """RFC 8693 §1.1: leaving the actor token out does not hide who acts."""
    delegation = delegate(verified_token(), None, client("svc-a"), ceiling=8)

    assert (A, (A,), 1) == (delegation.acting, delegation.chain, delegation.depth)


def test_an_actor_token_names_the_actor():
    """RFC 8693 §4.1: the actor token's subject is the current actor."""
    actor = verified_token(principal=Principal(IDP, "batch"))

    delegation = delegate(verified_token(), actor, client("svc-a"), ceiling=8)

    assert (Principal(IDP, "batch"),) == delegation.chain
    assert delegation.actor_token


@pytest.mark.row("TX-4.1-03")
def test_the_outermost_actor_is_the_current_one():
    """RFC 8693 §4.1: prior actors are nested, the oldest deepest."""
    subject = verified_token(chain=(B, A), delegation_depth=2)

    assert (C, B, A) == delegate(subject, None, client("svc-c"), ceiling=8).chain


@pytest.mark.row("TX-4.1-11")
def test_acting_for_oneself_appends_nothing():
    """Invariant 3: one's own token, narrowed by oneself, names no actor."""
    subject = verified_token(principal=A)

    delegation = delegate(subject, None, client("svc-a"), ceiling=8)

    assert ((), 1, False) == (delegation.chain, delegation.depth, delegation.reenters)


def test_acting_for_oneself_under_another_name_appends_nothing():
    """A workload's token from the issuer that knows the client is the client's own."""
    name = Principal(IDP, "checkout-app")
    subject = verified_token(principal=name)

    assert () == delegate(subject, None, client(known_as=frozenset({name})), ceiling=8).chain


@pytest.mark.row("TX-4.1-11")
def test_the_same_sub_at_another_issuer_is_somebody_else():
    """Invariant 9: a bare sub is no identity."""
    subject = verified_token(principal=Principal(OTHER_IDP, "svc-a"))

    delegation = delegate(subject, None, client("svc-a"), ceiling=8)

    assert ((A,), False) == (delegation.chain, delegation.reenters)


def test_the_current_actor_presenting_its_own_token_appends_nothing():
    """Invariant 5: that is no loop."""
    subject = verified_token(chain=(A,), delegation_depth=1)

    delegation = delegate(subject, None, client("svc-a"), ceiling=8)

    assert ((A,), 2, False) == (delegation.chain, delegation.depth, delegation.reenters)


@pytest.mark.row("TX-4.1-12")
@pytest.mark.parametrize(
    "acting",
    [
        pytest.param(verified_token(principal=A), id="a-prior-actor"),
        pytest.param(verified_token(principal=ALICE), id="the-subject"),
    ],
)
def test_whoever_comes_back_is_marked(acting):
    """Invariant 5: a principal that is the subject or in the chain re-enters."""
    subject = verified_token(chain=(B, A), delegation_depth=2)

    assert delegate(subject, acting, client("svc-c"), ceiling=8).reenters


def test_a_client_does_not_come_back_under_another_name():
    """Invariant 5: what another issuer calls a client is still that client."""
    name = Principal(IDP, "checkout-app")
    subject = verified_token(chain=(B, A), delegation_depth=2)
    actor = verified_token(principal=name)

    assert delegate(subject, actor, client("svc-a", known_as=frozenset({name})), ceiling=8).reenters


@pytest.mark.row("TX-4.4-01", "TX-4.4-02")
@pytest.mark.parametrize(
    "may_act",
    [
        pytest.param(Principal(IDP, "svc-a"), id="same-sub-at-another-issuer"),
        pytest.param(Principal(BROKER, "svc-x"), id="another-client"),
    ],
)
def test_may_act_restricts_whenever_it_is_there(may_act):
    """RFC 8693 §4.4, invariant 6: even where the audience would have allowed the client."""
    with pytest.raises(DelegationRejected) as rejected:
        delegate(verified_token(may_act=may_act), None, client("svc-a"), ceiling=8)

    assert Reason.DELEGATION_MAY_ACT_MISMATCH is rejected.value.reason


def test_may_act_fits_a_name_that_the_client_is_known_by():
    """RFC 8693 §4.4: a name without an issuer is one that the token's own issuer gives."""
    name = Principal(IDP, "checkout-app")
    subject = verified_token(may_act=name)

    assert (A,) == delegate(subject, None, client(known_as=frozenset({name})), ceiling=8).chain


@pytest.mark.row("TX-4.1-06")
@pytest.mark.parametrize(
    ("subject", "ceiling"),
    [
        pytest.param(verified_token(chain=(B,) * 8), 8, id="ceiling"),
        pytest.param(verified_token(delegation_depth=8), 8, id="ceiling-by-count"),
        pytest.param(verified_token(max_delegation_depth=0), 8, id="subject-allows-none"),
        pytest.param(
            verified_token(chain=(B,), delegation_depth=1, max_delegation_depth=1),
            8,
            id="subject's-own-limit",
        ),
        pytest.param(verified_token(chain=(B, C), delegation_depth=0), 2, id="understated-depth"),
    ],
)
def test_one_exchange_more_than_a_bound_is_refused(subject, ceiling):
    """Invariant 4: the ceiling and the subject's limit hold, whatever the depth claim says."""
    with pytest.raises(DelegationRejected) as rejected:
        delegate(subject, None, client("svc-a"), ceiling=ceiling)

    assert Reason.DELEGATION_DEPTH_EXCEEDED is rejected.value.reason


@pytest.mark.row("RV-2.1-08")
@pytest.mark.parametrize("claim", ["lineage", "lineage_keys", "lineage_clients"])
def test_a_lineage_longer_than_the_ceiling_is_refused(claim):
    """Design §4: at most ceiling + 1 entries, the new one included."""
    assert delegate(verified_token(**{claim: ("x",) * 8}), None, client(), ceiling=8)
    with pytest.raises(DelegationRejected) as rejected:
        delegate(verified_token(**{claim: ("x",) * 9}), None, client(), ceiling=8)

    assert Reason.DELEGATION_LINEAGE_EXCEEDED is rejected.value.reason


@given(chains, st.integers(0, 12), limits, actors, known_names, st.integers(1, 8))
def test_the_chain_never_shrinks_and_depth_is_bounded(chain, depth, limit, actor, names, ceiling):
    """Invariants 3, 4 and 5, for any chain, limit, actor and names."""
    subject = verified_token(chain=chain, delegation_depth=depth, max_delegation_depth=limit)
    try:
        delegation = delegate(subject, actor, client(known_as=names), ceiling=ceiling)
    except DelegationRejected as rejected:
        bound = ceiling if limit is None else min(ceiling, limit)
        assert Reason.DELEGATION_DEPTH_EXCEEDED is rejected.reason
        assert max(depth, len(chain)) + 1 > bound
        return

    assert delegation.chain in (chain, (delegation.acting, *chain))
    assert len(delegation.chain) <= delegation.depth <= delegation.max_depth <= ceiling
    assert delegation.depth > depth
    if delegation.chain != chain and delegation.acting in (subject.principal, *chain):
        assert delegation.reenters
