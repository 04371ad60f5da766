"""Whether a token is revoked: a handful of look-ups in memory, whatever it descends from.

What holds for ``find``; promises §4, invariant 10:

(1) ``kid``, ``txn`` and ``jti`` kill outright what bears them, at any level of the lineage;
(2) ``subject``, ``issuer`` and ``all`` kill what began before their ``not_before``. What counts is
    the age of the root, so a token cannot be made younger by exchanging it;
(3) ``actor`` and ``client`` kill what was issued, to them or by way of them, before their
    ``not_before``;
(4) of several rules on one thing the latest ``not_before`` counts, in whatever order they came.

A snapshot never changes. There is no walk and no window: who the ancestors are is in the token.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, Self

from broker.blocklist.lineage import key_entry, token_entry
from broker.blocklist.rule import Rule, Scope
from broker.domain import Client, Principal, SignedToken, VerifiedToken


@dataclass(frozen=True, slots=True)
class Facts:
    """What revocation asks of a token. Its own entries stand in ``lineage`` and ``keys`` too."""

    subject: Principal  # of the origin
    asserted_by: str
    actors: tuple[Principal, ...]  # everybody who acted on the way
    clients: tuple[str, ...]  # ids of ours to which it, or an ancestor, was issued
    issued_at: datetime
    root_issued_at: datetime
    txn: str | None
    lineage: tuple[str, ...]
    keys: tuple[str, ...]


def facts_of(token: VerifiedToken, *, issuer: str) -> Facts:
    """Return what revocation asks of a verified token. ``issuer`` is our own."""
    own = token.asserted_by == issuer
    # A foreign ``azp`` is no client of ours, whatever it is called (invariant 9).
    named = (*token.lineage_clients, token.client_id) if own else ()
    among = (actor.subject for actor in token.chain if actor.issuer == issuer)
    clients = tuple({client: None for client in (*named, *among) if client is not None})
    # Impersonation leaves no link, and who did it acted all the same. Without a chain nobody but
    # the subject has acted: so it is with every actor token.
    acted = token.chain or (token.principal,)
    return Facts(
        subject=token.principal,
        asserted_by=token.asserted_by,
        actors=(*acted, *(Principal(issuer, client) for client in clients)),
        clients=clients,
        issued_at=token.issued_at,
        root_issued_at=token.root_issued_at,
        txn=token.txn,
        lineage=(*token.lineage, token.lineage_id),
        keys=(*token.lineage_keys, token.key_id),
    )


def facts_of_issued(signed: SignedToken, *, issuer: str) -> Facts:
    """Return what revocation will ask of a token of ours once somebody presents it."""
    permit, claims = signed.permit, signed.claims
    subject = permit.exchange.subject.principal
    among = (actor.subject for actor in permit.chain if actor.issuer == issuer)
    clients = tuple(dict.fromkeys((*claims["lineage_clients"], claims["client_id"], *among)))
    return Facts(
        subject=subject,
        asserted_by=issuer,
        actors=(
            *(permit.chain or (subject,)),
            *(Principal(issuer, client) for client in clients),
        ),
        clients=clients,
        issued_at=signed.issued_at,
        root_issued_at=permit.exchange.subject.root_issued_at,
        txn=signed.txn,
        lineage=(*claims["lineage"], token_entry(issuer, signed.id)),
        keys=(*claims["lineage_keys"], key_entry(issuer, signed.kid)),
    )


_EVERYTHING: Final = ""
# What is looked up for each scope is what its rules are kept under.
_Keys = dict[Any, Rule]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rules as of one moment, by scope and by what is looked up. Made by ``build``."""

    _rules: Mapping[Scope, _Keys] = field(
        default_factory=lambda: {scope: {} for scope in Scope}, repr=False
    )

    @classmethod
    def build(cls, rules: Iterable[Rule]) -> Self:
        """Return the snapshot of these rules, in whatever order."""
        return cls().extend(rules)

    def extend(self, rules: Iterable[Rule]) -> Self:
        """Return a snapshot that has these rules as well."""
        merged = {scope: dict(known) for scope, known in self._rules.items()}
        for rule in rules:
            known, key = merged[rule.scope], _key(rule)
            known[key] = _later(known.get(key), rule)
        return type(self)(merged)

    def without_obsolete(self, moment: datetime) -> Self:
        """Return a snapshot without the rules that nothing presented after ``moment`` can meet."""
        return type(self).build(rule for rule in self if rule.outlives(moment))

    def __len__(self) -> int:
        return sum(len(known) for known in self._rules.values())

    def __iter__(self) -> Iterator[Rule]:
        for known in self._rules.values():
            yield from known.values()

    def find(self, facts: Facts) -> Rule | None:
        """Return a rule that kills such a token, or None."""
        rules = self._rules
        # (1) One rule is as good as another.
        for scope, borne in (
            (Scope.JTI, facts.lineage),
            (Scope.KID, facts.keys),
            (Scope.TXN, (facts.txn,)),
        ):
            if known := rules[scope]:
                for key in borne:
                    if key in known:
                        return known[key]
        # (2) and (3) Each by its own age.
        root, own = facts.root_issued_at, facts.issued_at
        for scope, keys, issued_at in (
            (Scope.ALL, (_EVERYTHING,), root),
            (Scope.SUBJECT, (facts.subject,), root),
            (Scope.CLIENT, facts.clients, own),
            (Scope.ACTOR, facts.actors, own),
        ):
            if (known := rules[scope]) and (found := _dead(known, keys, issued_at)):
                return found
        if known := rules[Scope.ISSUER]:
            issuers = {facts.subject.issuer, facts.asserted_by, *(a.issuer for a in facts.actors)}
            return _dead(known, issuers, root)
        return None

    def find_block(self, client: Client, now: datetime) -> Rule | None:
        """Return a rule that kills whatever would be issued to this client now, or None."""
        return _dead(self._rules[Scope.CLIENT], (client.id,), now) or _dead(
            self._rules[Scope.ACTOR], (client.principal, *client.known_as), now
        )


class BlocklistStale(Exception):  # noqa: N818 — a state of the process
    """Whether something is revoked cannot be said."""


class Revocations(Protocol):
    """Where the snapshot that counts comes from."""

    @property
    def current(self) -> Snapshot:
        """The snapshot to judge by. Raises ``BlocklistStale``."""


def _key(rule: Rule) -> Any:  # noqa: ANN401 — of each scope its own
    match rule.scope:
        case Scope.SUBJECT | Scope.ACTOR:
            return Principal(rule.issuer, rule.key)
        case Scope.CLIENT | Scope.TXN:
            return rule.key
        case Scope.ISSUER:
            return rule.issuer
        case Scope.KID:
            return key_entry(rule.issuer, rule.key)
        case Scope.JTI:
            return token_entry(rule.issuer, rule.key)
        case Scope.ALL:
            return _EVERYTHING


def _later(known: Rule | None, rule: Rule) -> Rule:
    """(4): return the one that kills more."""
    if known is None:
        return rule
    if known.not_before is None or rule.not_before is None:
        # They kill alike; the newer one is kept for longer.
        return max(known, rule, key=lambda one: one.at)
    return max(known, rule, key=lambda one: (one.not_before, one.at))


def _dead(known: _Keys, keys: Iterable[Any], issued_at: datetime) -> Rule | None:
    for key in keys:
        rule = known.get(key)
        # ``iat`` is in whole seconds: a token of the same second is dead rather than alive.
        if rule is not None and rule.not_before is not None and issued_at < rule.not_before:
            return rule
    return None
