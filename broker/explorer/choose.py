"""Which rows of a transaction are drawn, when there are more than anybody could look at."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final

from broker.audit.transaction import Step, Transaction
from broker.explorer.card import Card, build_more, build_origin, build_row
from broker.explorer.layout import Box
from broker.explorer.links import row_link, search_link

MOST: Final = 120  # rows in a picture, besides the way to the one that was asked for
MOST_BESIDE: Final = 12  # of them made of one token

Place = Box[Card]


def choose(
    transaction: Transaction,
    *,
    current: str | None,
    given: Mapping[str, str],
    zone: tzinfo,
    height: Callable[[Card], float],
) -> list[Place]:
    """Return the boxes of the picture: tokens from elsewhere, and right of them what became of it.

    Breadth first, since what is nearer to the root explains what is further from it. ``given`` is
    what searches keep, like the zone.
    """
    return _Choice(transaction, current, given, zone, height).make()


class _Choice:
    """One picture's boxes while they are chosen."""

    def __init__(
        self,
        transaction: Transaction,
        current: str | None,
        given: Mapping[str, str],
        zone: tzinfo,
        height: Callable[[Card], float],
    ) -> None:
        self._transaction = transaction
        self._current = current
        self._given = given
        self._zone = zone
        self._height = height
        self._way = _way_to(transaction.steps, current)
        self._left = MOST
        self._waiting: deque[tuple[Step, Place]] = deque()

    def make(self) -> list[Place]:
        roots: list[Place] = []
        hidden: list[Step] = []
        everything = self._search("txn", self._transaction.txn or "")
        for group in _origins(self._transaction.steps):
            if not self._left and not any(id(step) in self._way for step in group):
                hidden += group
                continue
            origin = self._place(build_origin(group[0], len(group)))
            roots.append(origin)
            self._hang(group, origin.boxes, None, everything)
        while self._waiting:
            step, place = self._waiting.popleft()
            made_of_it = self._search("parent", str(step.row["id"]))
            self._hang(step.steps, place.boxes, step.row["at"], made_of_it)
        self._leave_out(hidden, roots, everything)
        return roots

    def _hang(
        self, steps: Sequence[Step], boxes: list[Place], before: datetime | None, more: str
    ) -> None:
        """Add a box for each row that there is room for, and one for all others."""
        room = min(self._left, MOST_BESIDE)
        hidden = []
        for step in steps:
            if id(step) not in self._way:
                if not room:
                    hidden.append(step)
                    continue
                room -= 1
                self._left -= 1
            place = self._place(self._row(step, before))
            boxes.append(place)
            self._waiting.append((step, place))
        self._leave_out(hidden, boxes, more)

    def _leave_out(self, hidden: Sequence[Step], boxes: list[Place], more: str) -> None:
        if hidden:
            refused = sum(step.row.get("outcome") == "refused" for step in hidden)
            boxes.append(self._place(build_more(len(hidden), refused, more)))

    def _row(self, step: Step, before: datetime | None) -> Card:
        id_ = str(step.row["id"])
        return build_row(
            step,
            href=row_link(id_, self._given),
            current=id_ == self._current,
            before=before,
            zone=self._zone,
        )

    def _search(self, field: str, value: str) -> str:
        return search_link({**self._given, field: value})

    def _place(self, card: Card) -> Place:
        return Place(card, self._height(card))


def count(steps: Sequence[Step]) -> tuple[int, int]:
    """Return how many rows there are in these trees, and how many of them were refused."""
    total = refused = 0
    waiting = list(steps)
    while waiting:
        step = waiting.pop()
        total += 1
        refused += step.row.get("outcome") == "refused"
        waiting.extend(step.steps)
    return total, refused


def _origins(steps: Sequence[Step]) -> list[list[Step]]:
    """Return the roots, those of one presented token together."""
    groups: dict[str, list[Step]] = {}
    for step in steps:
        parent = step.row.get("parent")
        # What has no parent is known to come from nothing that others come from as well.
        groups.setdefault(str(parent or f"of {step.row['id']}"), []).append(step)
    return list(groups.values())


def _way_to(steps: Sequence[Step], wanted: str | None) -> frozenset[int]:
    """Return, by ``id()``, the rows from a root to the one with this id, which is among them."""
    above: dict[int, Step | None] = {}
    waiting: list[tuple[Step, Step | None]] = [(step, None) for step in steps]
    while waiting:
        step, parent = waiting.pop()
        above[id(step)] = parent
        if str(step.row["id"]) == wanted:
            way = [id(step)]
            while (parent := above[way[-1]]) is not None:
                way.append(id(parent))
            return frozenset(way)
        waiting.extend((below, step) for below in step.steps)
    return frozenset()
