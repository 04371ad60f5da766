"""Retention: a day of the trail goes once it is verified, kept elsewhere and under a tombstone.

The order, for one day's partition; whoever is killed at any point runs it again and it goes on:

(1) no row is added to it any more;
(2) every row in it is verified, against its batch and the sealed log;
(3) it stands in a file of its own, on disk, which was read back and verifies by itself;
(4) its tombstone is a durable row, whole, and stands in the log under a signed checkpoint;
(5) it is dropped.

(5) never happens without (4), and (4) is never about anything else than what (2) has just read: a
tombstone of a run before counts only if it says the very same. Batches and the log itself stay.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

from broker.audit.checkpoint import CheckpointRejected
from broker.audit.note import SigningKeys
from broker.audit.proof import ProofRejected
from broker.audit.proof_lookup import NotProvable
from broker.audit.proof_source import NotSealed, read_snapshot
from broker.audit.removal import build_tombstones
from broker.audit.retain_store import CannotRetain, PartitionStore
from broker.audit.retained import Gap, check_file, file_of, write_day
from broker.audit.survey import Survey, Suspicious, survey_day
from broker.audit.tombstone import ACTION, Exported, render_tombstone
from broker.audit.tombstone_lookup import (
    Found,
    RemovedRows,
    check_sealed,
    complete_runs,
    find_tombstones,
)
from broker.audit.tombstone_note import sign_tombstone
from broker.db.engine import Database

LEAST: Final = timedelta(days=2)  # what is younger may still be written, or be about live tokens
_CLOCKS: Final = timedelta(hours=1)  # by which those of two machines may differ
_SEALED_WITHIN: Final = 90.0  # seconds


class Steps(Protocol):
    """Tells somebody what is being done."""

    def step(self, title: str) -> AbstractContextManager[Callable[[str], None]]:
        """Begin a step; what is yielded takes details of it."""


class Record(Protocol):
    """Writes an event into the trail, as ``AuditTrail.record`` does."""

    def __call__(self, action: str, details: Mapping[str, Any], *, by: str) -> Awaitable[None]:
        """Return once it is durable."""


@dataclass(frozen=True, slots=True)
class Retired:
    """A day that is gone from the database."""

    day: date
    rows: int
    file: Path
    sha256: str


class Retention:
    """Removes days of one trail. ``seal`` makes a checkpoint, or lets a moment pass."""

    def __init__(
        self,
        database: Database,
        partitions: PartitionStore,
        *,
        keys: SigningKeys,
        record: Record,
        seal: Callable[[], Awaitable[None]],
        older_than: timedelta,
        folder: Path,
        by: str,
        steps: Steps,
    ) -> None:
        self._database = database  # without a statement timeout, for it reads by the chunk
        self._partitions = partitions
        self._signing = keys
        self._keys = keys.public
        self._origin = keys.name
        self._record = record
        self._seal = seal
        self._older_than = older_than
        self._folder = folder
        self._by = by
        self._steps = steps

    async def retain(self, day: date) -> Retired:
        """Remove a day that is old enough. Of what is not as it should be, nothing is removed.

        Raises ``Suspicious`` or ``NotSealed`` where the trail has to be looked at, and
        ``CannotRetain``, ``CannotRead``, ``FileRejected``, ``OSError`` or what recording raises.
        """
        since = await self._partitions.retire(day)
        try:
            survey = await self._survey(day)
            exported = await self._export(survey)
        except BaseException:
            with suppress(CannotRetain):  # a partition that stays closed to new rows is as it was
                await self._partitions.readmit(day)
            raise
        await self._bury(survey, exported, since - _CLOCKS)
        with self._steps.step(f"{day} dropped"):
            await self._partitions.drop(day)
        return Retired(day, survey.rows, self._folder / exported.name, exported.sha256)

    async def _survey(self, day: date) -> Survey:
        with self._steps.step(f"{day} verified") as tell:
            async with read_snapshot(self._database) as connection:
                survey = await survey_day(
                    connection,
                    day,
                    keys=self._keys,
                    origin=self._origin,
                    removed=RemovedRows(connection, self._keys, datetime.now(UTC)),
                )
            tell(f"{survey.rows:,} rows")
        return survey

    async def _export(self, survey: Survey) -> Exported:
        """Return what is said of the day's file; if it is there already, it is only read."""
        path = self._folder / file_of(survey.day)
        with self._steps.step(f"{survey.day} exported") as tell:
            made = not path.exists()
            if made:
                async with read_snapshot(self._database) as connection:
                    await write_day(connection, survey.day, path, origin=self._origin)
            try:
                exported, gaps = await asyncio.to_thread(
                    check_file, path, survey, keys=self._keys, origin=self._origin
                )
                await self._account_for(gaps)
            except BaseException:
                if made:
                    path.unlink()
                raise
            tell(str(path))
        return exported

    async def _account_for(self, gaps: Sequence[Gap]) -> None:
        """Return if every row that is missing is under a tombstone."""
        if not gaps:
            return
        async with read_snapshot(self._database) as connection:
            removed = RemovedRows(connection, self._keys, datetime.now(UTC))
            for gap in gaps:
                batch = gap.batch
                if not await removed.covers_all(batch.writer, gap.first_seq, gap.last_seq):
                    raise Suspicious(
                        f"batch {batch.number} of writer {batch.writer}: its rows"
                        f" {gap.first_seq} to {gap.last_seq} are missing, and no tombstone has them"
                    )

    async def _bury(self, survey: Survey, exported: Exported, since: datetime) -> None:
        """Return once the day's tombstone is sealed."""
        with self._steps.step(f"{survey.day} buried") as tell:
            run = await self._find_run(survey, exported, since)
            if run is None:
                await self._write_tombstones(survey, exported)
                run = await self._find_run(survey, exported, since)
            if run is None:
                raise CannotRetain("the tombstone was written and is not there: look at the trail")
            await self._await_seal(run)
            tell(f"tombstone {run[0].id}")

    async def _find_run(
        self, survey: Survey, exported: Exported, since: datetime
    ) -> Sequence[Found] | None:
        """Return a tombstone, in all its parts, that says exactly this; None: there is none."""
        async with read_snapshot(self._database) as connection:
            found = await find_tombstones(connection, self._keys, since=since)
        for run in complete_runs(found):
            first = run[0].tombstone
            removed = [removal for one in run for removal in one.tombstone.removed]
            if (first.day, first.exported, removed) == (survey.day, exported, survey.removals):
                return run
        return None

    async def _write_tombstones(self, survey: Survey, exported: Exported) -> None:
        for tombstone in build_tombstones(
            uuid4(), survey.day, survey.removals, exported, older_than=self._older_than
        ):
            signed = sign_tombstone(tombstone, self._signing)
            await self._record(ACTION, render_tombstone(signed), by=self._by)

    async def _await_seal(self, run: Sequence[Found]) -> None:
        deadline = time.monotonic() + _SEALED_WITHIN
        while True:
            try:
                await check_sealed(self._database, run, self._keys, self._origin)
            except NotSealed:
                if time.monotonic() > deadline:
                    raise CannotRetain(
                        "the tombstone is written and no checkpoint has sealed it yet: run this"
                        " again, and it goes on from here"
                    ) from None
            except (NotProvable, ProofRejected, CheckpointRejected) as error:
                raise Suspicious(f"the tombstone itself: {error}") from None
            else:
                return
            await self._seal()
