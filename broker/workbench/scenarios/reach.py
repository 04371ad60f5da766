"""Which grants no scenario asks for: a cell of client and target, or a scope in one."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from broker.policy.grants import read_grants
from broker.workbench.scenarios.ask import Outcome


@dataclass(frozen=True, slots=True)
class Untouched:
    """A grant that no scenario would miss."""

    client: str
    target: str
    scopes: tuple[str, ...]  # that none was granted; empty: nobody asks there at all


@dataclass(frozen=True, slots=True)
class Reach:
    """How much of the grants the scenarios look at."""

    cells: int
    touched: int
    untouched: tuple[Untouched, ...]


def measure_reach(data: bytes, outcomes: Iterable[Outcome]) -> Reach:
    """Return what of the grants in a bundle's data these outcomes asked for and were granted.

    A cell is touched by whatever its client asks of that target, a refusal as well; a scope in it
    only by a grant of it.
    """
    asked: set[tuple[str, str]] = set()
    granted: set[tuple[str, str, str]] = set()
    for outcome in outcomes:
        for step in outcome.steps:
            client, verdict = step.request.client, step.answer.verdict
            targets = verdict.targets or step.request.audiences
            asked |= {(client, target) for target in targets}
            granted |= {(client, target, scope) for target in targets for scope in verdict.scopes}
    cells = dict(_cells(read_grants(data)))
    untouched = []
    for (client, target), scopes in cells.items():
        if (client, target) not in asked:
            untouched.append(Untouched(client, target, ()))
        elif missed := tuple(s for s in scopes if (client, target, s) not in granted):
            untouched.append(Untouched(client, target, missed))
    return Reach(len(cells), len(cells.keys() & asked), tuple(untouched))


def _cells(grants: object) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    for client, row in grants.items() if isinstance(grants, Mapping) else ():
        for target, grant in row.items() if isinstance(row, Mapping) else ():
            if isinstance(grant, Mapping):
                named = (*grant.get("scopes", ()), *grant.get("derives", ()))
                yield (str(client), str(target)), tuple(sorted({str(scope) for scope in named}))
