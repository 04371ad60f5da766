"""Whether a grant is of any use, by the configuration, and to whom it gives more than it seems."""

from collections.abc import Iterator
from datetime import timedelta
from typing import cast

from broker.policy.floor import IDENTITY
from broker.policy.grants import ANY_ISSUER, Grant
from broker.policy.review.flaw import Flaw, Place, doubt, fault, in_grants
from broker.policy.review.reach import Reach, may_present
from broker.settings import Settings, parse_duration
from broker.settings.problems import Path


def review_use(
    client: str, target: str, grant: Grant, settings: Settings, reach: Reach, place: Place
) -> Iterator[Flaw]:
    """Yield what keeps a grant, or a part of it, from being of any use; and what makes it wide."""
    configured = next((each for each in settings.clients if each.id == client), None)
    if configured is None:
        return  # said already
    here = (client, target)
    if not configured.grant_types:
        yield fault(
            place(here),
            in_grants(*here),
            f"is unreachable: {client} may not use token exchange",
            f"put token-exchange into grant_types of {client}, or take the grant out",
        )
    elif grant.issuers and not reach.origins(client, grant):
        yield _no_origin(here, grant, settings, place)
    elif grant.issuers:
        yield from _out_of_reach(here, grant, settings, reach, place)
        yield from _wide(here, grant, reach, place)
    yield from _without_effect(here, grant, settings, place)


def _no_origin(here: Path, grant: Grant, settings: Settings, place: Place) -> Flaw:
    path = (*here, "issuers")
    client = str(here[0])
    if ANY_ISSUER in grant.issuers:
        text = f"is unreachable: {client} may present the tokens of no issuer"
    else:
        text = f"is unreachable: {client} may not present tokens of {_listed(grant.issuers)}"
    known = [each.issuer for each in settings.issuers if may_present(client, each)]
    wider = f", or name {_listed(known)} here" if known and ANY_ISSUER not in grant.issuers else ""
    return fault(
        place(path),
        in_grants(*here),
        text,
        f"put {client} into clients of the issuer{wider}",
    )


def _out_of_reach(
    here: Path, grant: Grant, settings: Settings, reach: Reach, place: Place
) -> Iterator[Flaw]:
    """Yield the parts of a grant that are of use to no subject; if all are, it is unreachable."""
    client = str(here[0])
    lost: list[Flaw] = []
    for index, scope in enumerate(grant.scopes):
        if not reach.holds(client, grant, scope):
            path = (*here, "scopes", index)
            lost.append(
                doubt(
                    place(path),
                    in_grants(*path),
                    f"no subject whose token {client} can present holds {scope}",
                    "let it follow from something, under derives, or take it out",
                )
            )
    for scope, sources in grant.derives.items():
        for index, source in enumerate(sources):
            if not reach.holds(client, grant, source):
                path = (*here, "derives", scope, index)
                lost.append(doubt(place(path), in_grants(*path), *_never(client, source)))
    if lost and len(lost) == len(grant.scopes) + sum(map(len, grant.derives.values())):
        yield fault(
            place(here),
            in_grants(*here),
            f"is unreachable: no subject whose token {client} can present holds anything that it"
            " gives or that something follows from",
            lost[0].remedy,
        )
    yield from lost
    for index, issuer in enumerate(grant.issuers):
        trusted = next((each for each in settings.issuers if each.issuer == issuer), None)
        if trusted is not None and not may_present(client, trusted):
            path = (*here, "issuers", index)
            yield doubt(
                place(path),
                in_grants(*path),
                f"{client} may not present tokens of {issuer}",
                f"put {client} into its clients, or take it out here",
            )


def _never(client: str, source: str) -> tuple[str, str]:
    if source == IDENTITY:
        return (
            f"no issuer whose tokens {client} can present is scopeless, as identity needs",
            "name a scope that the subject holds, or set scopeless at the issuer",
        )
    return (
        f"no subject whose token {client} can present holds {source}",
        "name a scope that it can hold, or identity where its issuer is scopeless",
    )


def _wide(here: Path, grant: Grant, reach: Reach, place: Place) -> Iterator[Flaw]:
    """Yield what is given to everybody who is somebody, by whosever word."""
    client = str(here[0])
    issuers = reach.scopeless(client, grant)
    if ANY_ISSUER not in grant.issuers or not issuers:
        return
    for scope, sources in grant.derives.items():
        if IDENTITY in sources:
            path = (*here, "derives", scope)
            yield doubt(
                place(path),
                in_grants(*path),
                f"every subject of {_listed(issuers)}, and of whatever scopeless issuer is added"
                f" later, gets {scope}: issuers is *",
                f"write issuers: [{', '.join(issuers)}]",
            )


def _without_effect(here: Path, grant: Grant, settings: Settings, place: Place) -> Iterator[Flaw]:
    target = next((each for each in settings.targets if each.name == here[1]), None)
    if target is not None and grant.max_lifetime is not None:
        longest = target.max_lifetime
        if _lasts(grant.max_lifetime) > longest:
            path = (*here, "max_lifetime")
            yield doubt(
                place(path),
                in_grants(*path),
                f"{grant.max_lifetime} is longer than the target's max_lifetime of"
                f" {longest.total_seconds():g} s, which holds",
                "write less, or leave it out",
            )
    if grant.max_depth is not None and grant.max_depth > settings.max_delegation_depth:
        path = (*here, "max_depth")
        yield doubt(
            place(path),
            in_grants(*path),
            f"{grant.max_depth} is more than max_delegation_depth, which is"
            f" {settings.max_delegation_depth} and holds",
            "write less, or leave it out",
        )


def _listed(names: list[str]) -> str:
    return " or ".join(names)


def _lasts(duration: str) -> timedelta:
    return cast(timedelta, parse_duration(duration))  # its form was checked
