"""What each part of the policy says to an exchange: one concern a package, and what it was about.

The stock packages have words of their own here. Any other package below ``broker.exchange`` is told
as it stands: whether it denies, by which rules, with what they say of themselves.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from broker.workbench.explain.case import Case
from broker.workbench.explain.observation import Observation
from broker.workbench.explain.rule import Place, Rule, State
from broker.workbench.explain.written import DataPlaces, Row

ROOT: Final = "broker.exchange"
OWN: Final = "broker.rules"
GRANTS: Final = "grants"
# In the order of the decision. What derivation says is told with each scope.
STOCK: Final = (
    *(GRANTS, "issuers", "purpose", "mode", "loop", "depth", "scopes", "lifetime", "claims"),
    "reuse",
)
_TOLD_ELSEWHERE: Final = frozenset({"derivation"})
# Whose reasons these are, for a policy that cannot be looked into.
_OF_CODES: Final = {
    "policy.target_not_granted": GRANTS,
    "policy.issuer_not_allowed": "issuers",
    "policy.mode_conflict": "mode",
    "policy.impersonation_with_actor_token": "mode",
    "policy.purpose_missing": "purpose",
    "policy.purpose_not_allowed": "purpose",
    "delegation.depth_exceeded": "depth",
    "delegation.loop": "loop",
    "scope.missing": "scopes",
    "policy.scope_unknown": "scopes",
    "policy.scope_not_granted": "scopes",
    "policy.scope_not_held": "scopes",
    "policy.scope_nothing_left": "scopes",
}
_FEW: Final = 4  # rules that are named for what passes


class Standing(StrEnum):
    """What a concern says."""

    PASSES = "passes"
    REFUSES = "refuses"
    UNDEFINED = "undefined"  # it has no answer, and ``allow`` needs one
    NOT_JUDGED = "not_judged"  # there is no grant to judge by
    UNKNOWN = "unknown"  # nobody could look


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of what it was about."""

    text: str
    place: Place | None = None

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"text": self.text, "place": None if self.place is None else str(self.place)}


@dataclass(frozen=True, slots=True)
class Concern:
    """One package."""

    name: str
    standing: Standing
    reasons: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    rules: tuple[Rule, ...] = ()  # that refused; or that held, of what passes
    failed: tuple[Rule, ...] = ()  # of what refuses: those that did not hold, and where they ended

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "name": self.name,
            "standing": self.standing.value,
            "reasons": list(self.reasons),
            "facts": [fact.render() for fact in self.facts],
            "rules": [rule.render() for rule in self.rules],
            "failed": [rule.render() for rule in self.failed],
        }


@dataclass(frozen=True, slots=True)
class OwnRules:
    """A package of the security team's own, directly below ``broker.rules``."""

    name: str
    reasons: tuple[str, ...]  # what it denies for; none: it has no objection
    obligations: tuple[str, ...]
    rules: tuple[Rule, ...]  # those that hold
    failed: tuple[Rule, ...] = ()  # if it denies: those that did not hold, and where they ended

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "name": self.name,
            "reasons": list(self.reasons),
            "obligations": list(self.obligations),
            "rules": [rule.render() for rule in self.rules],
            "failed": [rule.render() for rule in self.failed],
        }


def find_concerns(
    case: Case,
    row: Row,
    places: DataPlaces,
    seen: Observation | None,
    *,
    allowed: bool,
    reasons: Sequence[str],
) -> tuple[Concern, ...]:
    """Return every concern of the decision; ``reasons`` are those of the decision."""
    names = dict.fromkeys((*STOCK, *(_found(seen) if seen is not None else ())))
    complete = all(target in row for target in case.targets)
    concerns = []
    for name in names:
        denied = _denied(name, seen, reasons)
        standing = _standing(name, seen, denied, allowed=allowed, complete=complete)
        rules = _rules(f"{ROOT}.{name}", seen, denied, standing)
        facts = tuple(_FACTS[name](case, row, places)) if name in _FACTS else ()
        failed: tuple[Rule, ...] = ()
        if standing in {Standing.REFUSES, Standing.UNDEFINED}:
            failed = _failed({f"{ROOT}.{name}"}, seen)
        if name in STOCK or denied or rules:
            concerns.append(Concern(name, standing, denied, facts, rules, failed))
    return tuple(concerns)


def find_own(seen: Observation | None) -> tuple[OwnRules, ...]:
    """Return what each package of one's own says, by name."""
    if seen is None:
        return ()
    found = []
    for name, document in sorted(seen.own.items()):
        package = {f"{OWN}.{name}", f'{OWN}["{name}"]'}
        held = tuple(
            rule
            for rule in seen.rules
            if rule.package in package
            and rule.state is State.HELD
            and rule.name in {"deny", "oblige"}
        )
        codes = _codes(document.get("deny", ()))
        failed = _failed(package, seen) if codes else ()
        found.append(OwnRules(name, codes, _codes(document.get("oblige", ())), held, failed))
    return tuple(found)


def find_stop(seen: Observation | None) -> Rule | None:
    """Return the rule ``allow`` of the decision with the line where it ended; None if it held."""
    if seen is None:
        return None
    found = [rule for rule in seen.rules if rule.package == ROOT and rule.name == "allow"]
    return found[0] if len(found) == 1 and found[0].state is State.FAILED else None


def _found(seen: Observation) -> Iterator[str]:
    for rule in seen.rules:
        parent, _, name = rule.package.rpartition(".")
        if parent == ROOT and name not in _TOLD_ELSEWHERE:
            yield name
    for name, document in seen.exchange.items():
        if isinstance(document, dict) and "deny" in document:
            yield name


def _denied(name: str, seen: Observation | None, reasons: Sequence[str]) -> tuple[str, ...]:
    if seen is None or not seen.exchange:
        return tuple(code for code in reasons if _OF_CODES.get(code) == name)
    document = seen.exchange.get(name)
    return _codes(document.get("deny", ())) if isinstance(document, Mapping) else ()


def _standing(
    name: str, seen: Observation | None, denied: Sequence[str], *, allowed: bool, complete: bool
) -> Standing:
    if denied:
        return Standing.REFUSES
    if allowed:
        return Standing.PASSES
    stop = find_stop(seen)
    if stop is not None and f"{name}." in stop.stopped_text:
        # Where another one refuses, it may lack an answer only because that one does.
        return Standing.UNDEFINED if complete else Standing.NOT_JUDGED
    if not complete and name != GRANTS:
        return Standing.NOT_JUDGED
    return Standing.UNKNOWN if seen is None or not seen.exchange else Standing.PASSES


def _rules(
    package: str, seen: Observation | None, denied: Sequence[str], standing: Standing
) -> tuple[Rule, ...]:
    held = [
        rule
        for rule in (() if seen is None else seen.rules)
        if rule.package == package and rule.state is State.HELD
    ]
    if standing is Standing.REFUSES:
        return tuple(rule for rule in held if rule.name == "deny" and rule.code in {None, *denied})
    public = [rule for rule in held if not (rule.function or rule.name.startswith("_"))]
    public = [rule for rule in public if rule.name != "deny"]
    return tuple(public[:_FEW])


def _failed(packages: set[str], seen: Observation | None) -> tuple[Rule, ...]:
    """Return what a denial may rest on: rules of the package that did not hold."""
    return tuple(
        rule
        for rule in (() if seen is None else seen.rules)
        if rule.package in packages
        and rule.state is State.FAILED
        and rule.name not in {"deny", "oblige"}
    )[:_FEW]


def _codes(said: object) -> tuple[str, ...]:
    # ``deny if …`` is no set, and the stock policy takes it for a denial without a code.
    if isinstance(said, bool):
        return ("policy.denied",) if said else ()
    if isinstance(said, Iterable) and not isinstance(said, str | Mapping):
        return tuple(sorted(one for one in said if isinstance(one, str)))
    return ("policy.denied",)


def _of_grants(case: Case, row: Row, places: DataPlaces) -> Iterator[Fact]:
    for target in case.targets:
        if target in row:
            place = places.find_grant(case.client, target)
            yield Fact(f"{case.client} has a grant for {target}", place)
        else:
            yield Fact(f"{case.client} has no grant for {target}")


def _of_issuers(case: Case, row: Row, places: DataPlaces) -> Iterator[Fact]:
    yield Fact(f"the subject is of {case.exchange.subject.principal.issuer}")
    for target, grant in _granted(case, row):
        issuers = grant.get("issuers", ["*"])
        who = "any issuer" if issuers == ["*"] else _listed(issuers)
        place = places.find_grant(case.client, target, "issuers")
        yield Fact(f"the grant for {target} is for subjects of {who}", place)


def _of_purpose(case: Case, row: Row, places: DataPlaces) -> Iterator[Fact]:
    asked = case.exchange.request.purpose
    yield Fact("the request names none" if asked is None else f"the request names {asked}")
    for target, grant in _granted(case, row):
        purposes = grant.get("purposes", [])
        said = "asks for none" if purposes == [] else f"asks for one of {_listed(purposes)}"
        place = places.find_grant(case.client, target, "purposes")
        yield Fact(f"the grant for {target} {said}", place)


def _of_mode(case: Case, row: Row, places: DataPlaces) -> Iterator[Fact]:
    sent = case.exchange.delegation.actor_token
    yield Fact("an actor token was sent" if sent else "no actor token was sent")
    for target, grant in _granted(case, row):
        place = places.find_grant(case.client, target, "mode")
        yield Fact(f"the grant for {target} is for {grant.get('mode', 'delegation')}", place)


def _of_loop(case: Case, row: Row, places: DataPlaces) -> Iterator[Fact]:
    delegation = case.exchange.delegation
    acting = f"{delegation.acting.subject} of {delegation.acting.issuer}"
    if not delegation.reenters:
        yield Fact(f"{acting} has not acted before")
        return
    yield Fact(f"{acting} is the subject, or has acted before")
    for target, grant in _granted(case, row):
        said = "allows" if grant.get("reentry") is True else "does not allow"
        place = places.find_grant(case.client, target, "reentry")
        yield Fact(f"the grant for {target} {said} reentry", place)


def _of_reuse(case: Case, row: Row, places: DataPlaces) -> Iterator[Fact]:
    for target, grant in _granted(case, row):
        if "reuse" in grant:
            place = places.find_grant(case.client, target, "reuse")
            yield Fact(f"the grant for {target} says {grant['reuse']}", place)


def _of_claims(case: Case, row: Row, places: DataPlaces) -> Iterator[Fact]:
    del row, places
    for target in case.exchange.targets:
        listed = ", ".join(target.claims) or "none"
        yield Fact(f"{target.name} may be given {listed}")


_FACTS: Final = {
    GRANTS: _of_grants,
    "issuers": _of_issuers,
    "purpose": _of_purpose,
    "mode": _of_mode,
    "loop": _of_loop,
    "reuse": _of_reuse,
    "claims": _of_claims,
}


def _granted(case: Case, row: Row) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for target in case.targets:
        if target in row:
            yield target, row[target]


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
