"""Invariant 10 over several exchanges: whatever is revoked, all that descends from it is refused.

What descends from what is told here by the tokens on the way, one after the other; the broker has
only the last of them to look at.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.blocklist.rule import OUTRIGHT, Rule, Scope
from broker.blocklist.snapshot import Facts, Snapshot, facts_of
from broker.domain import Permit
from broker.minting.mint import mint
from broker.policy.floor import judge
from broker.tokens.delegation import delegate
from tests.builders import (
    BROKER,
    IDP,
    NOW,
    OTHER_IDP,
    client,
    exchange,
    revocation,
    target,
    token_exchange_request,
)
from tests.decisions import allowance, evaluation
from tests.invariants.cases import chain_of
from tests.invariants.test_hops import KEYS, Hop, chain_of_root, root, route, the_verifier, travel
from tests.jwts import ACTS, subject_jwt, unverified_claims, unverified_header

LATER = NOW + timedelta(days=1)  # everything was issued before


def facts(token: str, holder: str, now: datetime) -> Facts:
    """What revocation asks of a token that is presented."""
    request = token_exchange_request(unverified_subject_token=token)
    verified = asyncio.run(the_verifier().verify_subject(request, client(holder), now=now))
    return facts_of(verified, issuer=BROKER)


def own_facts(token: str, now: datetime) -> Facts:
    """The same of a token of ours, whoever holds it."""
    return facts_of(asyncio.run(the_verifier().verify_own(token, now=now)), issuer=BROKER)


def way_of(*hops: tuple[str, str]) -> list[Hop]:
    """Where a token goes, and in which mode."""
    return [
        Hop(
            to,
            frozenset({"orders.read"}),
            0,
            {"lifetime": 120, "max_depth": 6, "mode": mode, "reentry": True, "derived": []},
        )
        for to, mode in hops
    ]


def revoke(scope: Scope, issuer: str = "", key: str = "") -> Rule:
    not_before = None if scope in OUTRIGHT else LATER
    return revocation(scope, issuer=issuer, key=key, not_before=not_before)


def parties(token: str) -> Iterator[tuple[Scope, str, str]]:
    """Yield whatever can be revoked of one token, as it stands in its claims."""
    claims = unverified_claims(token)
    ours, chain = claims["iss"] == BROKER, chain_of_root(claims)
    origin = claims["sub_id"] if ours else claims
    yield Scope.SUBJECT, origin["iss"], origin["sub"]
    yield Scope.KID, claims["iss"], unverified_header(token)["kid"]
    yield Scope.JTI, claims["iss"], claims["jti"]
    for issuer in (claims["iss"], origin["iss"], *(actor.issuer for actor in chain)):
        yield Scope.ISSUER, issuer, ""
    for actor in chain:
        yield Scope.ACTOR, actor.issuer, actor.subject
        if actor.issuer == BROKER:
            yield Scope.CLIENT, "", actor.subject
    if ours:
        yield Scope.TXN, "", claims["txn"]
        yield Scope.CLIENT, "", claims["client_id"]
        yield Scope.ACTOR, BROKER, claims["client_id"]
    yield Scope.ALL, "", ""


STRANGERS = {
    *((scope, issuer, "alice") for scope in (Scope.SUBJECT, Scope.ACTOR) for issuer in (IDP, ACTS)),
    *((Scope.ACTOR, issuer, f"svc-{name}") for issuer in (IDP, BROKER, ACTS) for name in "abcx"),
    *((Scope.CLIENT, "", f"svc-{name}") for name in "abcx"),
    *((Scope.ISSUER, issuer, "") for issuer in (IDP, ACTS, BROKER, OTHER_IDP)),
    *((Scope.JTI, BROKER, f"id-{number}") for number in range(8)),
    *((Scope.TXN, "", f"id-{number}") for number in range(8)),
}


def without_links(token: str) -> set[tuple[Scope, str, str]]:
    """The subject acts where nobody else does: its token has no chain."""
    claims = unverified_claims(token)
    origin = claims.get("sub_id", claims)
    return set() if "act" in claims else {(Scope.ACTOR, origin["iss"], origin["sub"])}


@pytest.mark.row("INV-10", "RV-2.1-07", "RV-2.1-08", "TX-2.1-19", "CVE-2026-9097", "ATK-ACT-02")
@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_whatever_is_revoked_reaches_exactly_what_descends_from_it(chance: Random):
    """Any path, any modes: each thing that any ancestor had on it, and nothing else, refuses."""
    first = root(chance)
    way = [first, *(signed.token for signed, _ in travel(first, route(chance)))]
    descends: set[tuple[Scope, str, str]] = set()
    for number, token in enumerate(way):
        descends |= set(parties(token))
        expected = descends | without_links(token)
        at = datetime.fromtimestamp(unverified_claims(token)["iat"], NOW.tzinfo)
        asked = facts(token, "svc-a", NOW) if number == 0 else own_facts(token, at)
        found = {
            one
            for one in expected | STRANGERS
            if Snapshot.build([revoke(*one)]).find(asked) is not None
        }

        assert expected == found


@dataclass(frozen=True)
class Node:
    """A token of the tree, and from which it was made."""

    token: str
    holder: str
    parent: int | None  # its place in the list of all


def child(node: Node, number: int, to: str) -> Node:
    """What a service makes of the token that it holds."""
    request = token_exchange_request(unverified_subject_token=node.token, audiences=(to,))
    using = client(node.holder)
    subject = asyncio.run(the_verifier().verify_subject(request, using, now=NOW))
    asked = exchange(
        request=request,
        client=using,
        subject=subject,
        delegation=delegate(subject, None, using, ceiling=8),
        targets=(target(to),),
    )
    permit = judge(asked, evaluation(allowance(targets=[to], max_depth=8, reentry=True)), ceiling=8)
    assert isinstance(permit, Permit)
    signed = mint(permit, KEYS, issuer=BROKER, id=f"id-{number}", now=NOW)
    return Node(signed.token, to, None)


@cache
def tree() -> tuple[Node, ...]:
    """A token, five made of it, five of each of these: four levels below the first."""
    seconds = int(NOW.timestamp())
    nodes = [
        Node(subject_jwt(aud="svc-a", iat=seconds - 5, exp=seconds + 3600, jti="s"), "svc-a", None)
    ]
    begin = 0
    for _ in range(4):
        end = len(nodes)
        for parent in range(begin, end):
            for _ in range(5):
                to = {"svc-a": "svc-b", "svc-b": "svc-c", "svc-c": "svc-a"}[nodes[parent].holder]
                made = child(nodes[parent], len(nodes), to)
                nodes.append(Node(made.token, to, parent))
        begin = end
    return tuple(nodes)


@pytest.mark.row("INV-10", "RV-2.1-07", "TX-2.1-19", "CVE-2026-9097")
def test_of_a_tree_of_tokens_exactly_the_branch_is_refused():
    """Four levels of five children: each of the 781 is revoked in turn."""
    nodes = tree()
    asked = [facts(node.token, node.holder, NOW) for node in nodes]
    descendants: list[set[int]] = [{number} for number in range(len(nodes))]
    for number in reversed(range(1, len(nodes))):
        descendants[nodes[number].parent or 0] |= descendants[number]

    assert 781 == len(nodes)
    for number, node in enumerate(nodes):
        claims = unverified_claims(node.token)
        snapshot = Snapshot.build([revoke(Scope.JTI, claims["iss"], claims["jti"])])
        refused = {other for other, about in enumerate(asked) if snapshot.find(about) is not None}

        assert descendants[number] == refused


@pytest.mark.row("INV-10", "ATK-ACT-02", "CVE-2026-1609")
def test_impersonation_hides_nobody_from_a_revocation():
    """ATK-ACT-02: a client that left no link is found, a hop and two hops later."""
    token = subject_jwt(aud="svc-a", iat=int(NOW.timestamp()) - 5, exp=int(NOW.timestamp()) + 3600)
    way = way_of(("svc-b", "impersonation"), ("svc-c", "delegation"), ("svc-a", "delegation"))
    issued = [signed.token for signed, _ in travel(token, way)]
    rule = Snapshot.build([revoke(Scope.CLIENT, key="svc-a")])
    other = Snapshot.build([revoke(Scope.CLIENT, key="svc-c")])

    assert [(), ("svc-b",), ("svc-c", "svc-b")] == [
        tuple(actor.subject for actor in chain_of(unverified_claims(token))) for token in issued
    ]
    assert [True, True, True] == [bool(rule.find(own_facts(token, NOW))) for token in issued]
    assert [False, False, True] == [bool(other.find(own_facts(token, NOW))) for token in issued]


@pytest.mark.row("INV-10")
def test_exchanging_does_not_make_a_subject_s_token_younger():
    """A replica that knew of nothing yet exchanged it: what came of it is as old as its root."""
    seconds = int(NOW.timestamp())
    token = subject_jwt(aud="svc-a", iat=seconds - 60, exp=seconds + 3600)
    revoked_at = NOW - timedelta(seconds=30)
    issued = travel(token, way_of(("svc-b", "delegation"), ("svc-c", "impersonation")))
    alice = revocation(Scope.SUBJECT, issuer=IDP, key="alice", not_before=revoked_at)

    assert 2 == len(issued)
    for signed, _ in issued:
        about = own_facts(signed.token, NOW)

        assert revoked_at < about.issued_at
        assert alice == Snapshot.build([alice]).find(about)
