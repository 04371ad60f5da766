"""What of the matrix is another under another policy: cell by cell, and whether it widens.

Both policies were asked the same. A way to a scope that needs less than before is more for those
who hold no more than that; one that needs more is less.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from broker.policy.difference import Kind, Terms
from broker.workbench.matrix.cell import Cell, Obtainable
from broker.workbench.matrix.matrix import Matrix
from broker.workbench.replay.change import Said, find_changes
from broker.workbench.replay.report import Outcome

# Scope, purpose, number of the circumstance.
_Key = tuple[str, str | None, int]
_Ways = dict[frozenset[str], Obtainable]


@dataclass(frozen=True, slots=True)
class CellChange:
    """One way in which one cell changes, for the subjects of these issuers alike."""

    client: str
    target: str
    issuers: tuple[str, ...]  # aliases
    kind: Kind
    what: str

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "client": self.client,
            "target": self.target,
            "issuers": list(self.issuers),
            "kind": self.kind.value,
            "what": self.what,
            "widens": self.kind.widens,
            "breaks": self.kind.breaks,
        }


@dataclass(frozen=True, slots=True)
class MatrixDifference:
    """How the matrix of one policy differs from that of the one before."""

    before: Matrix
    after: Matrix
    changes: tuple[CellChange, ...]

    @property
    def outcome(self) -> Outcome:
        """The worst that can be said. What was not compared is no clean result."""
        if self.before.stopped or self.after.stopped:
            return Outcome.UNFINISHED
        if any(change.kind.widens for change in self.changes):
            return Outcome.WIDENS
        return Outcome.CHANGES if self.changes else Outcome.SAME

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "outcome": self.outcome.value,
            "against": self.before.revision,
            "changes": [change.render() for change in self.changes],
        }


def compare_matrices(before: Matrix, after: Matrix) -> MatrixDifference:
    """Return the difference of two that were asked the same: what widens first."""
    old = {cell.place: cell for cell in before.cells}
    found: dict[tuple[str, str, Kind, str], list[str]] = {}
    for cell in after.cells:
        if cell.place not in old:
            continue  # one of them was stopped before it got there
        for kind, what in _differences(old[cell.place], cell):
            found.setdefault((cell.client, cell.target, kind, what), []).append(cell.issuer)
    changes = (
        CellChange(client, target, tuple(issuers), kind, what)
        for (client, target, kind, what), issuers in found.items()
    )
    return MatrixDifference(before, after, tuple(sorted(changes, key=_rank)))


def _differences(before: Cell, after: Cell) -> Iterator[tuple[Kind, str]]:
    if not before.obtainable and not after.obtainable:
        if after.faults and not before.faults:
            yield Kind.FAILED, "; ".join(after.faults)
        elif before.reasons[:1] != after.reasons[:1]:
            yield Kind.REASON, f"{_why(before)} → {_why(after)}"
        return
    if not before.obtainable:
        yield Kind.PERMITTED, _names(_ways_in_words(after))
        return
    if not after.obtainable:
        kind = Kind.FAILED if after.faults else Kind.REFUSED
        yield kind, f"{_why(after)}; had {_names(before.scopes)}"
        return
    old, new = _index(before), _index(after)
    gained, lost = _missing(new, old, after), _missing(old, new, before)
    if gained:
        yield Kind.WIDER_SCOPES, _names(gained)
    if lost:
        yield Kind.NARROWER_SCOPES, _names(lost)
    yield from _of_terms(old, new)


def _missing(these: Mapping[_Key, _Ways], those: Mapping[_Key, _Ways], cell: Cell) -> list[str]:
    """Return the ways of these, in words, that are none of those: nothing there needs as little."""
    missing: dict[int, Obtainable] = {}
    for key, ways in these.items():
        there = those.get(key, {})
        for holds, one in ways.items():
            if not any(other <= holds for other in there):
                missing[id(one)] = one
    return _in_words([one for one in cell.obtainable if id(one) in missing])


def _of_terms(old: Mapping[_Key, _Ways], new: Mapping[_Key, _Ways]) -> Iterator[tuple[Kind, str]]:
    found: dict[tuple[Kind, str], None] = {}
    for key, ways in new.items():
        for holds, one in ways.items():
            partner = _partner(old.get(key, {}), holds)
            if partner is None:
                continue
            for change in find_changes(_said(partner.terms), _said(one.terms)):
                # Which scopes these are is seen by their ways.
                if change.kind not in (Kind.WIDER_SCOPES, Kind.NARROWER_SCOPES):
                    found[change.kind, change.what] = None
    yield from found


def _partner(ways: _Ways, holds: frozenset[str]) -> Obtainable | None:
    """Return what a subject with this had, or has: by the same way, or by one that needs less."""
    if holds in ways:
        return ways[holds]
    return next((one for other, one in ways.items() if other <= holds), None)


def _index(cell: Cell) -> dict[_Key, _Ways]:
    found: dict[_Key, _Ways] = {}
    for one in cell.obtainable:
        for number in one.when:
            found.setdefault((one.scope, one.purpose, number), {})[frozenset(one.holds)] = one
    return found


def _ways_in_words(cell: Cell) -> list[str]:
    return _in_words(list(cell.obtainable))


def _in_words(obtainable: list[Obtainable]) -> list[str]:
    return list(dict.fromkeys(_said_of(one) for one in obtainable))


def _said_of(one: Obtainable) -> str:
    text = one.scope if one.way == "held" else f"{one.scope} ← {one.way}"
    text += f" for {one.purpose}" if one.purpose else ""
    return f"{text} (by {', '.join(one.depends)})" if one.depends else text


def _said(terms: Terms) -> Said:
    return Said(terms, lifetime=terms.lifetime)


def _why(cell: Cell) -> str:
    return cell.reasons[0].value if cell.reasons else "nothing asked"


def _names(names: Iterator[str] | list[str] | tuple[str, ...]) -> str:
    return ", ".join(names)


def _rank(change: CellChange) -> tuple[Any, ...]:
    kinds = list(Kind)
    return (
        not change.kind.widens,
        not change.kind.breaks,
        kinds.index(change.kind),
        change.client,
        change.target,
        change.what,
    )
