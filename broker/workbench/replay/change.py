"""How a decision changes, in kinds that can be counted, and what exactly, in words."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from broker.domain import Deny, Permit
from broker.errors import Reason
from broker.policy.difference import Kind, Terms, find_differences, terms_of


@dataclass(frozen=True, slots=True)
class Change:
    """One way in which a decision changes."""

    kind: Kind
    what: str  # which scopes, from how much to how much, for which reason


@dataclass(frozen=True, slots=True)
class Said:
    """What a policy gave to an exchange, or why nothing."""

    terms: Terms
    why: str = ""  # of nothing: the reason, and what a policy that is at fault has broken
    lifetime: int = 0  # seconds, as the policy said, before the tokens' own ends cut it


def say_decision(decision: Permit | Deny, lifetime: int) -> Said:
    """Return it of a decision that the floor has judged."""
    terms = terms_of(decision)
    if isinstance(decision, Permit):
        return Said(terms, lifetime=lifetime)
    why = decision.reasons[0].value
    return Said(terms, f"{why}: {', '.join(decision.violations)}" if decision.violations else why)


def say_failure(how: str) -> Said:
    """Return it of a policy that has not answered: it trapped, was late, or took too much."""
    return Said(Terms(reason=Reason.POLICY_UNAVAILABLE), how)


def find_changes(before: Said, after: Said) -> tuple[Change, ...]:
    """Return how a decision changes, in the order of ``Kind``; nothing if it does not."""
    kinds = find_differences(before.terms, after.terms)
    if not kinds:
        return ()
    failed = after.terms.reason is Reason.POLICY_UNAVAILABLE
    return tuple(
        Change(Kind.FAILED if failed and kind is Kind.REFUSED else kind, _WHAT[kind](before, after))
        for kind in _IN_ORDER
        if kind in kinds
    )


def _gained(of: Callable[[Terms], Collection[str]]) -> Callable[[Said, Said], str]:
    return lambda before, after: _names(set(of(after.terms)) - set(of(before.terms)))


def _lost(of: Callable[[Terms], Collection[str]]) -> Callable[[Said, Said], str]:
    return lambda before, after: _names(set(of(before.terms)) - set(of(after.terms)))


def _measured(of: Callable[[Said], object], unit: str = "") -> Callable[[Said, Said], str]:
    return lambda before, after: f"{of(before)}{unit} → {of(after)}{unit}"


def _names(names: Collection[str]) -> str:
    return " ".join(sorted(names))


def _no_more(before: Said, after: Said) -> str:
    return f"{after.why}; had {_names(before.terms.scopes)}"


def _derived(before: Said, after: Said) -> str:
    old, new = before.terms.derived, after.terms.derived
    kept = before.terms.scopes & after.terms.scopes
    pairs = [(scope, source) for scope, source in (new - old or old - new) if scope in kept]
    return ", ".join(f"{scope} from {source}" for scope, source in sorted(pairs))


def _nothing(_before: Said, _after: Said) -> str:
    return ""


# Lives are named by what the policies say: what is left of the tokens is another each time.
_life = _measured(lambda said: said.lifetime, " s")
_reuse = _measured(lambda said: said.terms.reuse, " s")
_depth = _measured(lambda said: said.terms.max_depth)
_IN_ORDER: Final = tuple(Kind)
_WHAT: Final[Mapping[Kind, Callable[[Said, Said], str]]] = {
    Kind.PERMITTED: _gained(lambda terms: terms.scopes),
    Kind.WIDER_SCOPES: _gained(lambda terms: terms.scopes),
    Kind.MORE_TARGETS: _gained(lambda terms: terms.targets),
    Kind.LONGER_LIFE: _life,
    Kind.LONGER_REUSE: _reuse,
    Kind.DEEPER: _depth,
    Kind.REENTRY: _nothing,
    Kind.MORE_CLAIMS: _gained(lambda terms: terms.claims),
    Kind.FEWER_OBLIGATIONS: _lost(lambda terms: terms.obligations),
    Kind.IMPERSONATION: _nothing,
    Kind.FAILED: _no_more,
    Kind.REFUSED: _no_more,
    Kind.NARROWER_SCOPES: _lost(lambda terms: terms.scopes),
    Kind.FEWER_TARGETS: _lost(lambda terms: terms.targets),
    Kind.SHORTER_LIFE: _life,
    Kind.SHORTER_REUSE: _reuse,
    Kind.SHALLOWER: _depth,
    Kind.NO_REENTRY: _nothing,
    Kind.FEWER_CLAIMS: _lost(lambda terms: terms.claims),
    Kind.MORE_OBLIGATIONS: _gained(lambda terms: terms.obligations),
    Kind.DELEGATION: _nothing,
    Kind.DERIVATION: _derived,
    Kind.PURPOSE: _measured(lambda said: said.terms.purpose or "none"),
    Kind.REASON: _measured(lambda said: said.why),
}
