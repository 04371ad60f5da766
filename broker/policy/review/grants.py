"""What the grants say and cannot mean: rows that nobody can use, and rows that widen.

A mistake that refuses somebody's request ``fails``; the rest is worth a look.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from broker.policy.grants import ANY_ISSUER, Grant, check_grants, read_grant
from broker.policy.review.cycles import find_circles
from broker.policy.review.flaw import Flaw, Place, doubt, fault, in_grants, note
from broker.policy.review.reach import Grants, Reach
from broker.policy.review.use import review_use
from broker.settings import Settings
from broker.settings.problems import Path

_MOST_STEPS: Final = 5  # of a circle that are told


def review_grants(document: object, settings: Settings | None, place: Place) -> Iterator[Flaw]:
    """Yield what is wrong with the grants, the failing first; without settings by themselves."""
    flaws = [*_misread(document, settings, place)]
    grants = well_formed(document)
    reach = None if settings is None else Reach(grants, settings)
    for where, grant in grants.items():
        flaws += _alone(*where, grant, place)
    flaws += _in_circles(grants, reach, place)
    if settings is not None and reach is not None:
        for (client, target), grant in grants.items():
            flaws += review_use(client, target, grant, settings, reach, place)
        flaws += _missing(grants, settings, place)
    yield from sorted(flaws, key=lambda flaw: -flaw.weight)


def _misread(document: object, settings: Settings | None, place: Place) -> Iterator[Flaw]:
    for problem in check_grants(document, settings):
        text, _, remedy = problem.text.partition("; ")
        yield fault(
            place(problem.path),
            in_grants(*problem.path),
            text,
            remedy or "mend it: schemas/grants.json says what may stand there",
        )


def well_formed(document: object) -> Grants:
    """Return the grants that can be read; the others are said to be wrong already."""
    found: dict[tuple[str, str], Grant] = {}
    for client, row in document.items() if isinstance(document, Mapping) else ():
        for target, cell in row.items() if isinstance(row, Mapping) else ():
            grant = read_grant(cell)
            if grant is not None:
                found[str(client), str(target)] = grant
    return found


def _alone(client: str, target: str, grant: Grant, place: Place) -> Iterator[Flaw]:
    """Yield what is wrong with a grant wherever it stands."""
    for path, value in _names(client, target, grant):
        # The configuration takes no name with a star, so none of these can be one.
        if "*" in value:
            yield fault(
                place(path),
                in_grants(*path),
                f"{value} is taken as it is written: * stands for nothing but itself here",
                "write each name out; only issuers has a wildcard",
            )
    if not grant.scopes and not grant.derives:
        yield fault(
            place((client, target)),
            in_grants(client, target),
            "gives nothing: it lists no scopes and derives none",
            "list what the client may get, or take the grant out",
        )
    if not grant.issuers:
        yield fault(
            place((client, target, "issuers")),
            in_grants(client, target, "issuers"),
            "is empty, so the grant is for nobody's subjects",
            "name the issuers, or leave it out for all of them",
        )
    if ANY_ISSUER in grant.issuers and len(grant.issuers) > 1:
        path = (client, target, "issuers", grant.issuers.index(ANY_ISSUER))
        yield doubt(
            place(path),
            in_grants(*path),
            "* makes the issuers beside it mean nothing: subjects of every issuer are meant",
            "take * out, or the others",
        )
    for scope, sources in grant.derives.items():
        if scope in sources:
            path = (client, target, "derives", scope, sources.index(scope))
            yield doubt(
                place(path),
                in_grants(*path),
                f"{scope} follows from itself, which gives nothing",
                f"list {scope} under scopes, where holding it is enough, or take it out",
            )


def _names(client: str, target: str, grant: Grant) -> Iterator[tuple[Path, str]]:
    yield (client,), client
    yield (client, target), target
    for member in ("scopes", "default_scopes"):
        for index, value in enumerate(getattr(grant, member)):
            yield (client, target, member, index), value
    for scope, sources in grant.derives.items():
        yield (client, target, "derives", scope), scope
        for index, value in enumerate(sources):
            yield (client, target, "derives", scope, index), value


def _in_circles(grants: Grants, reach: Reach | None, place: Place) -> Iterator[Flaw]:
    for circle in find_circles(grants, reach):
        first, *others = circle
        path = (first.client, first.target, "derives", first.scope)
        steps = f"{first.scope} follows from {first.source}"
        for each in others[:_MOST_STEPS]:
            where = place((each.client, each.target, "derives", each.scope))
            steps += f", {each.scope} from {each.source} ({where or in_grants(each.client)})"
        if len(others) > _MOST_STEPS:
            steps += f", and so on over {len(others) - _MOST_STEPS} more"
        yield doubt(
            place(path),
            in_grants(*path),
            f"{steps}: a circle, so whoever holds one of these gets all of them",
            "let the weaker scope follow from the stronger one only",
        )


def _missing(grants: Grants, settings: Settings, place: Place) -> Iterator[Flaw]:
    """Yield who and what is configured and in no grant."""
    having = {client for client, _ in grants}
    given = {target for _, target in grants}
    exchanging = [each for each in settings.clients if each.grant_types]
    alone = [each for each in exchanging if each.id not in having]
    receiving = [each.id for each in alone if not given.isdisjoint(each.targets)]
    idle = [each.id for each in alone if each.id not in receiving]
    if idle:
        yield doubt(
            place(()),
            f"grants of {', '.join(idle)}",
            "there are none, so every exchange of this client is refused",
            "add a grant, or take the client out of the configuration",
        )
    if receiving:
        yield note(
            place(()),
            f"grants of {', '.join(receiving)}",
            "there are none; it only receives tokens",
            "a client that exchanges none has grant_types: []",
        )
    for client in exchanging:
        default = client.default_target
        if client.id in having and default and (client.id, default) not in grants:
            yield fault(
                place((client.id,)),
                in_grants(client.id),
                f"has {default} as default_target and no grant for it, so a request that names no"
                " target is refused",
                "add the grant, or name another default_target",
            )
    # Whoever exchanges what it receives may be where the tokens of the issuers arrive first.
    entries = {target for each in exchanging if each.id in having for target in each.targets}
    unreached = [
        each.name
        for each in settings.targets
        if each.name not in given and each.name not in entries
    ]
    if unreached:
        yield doubt(
            place(()),
            f"grants for {', '.join(unreached)}",
            "there are none, so nobody gets a token for this target",
            "add a grant, or take the target out of the configuration",
        )
