"""What could be changed so that a scope is granted: each change alone, and what it would make.

Only what somebody could do: a client asks otherwise, a subject's token is another one, a grant, a
target or a rule is changed. None is a suggestion before the policy and the floor were asked.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from broker.policy.floor import IDENTITY
from broker.workbench.explain.case import Case
from broker.workbench.explain.explanation import Explanation
from broker.workbench.explain.fates import Cause, Fate, Outcome, sources_of
from broker.workbench.explain.observation import Supposition
from broker.workbench.explain.rule import Place
from broker.workbench.explain.written import DataPlaces, Row

_SOURCES: Final = 3  # held scopes that one could be derived from
_LIFE: Final = 300  # seconds of a token that has not expired


Make = Callable[[Supposition], Supposition]


class Who(StrEnum):
    """Who would have to do it, those first who can do it by themselves."""

    CLIENT = "client"
    SUBJECT = "subject"  # who issues the subject's token
    GRANT = "grant"
    TARGET = "target"
    DERIVATION = "derivation"  # a grant that makes one scope out of another
    RULE = "rule"


@dataclass(frozen=True, slots=True)
class Change:
    """One change."""

    who: Who
    text: str  # as an order
    make: Make = field(repr=False, compare=False)
    place: Place | None = None
    needed: bool = False  # without it the floor grants the scope to nobody

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "who": self.who.value,
            "text": self.text,
            "place": None if self.place is None else str(self.place),
        }


@dataclass(frozen=True, slots=True)
class _Wish:
    """A scope, for a case that does not give it."""

    scope: str
    case: Case
    explanation: Explanation
    row: Row
    places: DataPlaces

    @property
    def without_grant(self) -> list[str]:
        return [target for target in self.case.targets if target not in self.row]

    def place(self, target: str, member: str) -> Place | None:
        found = self.places.find_grant(self.case.client, target, member)
        return found or self.places.find_grant(self.case.client, target)

    def grant(self, target: str) -> str:
        return f"the grant {self.case.client} → {target}"


def find_changes(
    scope: str, explanation: Explanation, row: Row, places: DataPlaces
) -> tuple[Change, ...]:
    """Return every single change that could matter for the scope, in the order of ``Who``."""
    wish = _Wish(scope, explanation.case, explanation, row, places)
    return (
        *_of_client(wish),
        *_of_subject(wish),
        *_of_grants(wish),
        *_of_terms(wish),
        *_of_targets(wish),
        *_of_rules(wish),
    )


def _of_client(wish: _Wish) -> Iterator[Change]:
    asked = wish.case.exchange.scopes
    if wish.scope not in asked:
        text = f"ask for {wish.scope}"
        make = _edit("request", "scopes", lambda before: _with(before, wish.scope))
        yield Change(Who.CLIENT, text, make, needed=True)
    wrong = [fate.scope for fate in wish.explanation.scopes if _is_in_the_way(fate, wish)]
    if wrong:
        text = f"do not ask for {', '.join(wrong)} in the same request"
        make = _edit(
            "request", "scopes", lambda before: [one for one in before if one not in wrong]
        )
        yield Change(Who.CLIENT, text, make)
    lists = [list(map(str, grant["purposes"])) for grant in _asking(wish)]
    common = [one for one in (lists[0] if lists else ()) if all(one in each for each in lists)]
    if common and wish.case.exchange.request.purpose not in common:
        text = f"send a purpose: {' or '.join(common)}"
        yield Change(Who.CLIENT, text, _edit("request", "purpose", lambda _: common[0]))


def _is_in_the_way(fate: Fate, wish: _Wish) -> bool:
    """Whether another scope of the request refuses all of it."""
    if fate.outcome is not Outcome.REFUSED or fate.scope == wish.scope:
        return False
    # Without a grant every scope is refused; a new one would give what the subject holds.
    held = fate.scope in wish.case.exchange.subject.scopes
    return fate.scope in wish.case.exchange.scopes and not (fate.cause is Cause.NO_GRANT and held)


def _of_subject(wish: _Wish) -> Iterator[Change]:
    held = wish.case.exchange.subject.scopes
    for scope in dict.fromkeys((wish.scope, *sources_of(wish.scope, wish.case, wish.row))):
        if scope not in held and scope != IDENTITY:
            text = f"present a subject token that holds {scope}"
            yield Change(Who.SUBJECT, text, _edit("subject", "scopes", _adding(scope)))
    tokens = (("subject", wish.case.exchange.subject), ("actor", wish.case.exchange.actor))
    ends = wish.case.input["request"]["time"] + _LIFE
    for name, token in tokens:
        if token is not None and token.expires_at <= wish.case.exchange.at:
            text = f"present {name} token that has not expired"
            text = text.replace("present ", "present an " if name == "actor" else "present a ")
            yield Change(Who.SUBJECT, text, _edit(name, "expires_at", lambda _: ends))


def _of_grants(wish: _Wish) -> Iterator[Change]:
    if wish.without_grant:
        named = " and ".join(wish.without_grant)
        held = wish.case.exchange.subject.scopes
        asked = [scope for scope in wish.case.exchange.scopes if scope in held]
        scopes = _with(asked, wish.scope)
        new = {target: {"scopes": scopes} for target in wish.without_grant}
        text = f"give {wish.case.client} a grant for {named} with scopes [{', '.join(scopes)}]"
        yield Change(Who.GRANT, text, _amend(wish, new), _of_client_row(wish))
    short = [
        target
        for target in wish.case.targets
        if target in wish.row and wish.scope not in _list(wish.row[target], "scopes")
    ]
    if short:
        text = f"add {wish.scope} to scopes of {_named(wish, short)}"
        made = {
            target: {"scopes": [*_list(wish.row[target], "scopes"), wish.scope]} for target in short
        }
        yield Change(Who.GRANT, text, _amend(wish, made), wish.place(short[0], "scopes"))
    subject = wish.case.exchange.subject
    if wish.scope not in subject.scopes:
        targets = [target for target in wish.case.targets if target in wish.row]
        sources = [one for one in sorted(subject.scopes) if one != IDENTITY][:_SOURCES]
        for source in [*sources, *([IDENTITY] if subject.scopeless else [])]:
            yield from _deriving(wish, source, targets)


def _deriving(wish: _Wish, source: str, targets: Sequence[str]) -> Iterator[Change]:
    made = {}
    for target in targets:
        derives = wish.row[target].get("derives")
        known = derives if isinstance(derives, Mapping) else {}
        before = known.get(wish.scope)
        if source not in (before or ()):
            made[target] = {"derives": {**known, wish.scope: [*(before or ()), source]}}
    if made:
        who = "whoever comes from that issuer" if source == IDENTITY else f"whoever holds {source}"
        text = f"derive {wish.scope} from {source} in {_named(wish, list(made))} ({who} gets it)"
        place = wish.place(next(iter(made)), "derives")
        yield Change(Who.DERIVATION, text, _amend(wish, made), place)


def _of_terms(wish: _Wish) -> Iterator[Change]:
    """Yield what could be changed in a grant beside its scopes."""
    exchange = wish.case.exchange
    issuer, purpose = exchange.subject.principal.issuer, exchange.request.purpose
    delegation = exchange.delegation
    others = [scope for scope in exchange.scopes if scope != wish.scope]
    for target in wish.case.targets:
        if target not in wish.row:
            continue
        grant, of = wish.row[target], wish.grant(target)
        changes: list[tuple[str, str, object]] = []
        if others and grant.get("excess") != "narrow":
            changes.append((f"set excess of {of} to narrow", "excess", "narrow"))
        issuers = grant.get("issuers", ["*"])
        if isinstance(issuers, list) and not {"*", issuer} & {*map(str, issuers)}:
            changes.append((f"add {issuer} to issuers of {of}", "issuers", [*issuers, issuer]))
        purposes = grant.get("purposes", [])
        if purpose is not None and isinstance(purposes, list) and purposes:
            added = [*purposes, purpose]
            changes.append((f"add {purpose} to purposes of {of}", "purposes", added))
        most = grant.get("max_depth")
        if type(most) is int and most < delegation.depth:
            text = f"raise max_depth of {of} to {delegation.depth}"
            changes.append((text, "max_depth", delegation.depth))
        if delegation.reenters and grant.get("reentry") is not True:
            changes.append((f"set reentry of {of} to true", "reentry", True))
        if grant.get("mode", "delegation") != "delegation":
            changes.append((f"set mode of {of} to delegation", "mode", "delegation"))
        for text, member, value in changes:
            made = {target: {member: value}}
            yield Change(Who.GRANT, text, _amend(wish, made), wish.place(target, member))


def _of_targets(wish: _Wish) -> Iterator[Change]:
    ignorant = [one.name for one in wish.case.exchange.targets if wish.scope not in one.scopes]
    if ignorant:
        text = f"add {wish.scope} to scopes of target {', '.join(ignorant)} in the configuration"
        make = _edit(
            *("request", "targets"),
            lambda targets: [
                {**target, "scopes": _with(target["scopes"], wish.scope)} for target in targets
            ],
        )
        yield Change(Who.TARGET, text, make, needed=True)


def _of_rules(wish: _Wish) -> Iterator[Change]:
    for own in wish.explanation.own:
        if own.reasons:
            first = own.rules[0] if own.rules else None
            means = "" if first is None else first.description.rstrip(".")
            asks = f"meet what broker.rules.{own.name} asks" + (f" ({means})" if means else "")
            yield Change(
                Who.RULE,
                f"{asks}, or change that rule",
                _silence(own.name),
                None if first is None else first.place,
            )


def _edit(section: str, member: str, edit: Callable[[Any], Any]) -> Make:
    """Return what changes one member of the input, as changes before it have left that."""

    def make(before: Supposition) -> Supposition:
        document = before.input
        changed = {**document[section], member: edit(document[section][member])}
        return replace(before, input={**document, section: changed})

    return make


def _with(scopes: Sequence[str], scope: str) -> list[str]:
    return [*dict.fromkeys((*scopes, scope))]


def _adding(scope: str) -> Callable[[Sequence[str]], list[str]]:
    return lambda scopes: _with(scopes, scope)


def _amend(wish: _Wish, members: Mapping[str, Mapping[str, Any]]) -> Make:
    def make(before: Supposition) -> Supposition:
        row = dict(before.grants or wish.row)
        for target, changed in members.items():
            row[target] = {**row.get(target, {}), **changed}
        return replace(before, grants=row)

    return make


def _silence(name: str) -> Make:
    return lambda before: replace(before, without=before.without | {name})


def _asking(wish: _Wish) -> list[Mapping[str, Any]]:
    grants = [wish.row[target] for target in wish.case.targets if target in wish.row]
    return [
        grant for grant in grants if isinstance(grant.get("purposes"), list) and grant["purposes"]
    ]


def _list(grant: Mapping[str, Any], member: str) -> list[str]:
    found = grant.get(member)
    return [str(one) for one in found] if isinstance(found, list) else []


def _named(wish: _Wish, targets: Sequence[str]) -> str:
    return " and ".join(wish.grant(target) for target in targets)


def _of_client_row(wish: _Wish) -> Place | None:
    return wish.places.find("broker", "grants", wish.case.client)
