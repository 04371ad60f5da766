"""What bounds the life of the token, and the number of exchanges: each limit, and the least."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from broker.settings import parse_duration
from broker.workbench.explain.case import Case
from broker.workbench.explain.rule import Place
from broker.workbench.explain.written import DataPlaces, Row


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit. The least ones are what counts."""

    name: str  # as the grants, the configuration or the token call it
    of: str  # whose it is
    value: int | None  # seconds, or exchanges; None: there is one, and it cannot be read
    place: Place | None = None
    least: bool = False

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "name": self.name,
            "of": self.of,
            "value": self.value,
            "place": None if self.place is None else str(self.place),
            "least": self.least,
        }


def lifetime_limits(
    case: Case, row: Row, places: DataPlaces, decided: int | None
) -> tuple[Limit, ...]:
    """Return what bounds the life, in seconds. ``decided``: what the policy's decision says."""
    limits = [*_granted_lives(case, row, places)]
    limits += [
        Limit("max_lifetime", f"target {target.name}", int(target.max_lifetime.total_seconds()))
        for target in case.exchange.targets
    ]
    if decided is not None and all(each.value is None or decided < each.value for each in limits):
        limits.append(Limit("lifetime", "a rule of the policy", decided))
    tokens = (("subject", case.exchange.subject), ("actor", case.exchange.actor))
    at = int(case.exchange.at.timestamp())
    limits += [
        Limit("exp", f"the {name} token", int(token.expires_at.timestamp()) - at)
        for name, token in tokens
        if token is not None
    ]
    return _marked(limits)


def depth_limits(
    case: Case, row: Row, places: DataPlaces, ceiling: int, decided: int | None
) -> tuple[Limit, ...]:
    """Return what bounds the exchanges. ``ceiling`` is ``max_delegation_depth``."""
    left, claimed = case.exchange.delegation.max_depth, case.exchange.subject.max_delegation_depth
    limits = [Limit("max_delegation_depth", "the settings", ceiling)]
    # A policy input says what both of them leave, and then it is the token that has less.
    if claimed is not None or left < ceiling:
        limits.append(
            Limit("max_delegation_depth", "the subject token", left if claimed is None else claimed)
        )
    for target in case.targets:
        bound = row.get(target, {}).get("max_depth")
        if bound is not None:
            value = bound if type(bound) is int else None
            place = places.find_grant(case.client, target, "max_depth")
            limits.append(Limit("max_depth", _grant(case, target), value, place))
    if decided is not None and all(each.value is None or decided < each.value for each in limits):
        limits.append(Limit("max_depth", "a rule of the policy", decided))
    return _marked(limits)


def _granted_lives(case: Case, row: Row, places: DataPlaces) -> Iterator[Limit]:
    for target in case.targets:
        bound = row.get(target, {}).get("max_lifetime")
        if bound is not None:
            place = places.find_grant(case.client, target, "max_lifetime")
            yield Limit("max_lifetime", _grant(case, target), _seconds(bound), place)


def _grant(case: Case, target: str) -> str:
    return f"the grant {case.client} → {target}"


def _seconds(duration: object) -> int | None:
    try:
        read = parse_duration(duration)
    except ValueError:
        return None
    return int(read.total_seconds()) if isinstance(read, timedelta) else None


def _marked(limits: list[Limit]) -> tuple[Limit, ...]:
    least = min((each.value for each in limits if each.value is not None), default=None)
    return tuple(
        replace(each, least=each.value is not None and each.value == least) for each in limits
    )
