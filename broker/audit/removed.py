"""Which rows may be missing from the trail, as its tombstones say."""

from collections.abc import Mapping
from uuid import UUID

from broker.audit.spans import Spans
from broker.audit.tombstone import Tombstone, TombstoneRejected


class Removed:
    """What tombstones cover. One that was made in parts counts once every part was added."""

    def __init__(self) -> None:
        self.rows = 0  # under tombstones that count; those of two that overlap, twice
        self.runs = 0
        self._parts: dict[UUID, dict[int, Tombstone]] = {}
        self._spans: dict[UUID, Spans] = {}
        self._leaves: dict[tuple[UUID, int], dict[int, bytes]] = {}

    def add(self, tombstone: Tombstone) -> None:
        """Add one whose row was verified like any other.

        Raises ``TombstoneRejected`` where it contradicts one that was added before.
        """
        parts = self._parts.setdefault(tombstone.run, {})
        if tombstone.part in parts or any(
            one.shared() != tombstone.shared() for one in parts.values()
        ):
            raise TombstoneRejected("it contradicts another part of its run")
        parts[tombstone.part] = tombstone
        if len(parts) < tombstone.parts:
            return
        if sum(removal.rows for one in parts.values() for removal in one.removed) != tombstone.rows:
            raise TombstoneRejected("its parts have another number of rows than they say")
        for one in parts.values():
            self._take(one)
        self.runs += 1
        self.rows += tombstone.rows

    def covers(self, writer: UUID, seq: int) -> bool:
        """Whether that row was removed."""
        return self.covers_all(writer, seq, seq)

    def covers_all(self, writer: UUID, first: int, last: int) -> bool:
        """Whether all of these rows were removed, both ends included."""
        spans = self._spans.get(writer)
        return spans is not None and spans.covers(first, last)

    def leaves(self, writer: UUID, number: int) -> Mapping[int, bytes]:
        """Return by ``seq`` the removed leaves of a batch that was cut; of any other, none."""
        return self._leaves.get((writer, number), {})

    def _take(self, tombstone: Tombstone) -> None:
        for removal in tombstone.removed:
            self._spans.setdefault(removal.writer, Spans()).add(removal.spans)
            for cut in removal.cuts:
                known = self._leaves.setdefault((removal.writer, cut.number), {})
                if any(known.get(seq, leaf) != leaf for seq, leaf in cut.leaves.items()):
                    raise TombstoneRejected("it has another leaf for a row than a tombstone before")
                known.update(cut.leaves)
