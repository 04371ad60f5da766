"""Derivations that lead back to where they began: what follows from what it gives bounds nothing.

A node is a scope in the hands of a client. An edge is a grant: by it whoever that target is comes
to hold what follows. A strongly connected part with a derivation inside is a circle, in one grant
or over several exchanges.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from broker.policy.floor import IDENTITY
from broker.policy.review.reach import Grants, Reach


@dataclass(frozen=True, slots=True, order=True)
class Derivation:
    """That a scope follows from another, by a grant."""

    client: str
    target: str
    scope: str
    source: str


Node = tuple[str, str]
Graph = dict[Node, set[Node]]


def find_circles(grants: Grants, reach: Reach | None) -> Iterator[tuple[Derivation, ...]]:
    """Yield the derivations of each circle. Without ``reach`` only those within one grant."""
    for place, grant in grants.items():
        inner = [
            Derivation(*place, scope, source)
            for scope, sources in grant.derives.items()
            for source in sources
            if source not in (IDENTITY, scope)
        ]
        edges = {each: (("", each.source), ("", each.scope)) for each in inner}
        yield from _circles(edges, _graph(edges.values()))
    if reach is not None:
        yield from _over_exchanges(grants, reach)


def _over_exchanges(grants: Grants, reach: Reach) -> Iterator[tuple[Derivation, ...]]:
    derived: dict[Derivation, tuple[Node, Node]] = {}
    passed: list[tuple[Node, Node]] = []
    for (client, target), grant in grants.items():
        for owner in reach.owners(target):
            passed += [((client, scope), (owner, scope)) for scope in grant.scopes]
            for scope, sources in grant.derives.items():
                for source in set(sources) - {IDENTITY, scope}:
                    place = Derivation(client, target, scope, source)
                    derived[place] = ((client, source), (owner, scope))
    for circle in _circles(derived, _graph([*passed, *derived.values()])):
        # Within one grant it was found already.
        if len({(each.client, each.target) for each in circle}) > 1:
            yield circle


def _graph(edges: Iterable[tuple[Node, Node]]) -> Graph:
    graph: Graph = {}
    for start, end in edges:
        graph.setdefault(start, set()).add(end)
        graph.setdefault(end, set())
    return graph


def _circles(
    derived: Mapping[Derivation, tuple[Node, Node]], graph: Graph
) -> Iterator[tuple[Derivation, ...]]:
    part = _parts(graph)
    found: dict[int, list[Derivation]] = {}
    for each, (start, end) in derived.items():
        if part[start] == part[end]:
            found.setdefault(part[start], []).append(each)
    yield from (tuple(sorted(circle)) for circle in found.values())


def _parts(graph: Graph) -> dict[Node, int]:
    """Return for each node the number of its strongly connected part, by Kosaraju."""
    order = list(_finished(graph, list(graph)))
    back: Graph = {node: set() for node in graph}
    for start, ends in graph.items():
        for end in ends:
            back[end].add(start)
    part: dict[Node, int] = {}
    for number, root in enumerate(reversed(order)):
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if node not in part:
                part[node] = number
                waiting += back[node]
    return part


def _finished(graph: Graph, roots: Sequence[Node]) -> Iterator[Node]:
    """Yield the nodes in the order in which a walk in depth is done with them."""
    seen: set[Node] = set()
    for root in roots:
        if root in seen:
            continue
        seen.add(root)
        stack = [(root, iter(sorted(graph[root])))]
        while stack:
            node, ends = stack[-1]
            for end in ends:
                if end not in seen:
                    seen.add(end)
                    stack.append((end, iter(sorted(graph[end]))))
                    break
            else:
                stack.pop()
                yield node
