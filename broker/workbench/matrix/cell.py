"""What one client may obtain at one target, on behalf of the subjects of one issuer."""

from dataclasses import dataclass
from typing import Any

from broker.errors import Reason
from broker.policy.difference import Terms


@dataclass(frozen=True, slots=True)
class Obtainable:
    """One scope, and one way to it."""

    scope: str
    holds: tuple[str, ...]  # the least that a subject has to hold; none: who it is suffices
    source: str | None  # what the policy says that it follows from; None: it is held
    terms: Terms  # of a token with this scope alone; times in seconds
    when: frozenset[int]  # numbers of the circumstances in which it is so
    purpose: str | None = None  # given when asking
    depends: tuple[str, ...] = ()  # on what of the circumstances, if it is not so in all of them

    @property
    def way(self) -> str:
        """How it is come by, in words."""
        if not self.holds:
            return "identity"
        if self.holds == (self.scope,) and self.source is None:
            return "held"
        needed = " + ".join(self.holds)
        if self.source is None or self.source in self.holds:
            return needed
        return f"{self.source} + {needed}"

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "scope": self.scope,
            "holds": list(self.holds),
            "from": self.source,
            "purpose": self.purpose,
            "when": sorted(self.when),
            "depends_on": list(self.depends),
            **render_terms(self.terms),
        }


@dataclass(frozen=True, slots=True)
class Cell:
    """One client, target and issuer."""

    client: str
    target: str
    issuer: str  # alias
    obtainable: tuple[Obtainable, ...] = ()
    reasons: tuple[Reason, ...] = ()  # of refusals, those that were met first; if there is nothing
    faults: tuple[str, ...] = ()  # what the policy does wrong here, as against saying no

    @property
    def place(self) -> tuple[str, str, str]:
        """By which it is found."""
        return self.client, self.target, self.issuer

    @property
    def scopes(self) -> tuple[str, ...]:
        """What may be obtained, by whatever way."""
        return tuple(dict.fromkeys(one.scope for one in self.obtainable))

    @property
    def purposes(self) -> tuple[str, ...]:
        """One of these has to be given; empty: none."""
        return tuple(dict.fromkeys(one.purpose for one in self.obtainable if one.purpose))

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "client": self.client,
            "target": self.target,
            "issuer": self.issuer,
            "obtainable": [one.render() for one in self.obtainable],
            "reasons": [reason.value for reason in self.reasons],
            "faults": list(self.faults),
        }


def render_terms(terms: Terms) -> dict[str, Any]:
    """Return what a token would have beside its scope."""
    return {
        "lifetime": terms.lifetime,
        "reuse": terms.reuse,
        "max_depth": terms.max_depth,
        "mode": None if terms.mode is None else terms.mode.value,
        "claims": sorted(terms.claims),
        "obligations": sorted(terms.obligations),
    }
