"""The parameters of the library: names that nobody has, and claims that no policy ever sees."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from broker.policy.review.flaw import Flaw, Place, fault
from broker.settings import Settings
from broker.settings.problems import Path, render_path

# By which member a rule of the library names what is configured; the last part may be of a list.
_NAMED: Final = (
    ("partner", "issuers", "issuer"),
    ("partner", "targets", "target"),
    ("partner", "scopes", "scope"),
    ("partner", "clients", "client"),
    ("tenant", "targets", "target"),
    ("tenant", "shared", "target"),
    ("tenant", "clients", "client"),
    ("actors", "issuers", "issuer"),
)
_CLAIM_MEMBERS: Final = (("tenant", "claim"), ("ticket", "claim"), ("break_glass", "claim"))
_STEP_UP: Final = {"acr": "acr", "amr": "amr", "max_age": "auth_time"}
# What break-glass names of other rules.
_REFERENCES: Final = ("ticket", "step_up")


def review_parameters(document: object, settings: Settings | None, place: Place) -> Iterator[Flaw]:
    """Yield what is wrong with parameters that are of the form of their schema."""
    rules = {
        rule: rows
        for rule, rows in (document.items() if isinstance(document, Mapping) else ())
        if isinstance(rows, Mapping)
    }
    for path, name in _references(rules):
        if name not in rules.get(str(path[-1]), {}):
            yield fault(
                place(path),
                _called(path),
                f"there is no {path[-1]} of the name {name}, so the glass cannot be broken",
                f"add {name} below {path[-1]}",
            )
    if settings is not None:
        yield from _unknown_names(rules, settings, place)
        yield from _unseen_claims(rules, settings, place)


def _references(rules: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Path, str]]:
    for name, row in rules.get("break_glass", {}).items():
        for member in _REFERENCES:
            if isinstance(row, Mapping) and isinstance(row.get(member), str):
                yield ("break_glass", name, member), row[member]


def _unknown_names(
    rules: Mapping[str, Mapping[str, Any]], settings: Settings, place: Place
) -> Iterator[Flaw]:
    known = {
        "issuer": {settings.issuer, *(each.issuer for each in settings.issuers)},
        "target": {each.name for each in settings.targets},
        "client": {each.id for each in settings.clients},
        "scope": frozenset[str]().union(*(each.scopes for each in settings.targets)),
    }
    for rule, member, kind in _NAMED:
        for name, row in rules.get(rule, {}).items():
            values = row.get(member) if isinstance(row, Mapping) else None
            for step, value in _steps(values):
                if value not in known[kind]:
                    path = (rule, name, member, step)
                    yield fault(
                        place(path),
                        _called(path),
                        f"{value} is no {'trusted ' if kind == 'issuer' else ''}{kind}",
                        f"write a {kind} of the configuration, or take it out",
                    )


def _steps(values: object) -> Iterable[tuple[int | str, str]]:
    if isinstance(values, Mapping):
        return [(str(key), str(key)) for key in values]
    return enumerate(map(str, values)) if isinstance(values, list) else ()


def _unseen_claims(
    rules: Mapping[str, Mapping[str, Any]], settings: Settings, place: Place
) -> Iterator[Flaw]:
    seen = {claim for issuer in settings.issuers for claim in issuer.policy_claims}
    for path, claim in _claims(rules):
        if claim not in seen:
            yield fault(
                place(path),
                _called(path),
                f"no issuer's policy_claims names {claim}, so no policy sees it and this is never"
                " met",
                f"put {claim} into policy_claims of the issuer that gives it",
            )


def _claims(rules: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Path, str]]:
    for rule, member in _CLAIM_MEMBERS:
        for name, row in rules.get(rule, {}).items():
            if isinstance(row, Mapping) and isinstance(row.get(member), str):
                yield (rule, name, member), row[member]
    for name, row in rules.get("step_up", {}).items():
        for member in row if isinstance(row, Mapping) else ():
            if member in _STEP_UP:
                yield ("step_up", name, member), _STEP_UP[member]


def _called(path: Path) -> str:
    return f"parameters {render_path(path)}"
