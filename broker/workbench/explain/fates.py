"""What becomes of each scope that was asked for, and why.

The outcome is the policy's. The cause is read off the input and the grants: a target knows a scope
or not, a grant lists or derives it or not, the subject holds it or not. Where all of that is well
and the policy leaves a scope out nevertheless, a rule of its own does, and the cause says that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from broker.policy.floor import IDENTITY
from broker.workbench.explain.case import Case
from broker.workbench.explain.rule import Place
from broker.workbench.explain.written import DataPlaces, Row
from broker.workbench.verdict import Verdict


class Outcome(StrEnum):
    """What becomes of a scope."""

    HELD = "held"  # granted, for the subject holds it
    DERIVED = "derived"  # granted, as following from something else
    CUT = "cut"  # left out of what is granted
    REFUSED = "refused"  # reason enough to refuse all of it
    POSSIBLE = "possible"  # would be granted, were it asked for alone; nothing is granted now


class Cause(StrEnum):
    """Why a scope is not granted."""

    NO_GRANT = "no_grant"
    UNKNOWN = "unknown"  # a target does not know it
    NOT_GRANTED = "not_granted"
    NOT_HELD = "not_held"
    RULE = "rule"  # none of these: another rule


@dataclass(frozen=True, slots=True)
class Fate:
    """One scope."""

    scope: str
    outcome: Outcome
    cause: Cause | None = None  # None: granted, or possible
    derived_from: str | None = None
    would_follow_from: tuple[str, ...] = ()  # what the grants derive it from
    unknown_at: tuple[str, ...] = ()  # targets
    missing_in: tuple[str, ...] = ()  # targets, the client's grants for which do not give it
    alone: tuple[str, ...] = ()  # reasons it would be refused for if nothing else was asked for
    places: tuple[Place, ...] = ()  # where the grants speak of it

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "scope": self.scope,
            "outcome": self.outcome.value,
            "cause": None if self.cause is None else self.cause.value,
            "from": self.derived_from,
            "would_follow_from": list(self.would_follow_from),
            "unknown_at": list(self.unknown_at),
            "missing_in": list(self.missing_in),
            "alone": list(self.alone),
            "places": [str(place) for place in self.places],
        }


def find_fates(
    case: Case, verdict: Verdict, row: Row, places: DataPlaces, ask: Callable[[str], Verdict]
) -> tuple[Fate, ...]:
    """Return what becomes of each scope. ``ask``: the verdict on one scope, asked for alone."""
    wanted = case.exchange.scopes or default_scopes(case, row)
    # What is granted and was not foreseen here belongs to the answer as well.
    wanted = tuple(dict.fromkeys((*wanted, *verdict.scopes)))
    return tuple(_fate(scope, case, verdict, row, places, ask) for scope in wanted)


def default_scopes(case: Case, row: Row) -> tuple[str, ...]:
    """Return what every grant would give to a request that names no scope."""
    lists = [_texts(row.get(target, {}).get("default_scopes")) for target in case.targets]
    return tuple(scope for scope in lists[0] if all(scope in each for each in lists))


def sources_of(scope: str, case: Case, row: Row) -> tuple[str, ...]:
    """Return what any of the grants derives a scope from, in their order."""
    found: list[str] = []
    for target in case.targets:
        derives = row.get(target, {}).get("derives")
        found += _texts(derives.get(scope)) if isinstance(derives, Mapping) else ()
    return tuple(dict.fromkeys(found))


def _fate(
    scope: str,
    case: Case,
    verdict: Verdict,
    row: Row,
    places: DataPlaces,
    ask: Callable[[str], Verdict],
) -> Fate:
    known = Fate(
        scope,
        Outcome.REFUSED,
        would_follow_from=sources_of(scope, case, row),
        unknown_at=tuple(
            target.name for target in case.exchange.targets if scope not in target.scopes
        ),
        missing_in=tuple(name for name in case.targets if not _gives(row.get(name), scope)),
        places=tuple(_places(scope, case, row, places)),
    )
    if scope in verdict.scopes:
        source = next((one.source for one in verdict.derived if one.scope == scope), None)
        outcome = Outcome.HELD if source is None else Outcome.DERIVED
        return replace(known, outcome=outcome, derived_from=source)
    cause = _cause(known, case, row)
    if verdict.allowed:
        return replace(known, outcome=Outcome.CUT, cause=cause)
    alone = ask(scope)
    if alone.allowed and scope in alone.scopes:
        return replace(known, outcome=Outcome.POSSIBLE)
    return replace(known, cause=cause, alone=tuple(reason.value for reason in alone.reasons))


def _cause(known: Fate, case: Case, row: Row) -> Cause:
    if any(target not in row for target in case.targets):
        return Cause.NO_GRANT
    if known.unknown_at:
        return Cause.UNKNOWN
    if known.missing_in:
        return Cause.NOT_GRANTED
    reached = (_reaches(row[target], known.scope, case) for target in case.targets)
    return Cause.RULE if all(reached) else Cause.NOT_HELD


def _gives(grant: Mapping[str, Any] | None, scope: str) -> bool:
    if grant is None:
        return False
    derives = grant.get("derives")
    return scope in _texts(grant.get("scopes")) or (
        isinstance(derives, Mapping) and scope in derives
    )


def _reaches(grant: Mapping[str, Any], scope: str, case: Case) -> bool:
    subject = case.exchange.subject
    if scope in _texts(grant.get("scopes")) and scope in subject.scopes:
        return True
    derives = grant.get("derives")
    sources = _texts(derives.get(scope)) if isinstance(derives, Mapping) else ()
    return any(
        subject.scopeless if source == IDENTITY else source in subject.scopes for source in sources
    )


def _places(scope: str, case: Case, row: Row, places: DataPlaces) -> list[Place]:
    found = []
    for target in case.targets:
        grant = row.get(target, {})
        if scope in _texts(grant.get("scopes")):
            found.append(places.find_grant(case.client, target, "scopes"))
        if isinstance(grant.get("derives"), Mapping) and scope in grant["derives"]:
            found.append(places.find_grant(case.client, target, "derives"))
    return [place for place in found if place is not None]


def _texts(value: object) -> tuple[str, ...]:
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
