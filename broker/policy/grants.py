"""What is wrong with the grants data: rows that cannot be read, and names that nobody has.

The rules of ``policies/schemas/grants.json``, and, with the settings, whether clients, targets,
scopes and issuers are configured. A grant for nobody grants nothing, so each of these is a mistake
of whoever wrote it and no danger: it is said by ``broker check`` and does not stop the broker.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)

from broker.settings import Settings
from broker.settings.problems import Problem, read_problems

_LIFETIME: Final = re.compile(r"[1-9][0-9]{0,8}[smhd]")
ANY_ISSUER: Final = "*"


def _check_lifetime(value: str) -> str:
    if not _LIFETIME.fullmatch(value):
        raise ValueError("write a duration of whole seconds or more, like 90s, 5m, 24h or 30d")
    return value


Strings = list[StrictStr]
Lifetime = Annotated[StrictStr, AfterValidator(_check_lifetime)]


class Grant(BaseModel):
    """What a client may get at a target; ``policies/schemas/grants.json`` says what it means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scopes: Strings
    derives: dict[str, Strings] = {}
    default_scopes: Strings = []
    excess: Literal["refuse", "narrow"] = "refuse"
    max_lifetime: Lifetime | None = None
    max_depth: Annotated[StrictInt, Field(ge=1)] | None = None
    mode: Literal["delegation", "impersonation"] = "delegation"
    purposes: Strings = []
    reentry: StrictBool = False
    issuers: Strings = [ANY_ISSUER]
    reuse: Lifetime | None = None


def read_grants(data: bytes) -> object:
    """Return the grants in a bundle's data; an empty mapping if there are none."""
    document = orjson.loads(data)
    section = document.get("broker", {}) if isinstance(document, dict) else {}
    return section.get("grants", {}) if isinstance(section, dict) else section


def read_grant(cell: object) -> Grant | None:
    """Return one grant; None if it is not well-formed, of which ``check_grants`` says why."""
    grant, problems = _read(cell)
    return None if problems else grant


def check_grants(grants: object, settings: Settings | None) -> list[Problem]:
    """Return everything that is wrong with the grants; without settings, with their form alone."""
    return list(_problems(grants, settings))


def _problems(grants: object, settings: Settings | None) -> Iterator[Problem]:
    if not isinstance(grants, Mapping):
        yield Problem((), "write a mapping: client, then target, then grant")
        return
    for client, row in grants.items():
        if settings is not None and client not in {each.id for each in settings.clients}:
            yield Problem((str(client),), "is no client; write the id of one of clients")
        if not isinstance(row, Mapping):
            yield Problem((str(client),), "write a mapping of targets to grants")
            continue
        for target, cell in row.items():
            path = (str(client), str(target))
            grant, problems = _read(cell)
            yield from (Problem((*path, *each.path), each.text) for each in problems)
            if settings is not None:
                found = _names(str(target), grant, settings)
                yield from (Problem((*path, *each.path), each.text) for each in found)


def _read(cell: Any) -> tuple[Grant | None, list[Problem]]:  # noqa: ANN401 — whatever YAML holds
    try:
        # As JSON: there null is a value, and nothing is converted into what it is not.
        return Grant.model_validate(cell), list(_nulls(cell))
    except ValidationError as error:
        return None, [*read_problems(error, Grant)]


def _nulls(cell: Mapping[str, object]) -> Iterator[Problem]:
    # Left out means the default; null is neither a value nor left out, and Rego sorts it first.
    yield from (Problem((name,), "leave it out") for name, value in cell.items() if value is None)


def _names(target: str, grant: Grant | None, settings: Settings) -> Iterator[Problem]:
    configured = next((each for each in settings.targets if each.name == target), None)
    if configured is None:
        yield Problem((), "is no target; write the name of one of targets")
    if grant is None:
        return
    if configured is not None:
        yield from _unknown("scopes", grant.scopes, configured.scopes, "no scope of this target")
        for scope in grant.derives:
            if scope not in configured.scopes:
                yield Problem(("derives", scope), "is no scope of this target")
    granted = {*grant.scopes, *grant.derives}
    yield from _unknown("default_scopes", grant.default_scopes, granted, "not granted here")
    issuers = {ANY_ISSUER, settings.issuer, *(each.issuer for each in settings.issuers)}
    yield from _unknown("issuers", grant.issuers, issuers, "no trusted issuer")


def _unknown(
    name: str, values: Iterable[str], known: Iterable[str], what: str
) -> Iterator[Problem]:
    allowed = frozenset(known)
    for place, value in enumerate(values):
        if value not in allowed:
            yield Problem((name, place), f"{value} is {what}")
