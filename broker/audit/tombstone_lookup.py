"""Tombstones that stand in the trail, and whether a checkpoint has sealed them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson

from broker.audit.note import VerifierKey
from broker.audit.proof import check_proof
from broker.audit.proof_lookup import load_proof
from broker.audit.removed import Removed
from broker.audit.tombstone import ACTION, Tombstone, TombstoneRejected, parse_tombstone
from broker.audit.tombstone_note import verify_tombstone
from broker.db.engine import Database

_FIND: Final = (
    "SELECT id, record FROM audit_event WHERE action = $1 AND kind = 'administration'"
    " AND at >= coalesce($2, '-infinity'::timestamptz) ORDER BY at"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A tombstone and the row that it is."""

    id: UUID
    tombstone: Tombstone


async def find_tombstones(
    connection: Any,  # noqa: ANN401 — the driver's
    keys: Sequence[VerifierKey],
    *,
    since: datetime | None = None,
) -> list[Found]:
    """Return those that our key has signed, oldest first. What else says it is one is none."""
    found = []
    for row in await connection.fetch(_FIND, ACTION, since):
        try:
            tombstone = parse_tombstone(orjson.loads(row["record"]))
            verify_tombstone(tombstone, keys)
        except (TombstoneRejected, ValueError):
            continue
        found.append(Found(UUID(int=row["id"].int), tombstone))
    return found


def complete_runs(found: Sequence[Found]) -> list[list[Found]]:
    """Return those of which every part is there, each in the order of its parts."""
    runs: dict[UUID, dict[int, Found]] = {}
    for one in found:
        runs.setdefault(one.tombstone.run, {}).setdefault(one.tombstone.part, one)
    return [
        [parts[part] for part in sorted(parts)]
        for parts in runs.values()
        if len(parts) == next(iter(parts.values())).tombstone.parts
    ]


class RemovedRows:
    """What tombstones cover, looked for when a batch lacks rows: most never do."""

    _RECENT: Final = timedelta(days=7)

    def __init__(self, connection: Any, keys: Sequence[VerifierKey], now: datetime) -> None:  # noqa: ANN401 — the driver's
        self._connection = connection
        self._keys = keys
        # A retention that runs daily removed the day before a day ago. Only then all of the trail.
        self._windows: list[datetime | None] = [None, now - self._RECENT]
        self._removed = Removed()

    async def leaves(self, writer: UUID, number: int) -> Mapping[int, bytes]:
        """Return by ``seq`` the removed leaves of a batch that was cut."""
        while not self._removed.leaves(writer, number) and await self._look_further():
            pass
        return self._removed.leaves(writer, number)

    async def covers_all(self, writer: UUID, first: int, last: int) -> bool:
        """Whether all of these rows were removed, both ends included."""
        while not self._removed.covers_all(writer, first, last) and await self._look_further():
            pass
        return self._removed.covers_all(writer, first, last)

    async def _look_further(self) -> bool:
        if not self._windows:
            return False
        found = await find_tombstones(self._connection, self._keys, since=self._windows.pop())
        self._removed = Removed()
        for run in complete_runs(found):
            for one in run:
                self._removed.add(one.tombstone)
        return True


async def check_sealed(
    database: Database, found: Sequence[Found], keys: Sequence[VerifierKey], origin: str
) -> None:
    """Return if each of these rows stands in the log under a checkpoint that our key signed.

    Raises ``NotSealed``, ``NotProvable``, ``ProofRejected``, ``CheckpointRejected`` or
    ``CannotRead``.
    """
    for one in found:
        proof = await load_proof(database, one.id, post_quantum=True)
        check_proof(proof, keys, origin=origin)
