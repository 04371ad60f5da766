"""Tombstones as they stand in the trail, for whoever shows rows beside holes. Unverified.

Whether one is ours is for whoever verifies; a leaf that one has of a removed row is right if the
root of its batch comes out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from broker.audit.batch import Batch
from broker.audit.tombstone import ACTION, Tombstone, TombstoneRejected, parse_tombstone

_CLOCKS: Final = timedelta(days=1)  # by which they may differ, at most
_FIND: Final = (
    "SELECT record FROM audit_event WHERE action = $1 AND kind = 'administration' AND at >= $2"
    " ORDER BY at"
)


@dataclass(frozen=True, slots=True)
class Buried:
    """A tombstone, and the record that says so."""

    unverified: Tombstone
    record: bytes


async def load_buried(connection: Any, since: datetime) -> list[Buried]:  # noqa: ANN401 — the driver's
    """Return what may cover rows of then or later; rows are removed after they were written."""
    found = []
    for row in await connection.fetch(_FIND, ACTION, since - _CLOCKS):
        record = row["record"].encode()
        try:
            found.append(Buried(parse_tombstone(orjson.loads(record)), record))
        except (TombstoneRejected, ValueError):
            continue  # none of ours: it covers nothing
    return found


def covering(buried: Iterable[Buried], batch: Batch) -> list[Buried]:
    """Return those of runs that removed rows of this batch, whole runs."""
    known = list(buried)
    runs = {
        one.unverified.run
        for one in known
        for removal in one.unverified.removed
        if removal.writer == batch.writer
        and any(
            first <= batch.last_seq and last >= batch.first_seq for first, last in removal.spans
        )
    }
    return [one for one in known if one.unverified.run in runs]


def removed_leaves(buried: Iterable[Buried], batch: Batch) -> Mapping[int, bytes]:
    """Return by ``seq`` the leaves that tombstones have of a batch that was cut."""
    return {
        seq: leaf
        for one in buried
        for removal in one.unverified.removed
        if removal.writer == batch.writer
        for cut in removal.cuts
        if cut.number == batch.number
        for seq, leaf in cut.leaves.items()
    }
