"""Signing keys in PostgreSQL, and the one transaction that changes them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.tables import key_generation, signing_key
from broker.keys.provider import Custody, SealedKey, StoredKey, TokenObject
from broker.keys.rotation import KeyRecord, KeyState, KeyTable, Plan

# Held for the transaction of one transition. It spares the losers their work; what keeps them
# from doing harm is the compare-and-set on the generation.
_ADVISORY_LOCK: Final = 0x6B657973  # "keys"

_ENTERED: Final = {
    KeyState.PREPARED: "created_at",
    KeyState.ACTIVE: "activated_at",
    KeyState.RETIRING: "retiring_at",
    KeyState.RETIRED: "retired_at",
}
_CUSTODY: Final = tuple(
    signing_key.c[name] for name in ("provider", "reference", "wrapped_key", "wrapped_dek")
)
_RECORD: Final = tuple(
    signing_key.c[name]
    for name in (
        *("kid", "algorithm", "state", "generation"),
        *("created_at", "activated_at", "retiring_at", "retired_at"),
    )
)
_PUBLISHED: Final = (
    select(*_RECORD, *_CUSTODY)
    .where(signing_key.c.state != KeyState.RETIRED)
    .order_by(signing_key.c.algorithm, signing_key.c.created_at, signing_key.c.kid)
)
# The database's clock is the one that all processes share. As of the statement, not of the
# transaction: waiting for a lock must not make a key older or younger.
_NOW: Final = func.clock_timestamp()


class GenerationLost(Exception):  # noqa: N818 — somebody else was faster; nothing is wrong
    """The keys have changed since the transition was planned, or are being changed now."""


class StoreUnavailable(Exception):  # noqa: N818 — a state of the database
    """The database did not answer, or not in time."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that a transition adds."""

    kid: str
    state: KeyState
    public_jwk: Mapping[str, Any]
    custody: Custody


class KeyStore:
    """The tables ``signing_key`` and ``key_generation``."""

    def __init__(self, database: Database) -> None:
        self._engine = database.engine

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (NotDurable, *DATABASE_ERRORS) as error:
            raise StoreUnavailable("the keys cannot be read or changed") from error

    async def generations(self) -> dict[str, int]:
        """Return the number of transitions by algorithm: if it is the same, so are the keys."""
        query = select(key_generation.c.algorithm, key_generation.c.generation)
        async with self._connection() as connection:
            return {row.algorithm: row.generation for row in await connection.execute(query)}

    async def published(self) -> tuple[StoredKey, ...]:
        """Return every key that is not retired, in a stable order."""
        async with self._connection() as connection:
            return tuple(map(_stored, await connection.execute(_PUBLISHED)))

    async def find(self, kid: str) -> KeyRecord | None:
        """Return the key of that name, whatever has become of it."""
        query = select(*_RECORD).where(signing_key.c.kid == kid)
        async with self._connection() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _record(row)

    async def records(self) -> tuple[KeyRecord, ...]:
        """Return every key that there ever was, for people to read."""
        query = select(*_RECORD).order_by(signing_key.c.algorithm, signing_key.c.created_at)
        async with self._connection() as connection:
            return tuple(_record(row) for row in await connection.execute(query))

    async def table(self, algorithm: str) -> KeyTable:
        """Return the keys of one algorithm and the time, to plan a transition on."""
        generation = select(key_generation.c.generation).where(
            key_generation.c.algorithm == algorithm
        )
        keys = select(*_RECORD).where(
            signing_key.c.algorithm == algorithm, signing_key.c.state != KeyState.RETIRED
        )
        async with self._connection() as connection:
            # The generation first: keys that are newer than it only make the plan lose.
            counted = (await connection.execute(generation)).scalar_one_or_none() or 0
            records = tuple(_record(key) for key in await connection.execute(keys))
            at = (await connection.execute(select(_NOW))).scalar_one()
        return KeyTable(algorithm, counted, at, records)

    async def apply(
        self, plan: Plan, new: Sequence[NewKey], before_commit: Callable[[], Awaitable[None]]
    ) -> None:
        """Make the planned transition: all of it, or ``GenerationLost`` and none.

        ``before_commit`` records it. If that fails the keys stay as they are; if the commit
        fails after it, a transition is recorded that did not happen, and never the reverse.
        """
        async with self._connection() as connection:
            await self._lock(connection)
            await self._advance(connection, plan)
            for kid, before, after in plan.changes:
                await self._change(connection, plan, kid, before, after)
            for key in new:
                await connection.execute(insert(signing_key).values(**_values(plan, key)))
            await before_commit()

    async def rewrap(
        self,
        rewrapped: Callable[[StoredKey], SealedKey | None],
        before_commit: Callable[[Sequence[str]], Awaitable[None]],
    ) -> tuple[str, ...]:
        """Put into each published row what ``rewrapped`` returns for it; None leaves it.

        All rows or none. ``before_commit`` is told which, and records it. Every generation is
        advanced: a key that somebody made meanwhile, beside the keys of before, comes too late.
        """
        async with self._connection() as connection:
            await self._lock(connection)
            rows = tuple(map(_stored, await connection.execute(_PUBLISHED.with_for_update())))
            changed = {
                row.record.kid: sealed for row in rows if (sealed := rewrapped(row)) is not None
            }
            for kid, sealed in changed.items():
                await connection.execute(
                    update(signing_key)
                    .where(signing_key.c.kid == kid)
                    .values(wrapped_key=sealed.wrapped_key, wrapped_dek=sealed.wrapped_dek)
                )
            if changed:
                advanced = {"generation": key_generation.c.generation + 1}
                await connection.execute(update(key_generation).values(advanced))
                await before_commit(tuple(changed))
        return tuple(changed)

    async def _lock(self, connection: AsyncConnection) -> None:
        locked = select(func.pg_try_advisory_xact_lock(_ADVISORY_LOCK))
        if not (await connection.execute(locked)).scalar_one():
            raise GenerationLost("another process changes the keys")

    async def _advance(self, connection: AsyncConnection, plan: Plan) -> None:
        # A leader that slept since it made its plan finds another number here and loses.
        first = (
            upsert(key_generation)
            .values(algorithm=plan.algorithm, generation=1)
            .on_conflict_do_nothing()
        )
        later = (
            update(key_generation)
            .where(
                key_generation.c.algorithm == plan.algorithm,
                key_generation.c.generation == plan.generation,
            )
            .values(generation=plan.generation + 1)
        )
        result = await connection.execute(later if plan.generation else first)
        if result.rowcount != 1:
            raise GenerationLost("the keys have changed")

    async def _change(
        self,
        connection: AsyncConnection,
        plan: Plan,
        kid: str,
        before: KeyState,
        after: KeyState,
    ) -> None:
        values: dict[str, Any] = {
            "state": after,
            "generation": plan.generation + 1,
            _ENTERED[after]: _NOW,
        }
        if after is KeyState.RETIRED:
            # What is gone cannot leak: the private part is not kept.
            values |= {"reference": None, "wrapped_key": b"", "wrapped_dek": b""}
        statement = (
            update(signing_key)
            .where(signing_key.c.kid == kid, signing_key.c.state == before)
            .values(**values)
        )
        if (await connection.execute(statement)).rowcount != 1:
            raise GenerationLost("a key is not in the state that was planned on")


def _values(plan: Plan, key: NewKey) -> dict[str, Any]:
    return {
        "kid": key.kid,
        "algorithm": plan.algorithm,
        "state": key.state,
        "generation": plan.generation + 1,
        "public_jwk": dict(key.public_jwk),
        "created_at": _NOW,
        _ENTERED[key.state]: _NOW,
        **_columns(key.custody),
    }


def _columns(custody: Custody) -> dict[str, Any]:
    match custody:
        case SealedKey():
            return {
                "provider": "postgresql",
                "reference": None,
                "wrapped_key": custody.wrapped_key,
                "wrapped_dek": custody.wrapped_dek,
            }
        case TokenObject():
            return {
                "provider": "pkcs11",
                "reference": custody.reference,
                "wrapped_key": b"",
                "wrapped_dek": b"",
            }


def _stored(row: Row[*tuple[Any, ...]]) -> StoredKey:
    custody: Custody = (
        TokenObject(row.reference or "")
        if row.provider == "pkcs11"
        else SealedKey(row.wrapped_key, row.wrapped_dek)
    )
    return StoredKey(_record(row), custody)


def _record(row: Row[*tuple[Any, ...]]) -> KeyRecord:
    return KeyRecord(
        kid=row.kid,
        algorithm=row.algorithm,
        state=KeyState(row.state),
        generation=row.generation,
        created_at=row.created_at,
        activated_at=row.activated_at,
        retiring_at=row.retiring_at,
        retired_at=row.retired_at,
    )
