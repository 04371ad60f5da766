"""Exchanges of every shape, and decisions that are right, nearly right, or hostile."""

from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Final

from hypothesis import strategies as st

from broker.domain import Deny, Exchange, Permit, Principal, VerifiedToken
from broker.errors import DelegationRejected
from broker.minting.claims import build_claims
from broker.policy.floor import judge
from broker.tokens.delegation import delegate
from tests.builders import (
    BROKER,
    IDP,
    NOW,
    OTHER_IDP,
    client,
    exchange,
    target,
    token_exchange_request,
    verified_token,
)
from tests.decisions import evaluation

ID = "019ab000-0000-7000-8000-000000000001"
SCOPES = ("orders.read", "orders.write", "billing", "identity")
CLAIMS = ("email", "acr", "groups")
HOSTILE_CLAIMS = ("aud", "act", "txn", "lineage", "sub_id")

# The client, its namesake elsewhere, and one more at either issuer.
principals = st.sampled_from(
    [
        Principal(issuer, subject)
        for issuer, subject in ((BROKER, "svc-a"), (IDP, "svc-a"), (IDP, "x"), (OTHER_IDP, "x"))
    ]
)
# Sets that overlap in part, wholly and not at all.
scopes = st.sampled_from(
    [
        frozenset(SCOPES[start:end])
        for start, end in ((0, 4), (0, 2), (0, 1), (1, 2), (2, 4), (0, 0))
    ]
)
known_scopes = scopes.filter(bool)
# Ends before, within and after a second, a target's life and each other.
seconds = st.sampled_from([timedelta(seconds=value) for value in (400, 90.5, 30, 1, 1.5, 0.5)])


@dataclass(frozen=True)
class Case:
    """An exchange that steps 0 to 3 let through, and what some policy said to it."""

    exchange: Exchange
    document: dict[str, Any]
    ceiling: int

    def decide(self) -> Permit | Deny:
        """What the floor makes of it."""
        return judge(self.exchange, evaluation(self.document), ceiling=self.ceiling)

    def claims(self) -> tuple[Permit, dict[str, Any]] | None:
        """The permit and the claims of its token, if there is one."""
        permit = self.decide()
        if isinstance(permit, Deny):
            return None
        return permit, build_claims(permit, issuer=BROKER, id=ID, now=self.exchange.at)


_chains = st.lists(principals, max_size=3).map(tuple)
_known_as = st.frozensets(principals, max_size=1)
_flags = st.booleans()
_limits = st.none() | st.integers(0, 9)
_lineages = st.sampled_from([(), ("l1",), ("l1", "l2", "l3")])
_brought = st.sampled_from([(), CLAIMS, HOSTILE_CLAIMS, CLAIMS + HOSTILE_CLAIMS])
_purposes = st.sampled_from([None, "billing"])
_targets = st.sampled_from([("svc-b",), ("svc-a",), ("svc-b", "svc-a")])
_counts = st.integers(0, 4)
_lives = st.integers(1, 300)
_ceilings = st.integers(1, 8)
_parts_of_a_second = st.sampled_from([timedelta(), timedelta(microseconds=999_999)])
_chances = st.randoms(use_true_random=False)


@st.composite
def tokens(draw: st.DrawFn, **overrides: Any) -> VerifiedToken:
    """A verified token: whatever an issuer that is trusted could say."""
    values = {
        "principal": draw(principals),
        "scopes": draw(scopes),
        "scopeless": draw(_flags),
        "chain": draw(_chains),
        "delegation_depth": draw(_counts),
        "max_delegation_depth": draw(_limits),
        "expires_at": NOW + draw(seconds),
        "lineage": draw(_lineages),
        "claims": {name: f"{name} of the subject" for name in draw(_brought)},
    }
    values["txn"] = "root" if values["lineage"] else None
    return verified_token(**values | overrides)


subjects = tokens()
short_subjects = tokens(chain=(), delegation_depth=0, max_delegation_depth=None, lineage=())
actors = st.none() | tokens(chain=(), delegation_depth=0)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Exchange, int]:
    """An exchange as ``delegate`` lets it through, and the ceiling that it was held to."""
    ceiling, subject, actor = draw(_ceilings), draw(subjects), draw(actors)
    using = client(known_as=draw(_known_as))
    try:
        delegation = delegate(subject, actor, using, ceiling=ceiling)
    except DelegationRejected:
        # Not what these tests are about: a subject whose history is short enough, then.
        subject = draw(short_subjects)
        delegation = delegate(subject, actor, using, ceiling=ceiling)
    asked = exchange(
        at=NOW + draw(_parts_of_a_second),
        client=using,
        subject=subject,
        actor=actor,
        delegation=delegation,
        request=token_exchange_request(purpose=draw(_purposes)),
        targets=tuple(
            target(
                name,
                audience=f"https://{name}.test/",
                scopes=draw(known_scopes),
                max_lifetime=timedelta(seconds=draw(_lives)),
                claims=draw(_brought),
            )
            for name in draw(_targets)
        ),
        scopes=tuple(sorted(draw(scopes))),
    )
    return asked, ceiling


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """An exchange and a decision on it, each member of which may be right or out of bounds."""
    asked, ceiling = draw(exchanges())
    chance = draw(_chances)
    document = _honest(chance, asked)
    # In one member at most, so that each bound is met alone.
    if chance.random() < 0.6:
        wrong = chance.choice(sorted(HOSTILE))
        document[wrong] = draw(HOSTILE[wrong])
    return Case(asked, {"allow": True, "reasons": []} | document, ceiling)


def _honest(chance: Random, asked: Exchange) -> dict[str, Any]:
    """What a careful policy would say; not always possible, and then the floor must say no."""
    subject, delegation, targets = asked.subject, asked.delegation, asked.targets
    known = frozenset.intersection(*(target.scopes for target in targets))
    wanted = known.intersection(asked.scopes) if asked.scopes else known
    sources = sorted(subject.scopes - {"identity"}) + ["identity"] * subject.scopeless
    reachable = sorted(wanted if sources else wanted & subject.scopes) or ["x"]
    granted = chance.sample(reachable, chance.randint(1, len(reachable)))
    listed = sorted(set.intersection(*({*target.claims} for target in targets)) & {*CLAIMS})
    modes = ["delegation"] if delegation.actor_token else ["delegation", "impersonation"]
    return {
        "targets": chance.sample([target.name for target in targets], len(targets)),
        "scopes": granted,
        "derived": [
            {"scope": scope, "from": chance.choice(sources or ["x"])}
            for scope in granted
            if scope not in subject.scopes
        ],
        "lifetime": chance.randint(
            1, min(int(target.max_lifetime.total_seconds()) for target in targets)
        ),
        "mode": chance.choice(modes),
        "max_depth": chance.randint(delegation.depth, delegation.max_depth),
        "reentry": chance.choice([True, False]),
        "purpose": chance.choice([None, asked.request.purpose]),
        "claims": chance.sample(listed, chance.randint(0, len(listed))),
        "obligations": [],
    }


_names = st.sampled_from([*SCOPES, "svc-a", "svc-b", "admin", "*", ""])
# What a policy that is wrong, or somebody else's, could say.
HOSTILE: Final[dict[str, st.SearchStrategy[Any]]] = {
    "targets": st.lists(_names, unique=True, max_size=4),
    "scopes": st.lists(st.sampled_from([*SCOPES, "admin"]), unique=True),
    "derived": st.lists(
        st.fixed_dictionaries({"scope": _names, "from": _names}), max_size=3, unique_by=str
    ),
    "lifetime": st.sampled_from([301, 10**6, 10**12]),
    "mode": st.just("impersonation"),
    "max_depth": st.integers(1, 12) | st.just(10**9),
    "reentry": st.just(False),
    "purpose": st.sampled_from(["billing", "marketing", ""]),
    "claims": st.lists(st.sampled_from(CLAIMS + HOSTILE_CLAIMS), min_size=1, unique=True),
    "obligations": st.sampled_from([["log"], ["alert"], ["alert", "log"]]),
    "reuse": st.sampled_from([1, 301, 10**6, 10**12]),
}


def chain_of(claims: dict[str, Any]) -> tuple[Principal, ...]:
    """Read ``act`` the way a resource server would. RFC 8693 §4.1."""
    chain = []
    while "act" in claims:
        claims = claims["act"]
        chain.append(Principal(claims["iss"], claims["sub"]))
    return tuple(chain)
