"""What was found so far, grouped, in memory that does not grow with the trail.

A group is who asks, for which target, and what changes; it has a count for each day and a few
examples. Beyond ``MOST`` groups the rarer ones of a kind share one that says so.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from broker.policy.difference import Kind
from broker.workbench.replay.change import Change
from broker.workbench.replay.past import Cause, Lost, Past

MOST: Final = 2000  # groups
EXAMPLES: Final = 5  # of a group
OTHERS: Final = "…"  # stands for clients, targets and changes beyond the most
_DAYS: Final = 400  # that are counted apart
_REVISIONS: Final = 50
_LONGEST: Final = 200  # characters of what stands in a group: names are others' to choose


@dataclass(frozen=True, slots=True)
class Example:
    """A row of the trail; whoever may see it asks for it by its id."""

    id: str
    at: str


@dataclass(slots=True)
class Group:
    """Decisions that change alike."""

    client: str
    target: str
    kind: Kind
    what: str
    count: int = 0
    days: Counter[str] = field(default_factory=Counter)
    examples: list[Example] = field(default_factory=list)

    def add(self, past: Past) -> None:
        """Count one more."""
        self.count += 1
        day = past.day
        if day in self.days or len(self.days) < _DAYS:
            self.days[day] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(Example(past.id, past.at))


class Tally:
    """Counts what is replayed."""

    def __init__(self) -> None:
        self.decisions = 0
        self.changed = 0
        self.widening = 0  # decisions that widen in any way
        self.breaking = 0  # decisions that gave a token and would give none
        self.lost: Counter[Cause] = Counter()
        self.days: Counter[str] = Counter()  # decisions of a day
        self.revisions: Counter[str] = Counter()  # of the policies that decided then
        self.first: str | None = None  # times of the oldest and the newest decision
        self.last: str | None = None
        self._groups: dict[tuple[str, str, Kind, str], Group] = {}

    @property
    def groups(self) -> list[Group]:
        """All of them: what widens first, then what breaks, the most frequent before the others."""
        return sorted(
            self._groups.values(),
            key=lambda group: (
                not group.kind.widens,
                not group.kind.breaks,
                -group.count,
                group.client,
                group.target,
                group.kind,
                group.what,
            ),
        )

    def lose(self, lost: Lost) -> None:
        """Count what cannot be replayed."""
        self.lost[lost.cause] += lost.count

    def add(self, past: Past, changes: tuple[Change, ...]) -> None:
        """Count a decision that was made again."""
        self.decisions += 1
        day = past.day
        if day in self.days or len(self.days) < _DAYS:
            self.days[day] += 1
        if past.revision in self.revisions or len(self.revisions) < _REVISIONS:
            self.revisions[past.revision] += 1
        if self.first is None or past.at < self.first:
            self.first = past.at
        if self.last is None or past.at > self.last:
            self.last = past.at
        if not changes:
            return
        self.changed += 1
        self.widening += any(change.kind.widens for change in changes)
        self.breaking += any(change.kind.breaks for change in changes)
        for change in changes:
            self._group(past, change).add(past)

    def _group(self, past: Past, change: Change) -> Group:
        key = (_cut(past.client), _cut(past.targets), change.kind, _cut(change.what))
        if key not in self._groups and len(self._groups) >= MOST:
            key = (OTHERS, OTHERS, change.kind, OTHERS)
        if key not in self._groups:
            self._groups[key] = Group(*key)
        return self._groups[key]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
