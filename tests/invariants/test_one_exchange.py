"""The invariants of the design over one exchange, for any policy, hostile ones included.

Each is said again here in its own words, and looked for in the claims of the token.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import Phase, given, settings

from broker.domain import Deny, Permit
from broker.errors import Reason
from broker.oauth import RESERVED_CLAIMS, Mode
from broker.policy.floor import Invariant
from tests.builders import BROKER
from tests.invariants.cases import ID, SCOPES, Case, cases, chain_of

CASES = cases()
# One case is all of an exchange, so it takes a while to make.
FEW = settings(max_examples=60, deadline=None)


@pytest.mark.row("INV-1", "TX-6-04", "TX-6-05", "CVE-2026-56668")
@settings(FEW)
@given(CASES)
def test_scope_never_grows(case: Case):
    """Invariant 1: requested, known at every target, and held or derived with a true source."""
    if (made := case.claims()) is None:
        return
    permit, claims = made
    subject, requested = case.exchange.subject, case.exchange.scopes
    granted = claims["scope"].split(" ")
    sources = {(derived.scope, derived.source) for derived in permit.derived}

    for scope in granted:
        assert scope in requested or not requested
        assert all(scope in target.scopes for target in case.exchange.targets)
        follows = any(
            subject.scopeless if source == "identity" else source in subject.scopes
            for derived, source in sources
            if derived == scope
        )
        assert scope in subject.scopes or follows
    assert {scope for scope, _ in sources} <= set(granted)
    assert granted == sorted(set(granted))


@pytest.mark.row("INV-2", "TX-6-03")
@settings(FEW)
@given(CASES)
def test_life_never_grows(case: Case):
    """Invariant 2: no longer than the decision, any target, the subject or the actor says."""
    if (made := case.claims()) is None:
        return
    _, claims = made
    asked = case.exchange
    now = asked.at.timestamp()
    life = claims["exp"] - now

    assert life <= case.document["lifetime"]
    assert all(life <= target.max_lifetime.total_seconds() for target in asked.targets)
    assert claims["exp"] <= asked.subject.expires_at.timestamp()
    assert asked.actor is None or claims["exp"] <= asked.actor.expires_at.timestamp()
    assert claims["iat"] <= now < claims["exp"]
    assert claims["exp"] - claims["iat"] >= 1


@pytest.mark.row("INV-3", "TX-4.1-05", "ATK-ACT-02")
@settings(FEW)
@given(CASES)
def test_the_chain_never_shrinks(case: Case):
    """Invariant 3: the subject's chain is the tail of the token's, and at most one is in front."""
    if (made := case.claims()) is None:
        return
    permit, claims = made
    before, after = case.exchange.subject.chain, chain_of(claims)
    added = len(after) - len(before)

    assert added in {0, 1}
    assert after[added:] == before
    if permit.mode is Mode.IMPERSONATION:
        assert not added
        assert case.exchange.actor is None
    if added:
        assert after[0] == case.exchange.delegation.acting


@pytest.mark.row("INV-4", "TX-4.1-06", "TX-4.1-14")
@settings(FEW)
@given(CASES)
def test_depth_is_counted_and_bounded(case: Case):
    """Invariant 4: by the decision, by the subject's own claim, and by the ceiling."""
    if (made := case.claims()) is None:
        return
    _, claims = made
    subject = case.exchange.subject
    depth, most = claims["delegation_depth"], claims["max_delegation_depth"]

    assert depth == max(subject.delegation_depth, len(subject.chain)) + 1
    assert len(chain_of(claims)) <= depth <= most
    assert most <= min(case.document["max_depth"], case.ceiling)
    assert subject.max_delegation_depth is None or most <= subject.max_delegation_depth


@pytest.mark.row("INV-5", "TX-4.1-12")
@settings(FEW)
@given(CASES)
def test_nobody_comes_back_unasked(case: Case):
    """Invariant 5: who is in front of a longer chain was neither in it nor the subject."""
    if (made := case.claims()) is None:
        return
    _, claims = made
    subject, chain = case.exchange.subject, chain_of(claims)
    if len(chain) == len(subject.chain) or case.document["reentry"]:
        return
    using = case.exchange.client
    names = {chain[0]}
    if chain[0] == using.principal or chain[0] in using.known_as:
        names |= {using.principal, *using.known_as}

    assert names.isdisjoint({subject.principal, *subject.chain})


@pytest.mark.row("INV-7", "AT-H-03", "RI-2-08")
@settings(FEW)
@given(CASES)
def test_the_token_names_its_targets_and_nothing_else(case: Case):
    """Invariant 7: ``aud`` is what the targets are called; claims are only of their list."""
    if (made := case.claims()) is None:
        return
    _, claims = made
    targets = case.exchange.targets
    named = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    mapped = claims.keys() - RESERVED_CLAIMS

    assert [target.audience for target in targets] == named
    assert all(mapped <= set(target.claims) for target in targets)
    assert all(case.exchange.subject.claims[name] == claims[name] for name in mapped)
    assert claims.get("purpose") in {None, case.exchange.request.purpose}


@pytest.mark.row("INV-9", "ATK-ISS-03", "AT-H-04")
@settings(FEW)
@given(CASES)
def test_issuer_and_subject_travel_together(case: Case):
    """Invariant 9: the origin is a pair, each actor is a pair, and no decision changes either."""
    if (made := case.claims()) is None:
        return
    _, claims = made
    subject = case.exchange.subject

    assert {
        "format": "iss_sub",
        "iss": subject.principal.issuer,
        "sub": subject.principal.subject,
    } == claims["sub_id"]
    assert (BROKER, subject.local_subject) == (claims["iss"], claims["sub"])
    level = claims
    while "act" in level:
        level = level["act"]
        assert {"iss", "sub"} == level.keys() - {"act"}


@pytest.mark.row("INV-10", "RV-2.1-08")
@settings(FEW)
@given(CASES)
def test_every_ancestor_is_in_the_lineage(case: Case):
    """Invariant 10: whichever is revoked is found, and no policy can leave one out."""
    if (made := case.claims()) is None:
        return
    _, claims = made
    subject = case.exchange.subject

    assert [*subject.lineage, subject.lineage_id] == claims["lineage"]
    assert len(claims["lineage"]) <= case.ceiling + 1
    assert (subject.txn or ID) == claims["txn"]


def broken_by(case: Case) -> set[str]:
    """The invariants again, as sets and sums over exchange and document."""
    asked, said = case.exchange, case.document
    subject, delegation = asked.subject, asked.delegation
    granted, derived = set(said["scopes"]), [(d["scope"], d["from"]) for d in said["derived"]]
    true = {
        scope
        for scope, source in derived
        if (source in subject.scopes and source != "identity")
        or (source == "identity" and subject.scopeless)
    }
    mapped = set(said["claims"])
    return {
        name
        for name, holds in {
            "scope": granted
            and granted <= set(asked.scopes or SCOPES)
            and all(granted <= target.scopes for target in asked.targets)
            and granted <= subject.scopes | true
            and {scope for scope, _ in derived} <= granted & true,
            "lifetime": all(
                timedelta(seconds=said["lifetime"]) <= target.max_lifetime
                for target in asked.targets
            )
            if said["lifetime"] < 10**9
            else False,
            "depth": delegation.depth <= said["max_depth"] <= delegation.max_depth,
            "loop": said["reentry"] or said["mode"] == "impersonation" or not delegation.reenters,
            "mode": said["mode"] == "delegation" or not delegation.actor_token,
            "target": sorted(said["targets"]) == sorted(target.name for target in asked.targets),
            "claims": not mapped & RESERVED_CLAIMS
            and all(mapped <= set(target.claims) for target in asked.targets),
            "purpose": said["purpose"] in {None, asked.request.purpose},
            "obligations": set(said["obligations"]) <= {"alert"},
            "reuse": said.get("reuse", 0) <= said["lifetime"]
            and not ("reuse" in said and said["obligations"]),
        }.items()
        if not holds
    }


@pytest.mark.row("INV-1", "INV-2", "INV-3", "INV-4", "INV-5", "INV-7", "ATK-POL-01")
@settings(FEW, max_examples=200)
@given(CASES)
def test_a_decision_is_carried_out_exactly_if_it_is_within_every_bound(case: Case):
    """Both ways: nothing out of bounds is permitted, and nothing within them is refused."""
    decision = case.decide()
    broken = broken_by(case)

    if isinstance(decision, Permit):
        assert not broken
    elif decision.violations:
        assert broken == set(decision.violations)
    else:
        assert not broken
        assert decision.reasons[0] in {Reason.SUBJECT_TOKEN_EXPIRED, Reason.ACTOR_TOKEN_EXPIRED}
        ends = [t.expires_at for t in (case.exchange.subject, case.exchange.actor) if t]
        assert min(ends).timestamp() - case.exchange.at.timestamp() < 1


@pytest.mark.row("TX-4.1-04", "D-13")
@settings(FEW)
@given(CASES)
def test_prior_actors_only_ever_make_it_stricter(case: Case):
    """RFC 8693 §4.1: what is permitted with them is permitted without them."""
    asked = case.exchange
    if isinstance(case.decide(), Deny) or not asked.subject.chain:
        return
    added = len(asked.delegation.chain) - len(asked.subject.chain)
    alone = replace(
        case,
        exchange=replace(
            asked,
            subject=replace(asked.subject, chain=()),
            delegation=replace(
                asked.delegation, chain=asked.delegation.chain[:added], subject_chain=()
            ),
        ),
    )

    assert isinstance(alone.decide(), Permit)


def test_the_cases_are_of_every_kind():
    """Otherwise the properties above might hold of nothing."""
    seen: set[str] = set()

    @settings(
        max_examples=1500, deadline=None, database=None, derandomize=True, phases=[Phase.generate]
    )
    @given(CASES)
    def look(case: Case) -> None:
        decision = case.decide()
        if isinstance(decision, Deny):
            seen.update(decision.violations)
            return
        seen.update({"permit", f"chain of {len(decision.chain)}"})
        seen.update({"derived"} if decision.derived else ())
        seen.update({decision.mode.value})

    look()

    # The chain is step 3's, and no decision can break it.
    assert {invariant.value for invariant in Invariant} - {"chain"} <= seen
    assert {"permit", "chain of 0", "chain of 2", "derived", "delegation", "impersonation"} <= seen


@settings(FEW)
@given(CASES)
def test_no_token_is_used_again_for_longer_than_one_lives(case: Case):
    """The floor of reuse: within the decision's own lifetime, and 0 where nothing is said."""
    permit = case.decide()
    if isinstance(permit, Deny):
        return

    assert 0 <= permit.reuse.total_seconds() <= case.document["lifetime"]
    assert "reuse" in case.document or not permit.reuse
