"""Which tokens are reached from a client, hop by hop, by asking the policy at each.

(1) Every hop is a permitted exchange: what the client asked for, with the token of the hop before
    in hand, passed the checks of steps 2 and 3, the policy and the floor.
(2) A token is presented by whoever may: those whose target it is for, as step 2 judges.
(3) Its scopes, chain, depth, limits and what is left of its life are those that it would have.
(4) Of each target every scope is asked for alone; those that are granted are asked for together,
    as more scopes reach further, and followed alone only where the policy does not grant them all.
(5) It goes on at once, so nothing is lost to time; breadth first, up to a bound, and says if it
    was cut.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final

from broker.domain import Permit, Target
from broker.errors import Reason
from broker.policy.difference import Terms, terms_of
from broker.settings import Settings
from broker.workbench.candidate import Candidate
from broker.workbench.matrix.circumstances import Circumstance
from broker.workbench.matrix.probe import Budget, Prober, Spent, open_prober
from broker.workbench.matrix.purposes import find_purposes
from broker.workbench.matrix.vocabulary import Vocabulary
from broker.workbench.onward import token_of
from broker.workbench.question import SupposedToken

HOPS: Final = 3
MOST: Final = 2000  # hops in all
FORMAT: Final = "broker-policy-reach"
VERSION: Final = 1


@dataclass(slots=True)
class Hop:
    """One permitted exchange, and what can follow it."""

    client: str
    target: str
    terms: Terms  # of the token; times in seconds
    depth: int  # exchanges so far, this one included
    chain: tuple[str, ...]  # who acts, the current actor first
    purposes: tuple[str, ...]  # one of which was given; none: none was needed
    token: SupposedToken
    hops: list["Hop"] = field(default_factory=list)

    @property
    def scopes(self) -> tuple[str, ...]:
        """What the token has."""
        return tuple(sorted(self.terms.scopes))

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it, with all that follows."""
        return {
            "client": self.client,
            "target": self.target,
            "scopes": list(self.scopes),
            "derived": [
                {"scope": scope, "from": source} for scope, source in sorted(self.terms.derived)
            ],
            "lifetime": self.terms.lifetime,
            "mode": None if self.terms.mode is None else self.terms.mode.value,
            "max_depth": self.terms.max_depth,
            "depth": self.depth,
            "chain": list(self.chain),
            "purposes": list(self.purposes),
            "hops": [hop.render() for hop in self.hops],
        }


@dataclass(frozen=True, slots=True)
class Reach:
    """All that is reached with one token in one client's hands."""

    revision: str
    client: str
    issuer: str  # alias
    subject: str
    holds: tuple[str, ...]
    most: int  # exchanges
    hops: tuple[Hop, ...]
    refused: Reason | None  # why this client can do nothing with such a token
    cut: str = ""  # why there may be more than is here; empty: there is not

    @property
    def paths(self) -> Iterator[tuple[Hop, ...]]:
        """Every path, the shorter ones before the longer ones."""
        waiting: deque[tuple[Hop, ...]] = deque((hop,) for hop in self.hops)
        while waiting:
            path = waiting.popleft()
            yield path
            waiting.extend((*path, hop) for hop in path[-1].hops)

    @property
    def found(self) -> dict[tuple[str, str], tuple[Hop, ...]]:
        """By target and scope the shortest path that ends with it."""
        found: dict[tuple[str, str], tuple[Hop, ...]] = {}
        for path in self.paths:
            for scope in path[-1].scopes:
                found.setdefault((path[-1].target, scope), path)
        return dict(sorted(found.items()))

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "revision": self.revision,
            "client": self.client,
            "issuer": self.issuer,
            "subject": self.subject,
            "holds": list(self.holds),
            "most": self.most,
            "whole": not self.cut,
            "refused": self.refused and self.refused.value,
            "obtainable": [
                {"target": target, "scope": scope, "path": [[h.client, h.target] for h in path]}
                for (target, scope), path in self.found.items()
            ],
            "hops": [hop.render() for hop in self.hops],
        }


class Walker:
    """Walks for one policy, configuration and circumstance."""

    def __init__(
        self,
        candidate: Candidate,
        settings: Settings,
        circumstance: Circumstance,
        vocabulary: Vocabulary,
        budget: Budget,
        *,
        most: int = MOST,
    ) -> None:
        """``most`` hops are made in all, beyond which it is cut."""
        self._candidate = candidate
        self._settings = settings
        self._circumstance = circumstance
        self._vocabulary = vocabulary
        self._budget = budget
        self._most = most
        # Whether a token for these audiences can be presented is the same for each of them.
        self._shut: set[tuple[str, tuple[str, ...]]] = set()

    def walk(self, client: str, token: SupposedToken, hops: int = HOPS) -> Reach:
        """Return what is reached in so many exchanges. Raises ``ConfigurationError``."""
        first = self._open(client, token)
        roots: list[Hop] = []
        cut, made = "", 0
        waiting: deque[tuple[Prober, list[Hop], SupposedToken, int]] = deque()
        if isinstance(first, Prober):
            waiting.append((first, roots, token, 1))
        try:
            while waiting:
                prober, found, held, number = waiting.popleft()
                for hop in self._exchange(prober, held):
                    if made >= self._most:
                        raise Spent(f"after {self._most:,} exchanges")
                    made += 1
                    found.append(hop)
                    if number < hops:
                        waiting.extend(
                            (further, hop.hops, hop.token, number + 1)
                            for further in self._presenters(hop.token)
                        )
        except Spent as spent:
            cut = str(spent)
        return Reach(
            revision=self._candidate.revision,
            client=client,
            issuer=token.issuer,
            subject=token.subject,
            holds=tuple(sorted(token.scopes)),
            most=hops,
            hops=tuple(roots),
            refused=first if isinstance(first, Reason) else None,
            cut=cut,
        )

    def _presenters(self, token: SupposedToken) -> Iterator[Prober]:
        for client in self._settings.clients:
            place = (client.id, token.audiences)
            if place in self._shut:
                continue
            prober = self._open(client.id, token)
            if isinstance(prober, Prober):
                yield prober
            elif prober is Reason.SUBJECT_TOKEN_AUDIENCE_MISMATCH:
                self._shut.add(place)

    def _open(self, client: str, token: SupposedToken) -> Prober | Reason:
        return open_prober(
            self._candidate,
            self._settings,
            self._budget,
            client=client,
            token=token,
            circumstance=self._circumstance,
            targets=self._settings.targets,
        )

    def _exchange(self, prober: Prober, token: SupposedToken) -> Iterator[Hop]:
        for target in self._settings.targets:
            hops: dict[tuple[frozenset[str], Terms], Hop] = {}
            for purpose, permit in self._permits(prober, target, token.scopes):
                terms = terms_of(permit)
                key = (terms.scopes, terms)
                if key not in hops:
                    hops[key] = _hop(permit, terms)
                if purpose is not None:
                    hops[key].purposes += (purpose,)
            yield from hops.values()

    def _permits(
        self, prober: Prober, target: Target, holds: frozenset[str]
    ) -> Iterator[tuple[str | None, Permit]]:
        alone: dict[str | None, dict[str, Permit]] = {}
        for scope in sorted(target.scopes):
            ask = partial(prober.ask, target.name, (scope,), holds)
            for purpose in find_purposes(ask, self._vocabulary.purposes, self._vocabulary.declared):
                decision = ask(purpose)
                if isinstance(decision, Permit):
                    alone.setdefault(purpose, {})[scope] = decision
        for purpose, found in alone.items():
            together = prober.ask(target.name, tuple(found), holds, purpose)
            if isinstance(together, Permit) and set(together.scopes) == found.keys():
                yield purpose, together
            else:
                yield from ((purpose, permit) for permit in found.values())


def prune(hops: Sequence[Hop], target: str) -> list[Hop]:
    """Return only the paths that lead to this target, as far as it."""
    kept = []
    for hop in hops:
        below = prune(hop.hops, target)
        if below or hop.target == target:
            hop.hops = below
            kept.append(hop)
    return kept


def _hop(permit: Permit, terms: Terms) -> Hop:
    return Hop(
        client=permit.exchange.client.id,
        target=permit.targets[0].name,
        terms=terms,
        depth=permit.exchange.delegation.depth,
        chain=tuple(actor.subject for actor in permit.chain),
        purposes=(),
        token=token_of(permit, timedelta()),
    )
