"""The ledger of policy activations in PostgreSQL, the bundles, and what each replica decides by.

The database numbers the activations, under a lock that it holds until the commit: they follow the
order of commits without a gap. Bundles are written once. What is read is never believed to be what
was written: whoever loads a bundle verifies it again, and its revision is a digest of its content.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, delete, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.tables import policy_activation, policy_bundle, policy_replica
from broker.policy.activation import Action, Activation, Mode, Share, State, add_up

# For whatever is asked, the answer included: a process that is cut off must still be able to end.
_DEADLINE: Final = timedelta(seconds=3)
_CHANNEL: Final = "policy_activation"  # as the trigger of the table has it
_READ: Final = 1000  # rows, the newest: years of them
KEPT: Final = 50  # bundles, the newest; those in use are kept besides
FORGOTTEN_AFTER: Final = timedelta(hours=1)  # a replica that says nothing
# The same as in the trigger: taken before the ledger is read, so that what was read is the last.
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('broker.policy_activation', 0))")
_ACTIVATION: Final = tuple(policy_activation.c)
_REPLICA: Final = tuple(policy_replica.c)


class PolicyLedgerUnavailable(Exception):  # noqa: N818 — a state of the database
    """The ledger did not answer, or not in time."""


class BundleUnknown(Exception):  # noqa: N818 — what was asked for is not there
    """There is no such bundle, or it is no longer kept."""


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants to be in force."""

    action: Action
    mode: Mode
    revision: str
    share: Share
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Replica:
    """What a process decides by, as it last said."""

    writer: UUID
    place: str
    seq: int
    revision: str
    candidate: str  # empty: none; so are the next two
    mode: str
    fault: str
    at: datetime | None = None  # None: given by the database

    def describe(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "writer": str(self.writer),
            "place": self.place,
            "seq": self.seq,
            "revision": self.revision,
            "candidate": self.candidate or None,
            "mode": self.mode or None,
            "fault": self.fault or None,
            "at": None if self.at is None else self.at.isoformat().replace("+00:00", "Z"),
        }


class PolicyLedger:
    """The tables ``policy_activation``, ``policy_bundle`` and ``policy_replica``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with (
                asyncio.timeout(_DEADLINE.total_seconds()),
                self._database.engine.begin() as connection,
            ):
                yield connection
        except (NotDurable, TimeoutError, *DATABASE_ERRORS) as error:
            raise PolicyLedgerUnavailable("the policy ledger cannot be read or written") from error

    async def append(
        self,
        decide: Callable[[State], Order | None],
        *,
        archive: bytes | None = None,
        before_commit: Callable[[State, Activation], Awaitable[None]] | None = None,
    ) -> Activation | None:
        """Return the activation that ``decide`` wants once it is durable; None if it wants none.

        ``decide`` is asked with what is in force, which cannot change until this is done. It is
        given the bundle's ``archive`` where its revision may be new. ``before_commit`` records it:
        if that fails, nothing was activated.

        Raises ``BundleUnknown`` where the bundle is not there and not given, and
        ``PolicyLedgerUnavailable``, and what ``decide`` and ``before_commit`` raise.
        """
        async with self._connection() as connection:
            await connection.execute(_LOCK)
            before = add_up(await _read(connection))
            order = decide(before)
            if order is None:
                return None
            if order.revision:
                await _keep(connection, order.revision, archive)
            inserted = insert(policy_activation).values(
                action=order.action,
                mode=order.mode,
                revision=order.revision,
                percent=order.share.percent,
                clients=sorted(order.share.clients),
                by=order.by,
                reason=order.reason,
                at=func.clock_timestamp(),
            )
            row = (await connection.execute(inserted.returning(*_ACTIVATION))).one()
            activation = _activation(row)
            await _forget(connection, before.after(activation))
            if before_commit is not None:
                await before_commit(before, activation)
        return activation

    async def newest(self) -> int:
        """Return the number of the newest activation; 0: none. Raises as above."""
        async with self._connection() as connection:
            found = await connection.execute(select(func.max(policy_activation.c.seq)))
            return int(found.scalar_one() or 0)

    async def load(self) -> Sequence[Activation]:
        """Return the activations, oldest first; of very many, the newest. Raises as above."""
        async with self._connection() as connection:
            return await _read(connection)

    async def load_bundle(self, revision: str) -> bytes:
        """Return the archive. Raises ``BundleUnknown``, ``PolicyLedgerUnavailable``."""
        async with self._connection() as connection:
            query = select(policy_bundle.c.archive).where(policy_bundle.c.revision == revision)
            found = (await connection.execute(query)).scalar_one_or_none()
        if found is None:
            raise BundleUnknown(f"the bundle {revision[:12]} is not kept")
        return bytes(found)

    async def find_bundles(self, prefix: str = "") -> Sequence[str]:
        """Return the revisions that are kept and begin so, the newest first."""
        query = select(policy_bundle.c.revision).order_by(policy_bundle.c.at.desc())
        async with self._connection() as connection:
            rows = await connection.execute(
                query.where(policy_bundle.c.revision.startswith(prefix))
            )
            return [row.revision for row in rows]

    async def report(self, replica: Replica) -> None:
        """Say what this process decides by. Raises ``PolicyLedgerUnavailable``."""
        values = {
            "place": replica.place,
            "seq": replica.seq,
            "revision": replica.revision,
            "candidate": replica.candidate,
            "mode": replica.mode,
            "fault": replica.fault,
            "at": func.clock_timestamp(),
        }
        said = upsert(policy_replica).values(writer=replica.writer, **values)
        old = policy_replica.c.at < func.clock_timestamp() - FORGOTTEN_AFTER
        async with self._connection() as connection:
            await connection.execute(
                said.on_conflict_do_update(index_elements=["writer"], set_=values)
            )
            await connection.execute(delete(policy_replica).where(old))

    async def retire(self, writer: UUID) -> None:
        """Say that this process has ended. Raises ``PolicyLedgerUnavailable``."""
        async with self._connection() as connection:
            gone = delete(policy_replica).where(policy_replica.c.writer == writer)
            await connection.execute(gone)

    async def find_replicas(self, within: timedelta) -> Sequence[Replica]:
        """Return the processes that have said something lately. Raises as above."""
        lately = policy_replica.c.at >= func.clock_timestamp() - within
        query = select(*_REPLICA).where(lately).order_by(policy_replica.c.place)
        async with self._connection() as connection:
            return [Replica(*row) for row in await connection.execute(query)]

    async def listen(self, notify: Callable[[], None]) -> Any:  # noqa: ANN401 — the driver's
        """Call ``notify`` for each activation from now on; return the connection it comes over.

        Only a hint. Raises ``PolicyLedgerUnavailable``.
        """
        try:
            connection = await self._database.connect()
            try:
                await connection.add_listener(_CHANNEL, lambda *_: notify())
            except BaseException:
                connection.terminate()
                raise
        except (NotDurable, *DATABASE_ERRORS) as error:
            raise PolicyLedgerUnavailable("nobody says when a policy is activated") from error
        return connection


async def _read(connection: AsyncConnection) -> list[Activation]:
    newest = select(*_ACTIVATION).order_by(policy_activation.c.seq.desc()).limit(_READ)
    return [_activation(row) for row in await connection.execute(newest)][::-1]


async def _keep(connection: AsyncConnection, revision: str, archive: bytes | None) -> None:
    if archive is not None:
        kept = upsert(policy_bundle).values(
            revision=revision, archive=archive, at=func.clock_timestamp()
        )
        # Signed anew it is the same policy: the newer signature is the one that counts.
        await connection.execute(
            delete(policy_bundle).where(
                policy_bundle.c.revision == revision, policy_bundle.c.archive != archive
            )
        )
        await connection.execute(kept.on_conflict_do_nothing())
        return
    known = select(policy_bundle.c.revision).where(policy_bundle.c.revision == revision)
    if (await connection.execute(known)).scalar_one_or_none() is None:
        raise BundleUnknown(f"the bundle {revision[:12]} is not kept")


async def _forget(connection: AsyncConnection, state: State) -> None:
    """Delete bundles that are neither in use nor among the newest."""
    in_use = {state.live} if state.trial is None else {state.live, state.trial.revision}
    newest = select(policy_bundle.c.revision).order_by(policy_bundle.c.at.desc()).limit(KEPT)
    await connection.execute(
        delete(policy_bundle).where(
            policy_bundle.c.revision.not_in(newest), policy_bundle.c.revision.not_in(in_use)
        )
    )


def _activation(row: Row[Any]) -> Activation:
    return Activation(
        seq=row.seq,
        action=Action(row.action),
        mode=Mode(row.mode),
        revision=row.revision,
        share=Share(row.percent, frozenset(row.clients)),
        by=row.by,
        reason=row.reason,
        at=row.at,
    )
