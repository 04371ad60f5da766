"""The writer's transactions on PostgreSQL, and what is known when one of them fails.

A batch is one statement, so it is one round trip and all or nothing; what its reference tokens
stand for is in it. Only where one-time claims are made with it is there a transaction around it.
Whoever does not hear back knows nothing: the very same batch is sent again, and its primary key
tells whether it had arrived.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Self

import orjson

from broker.audit.batch import Batch
from broker.audit.event import COLUMNS, Event
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.domain import Reference

Claim = tuple[bytes, datetime]  # a key that succeeds once, and when it may be forgotten

_TYPES: Final = {
    "at": "timestamptz",
    "id": "uuid",
    **dict.fromkeys(("actor_issuers", "actors", "targets", "scopes"), "text[]"),
}
_COLUMNS: Final = ", ".join(COLUMNS)
_TYPED: Final = ", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in COLUMNS)
# The extracts travel as JSON: one array for each of the columns costs this process twice as much,
# and ``unnest`` takes no ragged arrays of arrays.
_INSERT: Final = f"""
WITH inserted AS (
    INSERT INTO audit_event (writer, seq, {_COLUMNS}, record, leaf)
    SELECT $1, $3 + n - 1, {_COLUMNS}, record, leaf
    FROM ROWS FROM (
        json_to_recordset($9::json) AS ({_TYPED}), unnest($10::text[]), unnest($11::bytea[])
    ) WITH ORDINALITY AS event ({_COLUMNS}, record, leaf, n)
), referenced AS (
    INSERT INTO reference_token (hash, jti, claims, kid, expires_at)
    SELECT hash, jti, claims, kid, expires_at
    FROM unnest($12::bytea[], $13::uuid[], $14::text[], $15::text[], $16::timestamptz[])
        AS reference (hash, jti, claims, kid, expires_at)
), keyed AS (
    INSERT INTO audit_person_key (id, issuer, person, wrapped, at)
    SELECT id, issuer, person, wrapped, $5
    FROM unnest($17::bytea[], $18::text[], $19::text[], $20::bytea[])
        AS person_key (id, issuer, person, wrapped)
    ON CONFLICT DO NOTHING
)
INSERT INTO audit_batch (writer, number, first_seq, last_seq, at, root, previous, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""  # noqa: S608 — made of constants
_CLAIM: Final = """
INSERT INTO replay_claim (key, expires_at)
SELECT key, expires_at FROM unnest($1::bytea[], $2::timestamptz[]) AS claim (key, expires_at)
ON CONFLICT DO NOTHING
RETURNING key
"""
_FIND: Final = "SELECT hash FROM audit_batch WHERE writer = $1 AND number = $2"
_UNIQUE_VIOLATION: Final = "23505"
# By SQLSTATE class: the connection, an operator's hand and the server's own faults leave open
# what became of a commit; wrong data and broken constraints are the fault of a row.
_UNCERTAIN: Final = frozenset({"08", "57", "58", "XX"})
_FAULT_OF_A_ROW: Final = frozenset({"22", "23"})


class OutcomeUnknown(Exception):  # noqa: N818 — says what is known
    """The batch may be committed, or may yet be: nothing but the same batch may follow it."""


class NotCommitted(Exception):  # noqa: N818 — says what is known
    """The batch is not there and will not come."""

    def __init__(self, *, fault_of_a_row: bool) -> None:
        super().__init__("PostgreSQL refused the batch")
        self.fault_of_a_row = fault_of_a_row


class ClaimsTaken(Exception):  # noqa: N818 — nothing is wrong
    """Some of the claims succeeded elsewhere before, so nothing was committed."""

    def __init__(self, keys: frozenset[bytes]) -> None:
        super().__init__(f"{len(keys)} claims were taken")
        self.keys = keys


class BatchStore:
    """One connection of the driver itself, with its statements prepared."""

    def __init__(self, connection: Any, timeout: float) -> None:  # noqa: ANN401 — the driver's
        self._connection = connection
        self._timeout = timeout

    @classmethod
    async def open(cls, database: Database, *, statement_timeout: timedelta) -> Self:
        """Return a store on a new connection; each statement on it is bounded.

        Raises ``OSError`` where the database cannot be reached, or would not be durable.
        """
        try:
            store = cls(await database.connect(), statement_timeout.total_seconds())
        except NotDurable as error:
            raise OSError(str(error)) from error
        except DATABASE_ERRORS as error:
            raise OSError(f"PostgreSQL cannot be reached ({type(error).__name__})") from error
        try:
            await store._prepare()
        except BaseException as error:
            store.terminate()
            if isinstance(error, DATABASE_ERRORS):
                raise OSError(f"PostgreSQL is not ready ({type(error).__name__})") from error
            raise
        return store

    async def _prepare(self) -> None:
        prepare = self._connection.prepare
        self._insert = await prepare(_INSERT, timeout=self._timeout)
        self._claim = await prepare(_CLAIM, timeout=self._timeout)
        self._find = await prepare(_FIND, timeout=self._timeout)

    @property
    def closed(self) -> bool:
        """Whether the connection is gone, as far as this side has heard."""
        return bool(self._connection.is_closed())

    def on_loss(self, callback: Any) -> None:  # noqa: ANN401 — any function of one argument
        """Call ``callback`` once the connection is gone."""
        self._connection.add_termination_listener(callback)

    def terminate(self) -> None:
        """Drop the connection without a word; the server rolls back what is open on it."""
        self._connection.terminate()

    async def aclose(self) -> None:
        """Close the connection in good order, if that is quick."""
        try:
            await self._connection.close(timeout=self._timeout)
        except DATABASE_ERRORS:
            self._connection.terminate()

    async def commit(
        self,
        batch: Batch,
        events: Sequence[Event],
        claims: Iterable[Claim],
        references: Sequence[Reference],
    ) -> None:
        """Return once the rows, their batch, all claims and all references are durable, together.

        So are the keys that open what is personal in them. Committing the very same once more is
        harmless. Raises ``OutcomeUnknown``, ``NotCommitted`` or ``ClaimsTaken``.
        """
        # In one order everywhere, so that two processes never wait for each other's claims.
        ordered = sorted(dict(claims).items())
        arguments = _arguments(batch, events, references)
        try:
            if not ordered:
                await self._insert.fetch(*arguments, timeout=self._timeout)
                return
            async with self._connection.transaction():
                await self._claim_all(ordered)
                await self._insert.fetch(*arguments, timeout=self._timeout)
        except ClaimsTaken:
            # A claim may be taken by this batch itself, sent before and not heard of since.
            if not await self._is_committed(batch):
                raise
        except DATABASE_ERRORS as error:
            state = _sqlstate(error)
            if not state or state[:2] in _UNCERTAIN:
                raise OutcomeUnknown("the connection failed during a commit") from error
            if state == _UNIQUE_VIOLATION and await self._is_committed(batch):
                return
            raise NotCommitted(fault_of_a_row=state[:2] in _FAULT_OF_A_ROW) from error

    async def _claim_all(self, claims: list[Claim]) -> None:
        keys, expiries = zip(*claims, strict=True)
        # Waits for whoever holds one of the keys in a transaction that is not over.
        rows = await self._claim.fetch(keys, expiries, timeout=self._timeout)
        taken = frozenset(keys) - {row["key"] for row in rows}
        if taken:
            raise ClaimsTaken(taken)

    async def _is_committed(self, batch: Batch) -> bool:
        try:
            found = await self._find.fetchval(batch.writer, batch.number, timeout=self._timeout)
        except DATABASE_ERRORS as error:
            raise OutcomeUnknown("the connection failed after a commit") from error
        return bool(found == batch.hash)


def _arguments(batch: Batch, events: Sequence[Event], references: Sequence[Reference]) -> list[Any]:
    extracts = [dict(zip(COLUMNS, event.columns, strict=True)) for event in events]
    # Until it is known that a key is stored, every batch with a row under it brings it along.
    keys = {key.id: key for event in events for key in event.keys if not key.stored}.values()
    return [
        *(batch.writer, batch.number, batch.first_seq, batch.last_seq, batch.at),
        *(batch.root, batch.previous, batch.hash),
        orjson.dumps(extracts).decode(),
        [event.record.decode() for event in events],
        [event.leaf for event in events],
        [one.digest for one in references],
        [one.jti for one in references],
        [one.record for one in references],
        [one.kid for one in references],
        [one.expires_at for one in references],
        [key.id for key in keys],
        [key.issuer for key in keys],
        [key.person for key in keys],
        [key.wrapped for key in keys],
    ]


def _sqlstate(error: BaseException) -> str | None:
    # The driver's errors have it; what the connection itself raised has none.
    state = getattr(error, "sqlstate", None)
    return state if isinstance(state, str) else None
