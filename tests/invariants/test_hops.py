"""The invariants over several exchanges: each token is verified, exchanged, signed, and used again.

Nothing is shared between two hops but the token itself, as between two services.
"""

import asyncio
import base64
import hashlib
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain import Deny, Permit, SignedToken
from broker.errors import DelegationRejected, Reason, VerificationRejected
from broker.jose.sign import SigningKey, load_signing_key
from broker.minting.mint import mint
from broker.policy.floor import judge
from broker.tokens.delegation import delegate
from broker.tokens.verify import TokenVerifier
from tests.builders import BROKER, NOW, client, exchange, target, token_exchange_request
from tests.decisions import allowance, evaluation
from tests.invariants.cases import chain_of
from tests.jwts import ABSENT, ACTS, IDP, subject_jwt, unverified_claims
from tests.verification import OWN_KEY, verifier

SERVICES = ("svc-a", "svc-b", "svc-c")
SCOPES = ("orders.read", "orders.write", "customers.read")
CEILING = 6


class OwnKeys:
    """The key that the test's verifier knows as ours."""

    def __init__(self) -> None:
        der = OWN_KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self._key = load_signing_key(der, "ES256")

    def signing_key(self, algorithm: str) -> SigningKey:
        assert algorithm == "ES256"
        return self._key


KEYS = OwnKeys()


@cache
def the_verifier() -> TokenVerifier:
    return verifier()


@dataclass(frozen=True)
class Hop:
    """What one service does with the token that it holds."""

    to: str
    scopes: frozenset[str]
    seconds: int  # since the last hop
    decision: dict[str, Any]


def root(chance: Random) -> str:
    """A token of a user for the first service, perhaps with a history of its own."""
    issuer = chance.choice([IDP, ACTS])
    act = {"sub": "x", "act": {"iss": BROKER, "sub": "svc-c"}}
    history = issuer == ACTS
    return subject_jwt(
        iss=issuer,
        aud="svc-a",
        iat=int(NOW.timestamp()) - 5,
        exp=int(NOW.timestamp()) + chance.choice([30, 300, 3600, 3600]),
        scope=" ".join(chance.sample(SCOPES, chance.randint(1, 3))),
        act=act if history and chance.random() < 0.5 else ABSENT,
        max_delegation_depth=chance.choice([3, 5, 32]) if history else ABSENT,
        txn="theirs",
        lineage=["theirs"],
    )


def route(chance: Random) -> list[Hop]:
    """Where the token goes, and what policy says on the way; sometimes what it must not."""
    hops = []
    for _ in range(chance.randint(1, 7)):
        scopes = frozenset(chance.sample(SCOPES, chance.randint(1, 3)))
        derived = [{"scope": "customers.read", "from": "orders.write"}]
        hops.append(
            Hop(
                to=chance.choice(SERVICES),
                scopes=scopes,
                seconds=chance.choice([0, 1, 20]),
                decision={
                    "lifetime": chance.choice([60, 120, 300, 300, 300, 3600]),
                    "max_depth": chance.choice([4, 5, CEILING, CEILING, CEILING, 99]),
                    "mode": chance.choice(["delegation", "delegation", "impersonation"]),
                    "reentry": chance.choice([True, True, True, False]),
                    "derived": derived if chance.random() < 0.5 else [],
                },
            )
        )
    return hops


def travel(token: str, hops: list[Hop]) -> list[tuple[SignedToken, Permit]]:
    """Return what is issued on the way, until somebody is refused."""
    issued: list[tuple[SignedToken, Permit]] = []
    holder, now = "svc-a", NOW
    for number, hop in enumerate(hops):
        now += timedelta(seconds=hop.seconds)
        using = client(holder)
        request = token_exchange_request(unverified_subject_token=token, audiences=(hop.to,))
        try:
            subject = asyncio.run(the_verifier().verify_subject(request, using, now=now))
            delegation = delegate(subject, None, using, ceiling=CEILING)
        except (VerificationRejected, DelegationRejected):
            break
        depth = min(hop.decision["max_depth"], delegation.max_depth)
        # A careful policy narrows; 99 is left, as what a careless one would say.
        most = hop.decision["max_depth"] if hop.decision["max_depth"] == 99 else depth
        held = sorted(hop.scopes & subject.scopes) or sorted(hop.scopes)
        derived = [d for d in hop.decision["derived"] if "orders.write" in subject.scopes]
        granted = sorted({*held, *(d["scope"] for d in derived)})
        said = allowance(
            **hop.decision
            | {"targets": [hop.to], "scopes": granted, "derived": derived, "max_depth": most}
        )
        asked = exchange(
            at=now,
            request=request,
            client=using,
            subject=subject,
            delegation=delegation,
            targets=(target(hop.to, scopes=frozenset(SCOPES)),),
            scopes=(),
        )
        permit = judge(asked, evaluation(said), ceiling=CEILING)
        if isinstance(permit, Deny):
            break
        signed = mint(permit, KEYS, issuer=BROKER, id=f"id-{number}", now=now)
        issued.append((signed, permit))
        token, holder = signed.token, hop.to
    return issued


def entry(claims: dict[str, Any]) -> str:
    """A token's entry in a lineage, as design §4 says it."""
    digest = hashlib.sha256(claims["iss"].encode() + b"\0" + claims["jti"].encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


def scopes_of(claims: dict[str, Any]) -> set[str]:
    return set(claims["scope"].split(" "))


chances = st.randoms(use_true_random=False)
PATHS = settings(max_examples=60, deadline=None)


@pytest.mark.row(*(f"INV-{number}" for number in (1, 2, 3, 4, 5, 7, 9, 10)))
@pytest.mark.row("TX-4.1-14", "TX-4.1-15", "TX-6-03", "TX-6-04", "RV-2.1-08")
@PATHS
@given(chances)
def test_no_way_through_the_services_widens_a_token(chance: Random):
    """Whatever the path and the policy: each token is within the one that it was made from."""
    first = root(chance)
    before, foreign = unverified_claims(first), unverified_claims(first)
    ancestors, clients = [entry(before)], []
    chain, depth = chain_of_root(before), 0
    limit = min(CEILING, before.get("max_delegation_depth", CEILING))
    issued = travel(first, route(chance))
    root_id = issued[0][0].id if issued else None

    for signed, permit in issued:
        claims = unverified_claims(signed.token)
        sources = {derived.scope: derived.source for derived in permit.derived}

        # 1: held before, or derived from what was held before.
        for scope in scopes_of(claims) - scopes_of(before):
            assert sources[scope] in scopes_of(before)
        # 2: dies with or before its parent.
        assert claims["iat"] < claims["exp"] <= before["exp"]
        # 3 and 5: grows by the one who presented it, or not at all.
        grown = chain_of(claims)
        added = len(grown) - len(chain)
        assert grown[added:] == chain
        assert [principal.subject for principal in grown[:added]] in ([], [claims["client_id"]])
        if added and not permit.evaluation.output["reentry"]:
            assert grown[0] not in chain
        # 4: counted, and bounded by whoever is strictest so far.
        assert claims["delegation_depth"] == max(depth, len(chain)) + 1
        assert len(grown) <= claims["delegation_depth"] <= claims["max_delegation_depth"] <= limit
        # 7: for exactly the one that was asked for.
        assert claims["aud"] == permit.exchange.request.audiences[0]
        # 9: still the same person, of the same issuer.
        assert claims["sub_id"] == {"format": "iss_sub", "iss": foreign["iss"], "sub": "alice"}
        assert claims["sub"] == f"{'idp' if foreign['iss'] == IDP else 'acts'}:alice"
        # 10: every ancestor, oldest first, and one transaction that is ours.
        assert claims["lineage"] == ancestors
        assert claims["root_iat"] == foreign["iat"]
        clients = list(dict.fromkeys([*clients, claims["client_id"]]))
        assert claims["lineage_clients"] == clients
        assert len(claims["lineage_keys"]) == min(len(ancestors), 2)  # theirs, then ours
        assert claims["txn"] == root_id

        before, chain = claims, grown
        depth, limit = claims["delegation_depth"], claims["max_delegation_depth"]
        ancestors = [*ancestors, entry(claims)]


def chain_of_root(claims: dict[str, Any]):
    """The chain of a foreign token: a member without ``iss`` is of its issuer."""
    named = dict(claims)
    level = named
    while "act" in level:
        level["act"] = {"iss": claims["iss"]} | level["act"]
        level = level["act"]
    return chain_of(named)


@pytest.mark.row("INV-3", "INV-4", "TX-4.1-06")
def test_a_token_travels_to_the_ceiling_and_no_further():
    """Three hops and more: one actor for each, until there are as many as are allowed."""
    token = subject_jwt(aud="svc-a", iat=int(NOW.timestamp()) - 5, exp=int(NOW.timestamp()) + 3600)
    way = [
        Hop(to, frozenset({"orders.read"}), 0, {"max_depth": CEILING, "reentry": True})
        for to in SERVICES[1:] + SERVICES * 3
    ]

    for hop in way:
        hop.decision.update({"lifetime": 120, "mode": "delegation", "derived": []})
    issued = travel(token, way)

    assert [*range(1, CEILING + 1)] == [len(permit.chain) for _, permit in issued]
    assert [*range(1, CEILING + 1)] == [signed.claims["delegation_depth"] for signed, _ in issued]
    assert [*range(1, CEILING + 1)] == [len(signed.claims["lineage"]) for signed, _ in issued]
    assert 1 == len({signed.txn for signed, _ in issued})


@pytest.mark.row("INV-4", "TX-4.1-13", "ATK-ACT-02")
def test_impersonation_is_not_free():
    """Invariant 4: a hop that leaves no link is still an exchange."""
    token = subject_jwt(aud="svc-a", iat=int(NOW.timestamp()) - 5, exp=int(NOW.timestamp()) + 3600)
    decision = {"lifetime": 120, "max_depth": 3, "mode": "impersonation", "derived": []}
    way = [Hop("svc-a", frozenset({"orders.read"}), 0, decision) for _ in range(5)]

    issued = travel(token, way)

    assert [(1, ()), (2, ()), (3, ())] == [
        (signed.claims["delegation_depth"], permit.chain) for signed, permit in issued
    ]


@pytest.mark.row("INV-3", "ATK-ACT-02")
def test_no_mode_washes_a_chain():
    """Invariant 3: delegated, then impersonated, then delegated: both actors are there."""
    token = subject_jwt(aud="svc-a", iat=int(NOW.timestamp()) - 5, exp=int(NOW.timestamp()) + 3600)
    way = [
        Hop(
            to,
            frozenset({"orders.read"}),
            0,
            {"lifetime": 120, "max_depth": CEILING, "mode": mode, "derived": []},
        )
        for to, mode in (
            ("svc-b", "delegation"),
            ("svc-c", "impersonation"),
            ("svc-a", "delegation"),
        )
    ]

    issued = travel(token, way)

    assert [["svc-a"], ["svc-a"], ["svc-c", "svc-a"]] == [
        [principal.subject for principal in permit.chain] for _, permit in issued
    ]


@pytest.mark.row("INV-2")
@PATHS
@given(st.integers(1, 60), st.integers(0, 70), st.integers(0, 999_999))
def test_a_token_dies_with_its_subject_whatever_the_leeway(life: int, later: int, micros: int):
    """Invariant 2: past ``exp`` is refused even within the leeway of thirty seconds."""
    exp = int(NOW.timestamp()) + life
    token = subject_jwt(aud="svc-a", iat=int(NOW.timestamp()) - 5, exp=exp)
    now = NOW + timedelta(seconds=later, microseconds=micros)
    request = token_exchange_request(unverified_subject_token=token)
    try:
        subject = asyncio.run(the_verifier().verify_subject(request, client(), now=now))
    except VerificationRejected as rejected:
        assert Reason.SUBJECT_TOKEN_EXPIRED is rejected.reason
        assert now.timestamp() >= exp
        return
    permit = judge(exchange(at=now, subject=subject), evaluation(allowance()), ceiling=8)

    assert isinstance(permit, Permit)
    signed = mint(permit, KEYS, issuer=BROKER, id="id", now=now)
    assert now < signed.expires_at
    assert signed.claims["exp"] <= exp


def test_the_ways_are_long_enough():
    """Otherwise the property above might hold of nothing."""
    lengths = []
    for seed in range(60):
        chance = Random(seed)
        lengths.append(len(travel(root(chance), route(chance))))

    assert {0, 1, 2, 3, 4} <= set(lengths)
