"""Makes tombstones of what is to be removed, batch by batch, in the order of each writer's ``seq``.

Memory is what the tombstones will take: intervals, and leaves of batches that are cut.
"""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Final
from uuid import UUID

import orjson

from broker.audit.spans import Span, spans_of
from broker.audit.tombstone import Cut, Exported, Removal, Tombstone, render_removal
from broker.audit.tree import Frontier

MAX_PART: Final = 256 * 1024  # bytes of removals in one record
_MAX_ENTRY: Final = 64 * 1024  # from here on, an entry ends with its batch
_SPAN_BYTES: Final = 24
_LEAF_BYTES: Final = 47


class RemovalBuilder:
    """Gathers what is removed; a writer has as many entries as it takes for each to be short.

    However the batches of several writers alternate, the entries are the same.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._done: list[Removal] = []
        self._open: dict[UUID, _Entry] = {}

    def add(self, writer: UUID, number: int, leaves: Mapping[int, bytes], *, whole: bool) -> None:
        """Add rows of one batch, by ``seq`` ascending; ``whole``: the batch has no other rows."""
        entry = self._open.setdefault(writer, _Entry(writer))
        entry.add(number, leaves, whole=whole)
        self.rows += len(leaves)
        if entry.weight > _MAX_ENTRY:
            self._done.append(self._open.pop(writer).close())

    def removals(self) -> list[Removal]:
        """Return all entries, by writer and ``seq``."""
        entries = [*self._done, *(entry.close() for entry in self._open.values())]
        return sorted(entries, key=lambda one: (one.writer, one.spans))


class _Entry:
    def __init__(self, writer: UUID) -> None:
        self.writer = writer
        self.weight = 0  # bytes in the record, about
        self._spans: list[Span] = []
        self._cuts: list[Cut] = []
        self._tree = Frontier()

    def add(self, number: int, leaves: Mapping[int, bytes], *, whole: bool) -> None:
        for leaf in leaves.values():
            self._tree.append(leaf)
        spans = spans_of(leaves)
        for first, last in spans:
            if self._spans and first == self._spans[-1][1] + 1:
                self._spans[-1] = (self._spans[-1][0], last)
            else:
                self._spans.append((first, last))
                self.weight += _SPAN_BYTES
        if not whole:
            self._cuts.append(Cut(number, dict(leaves)))
            self.weight += _SPAN_BYTES * len(spans) + _LEAF_BYTES * len(leaves)

    def close(self) -> Removal:
        spans = tuple(self._spans)
        return Removal(self.writer, spans, self._tree.root(), tuple(self._cuts))


def build_tombstones(
    run: UUID, day: date, removed: Iterable[Removal], exported: Exported, *, older_than: timedelta
) -> list[Tombstone]:
    """Return the tombstones of a partition, each of bounded size; of an empty partition, one."""
    groups: list[list[Removal]] = [[]]
    size = rows = 0
    for removal in removed:
        weight = len(orjson.dumps(render_removal(removal)))
        if groups[-1] and size + weight > MAX_PART:
            groups.append([])
            size = 0
        groups[-1].append(removal)
        size += weight
        rows += removal.rows
    return [
        Tombstone(run, part, len(groups), day, older_than, rows, tuple(group), exported)
        for part, group in enumerate(groups, 1)
    ]
