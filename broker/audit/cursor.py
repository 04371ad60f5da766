"""How far whoever follows the trail has come: durable, and moved by one at a time.

The lock and the move are of one connection. Whoever loses it loses both, and what another one has
moved meanwhile is never moved back: a move names the place that it moves from.
"""

from contextlib import suppress
from typing import Any, Final, Protocol

from broker.audit.query import CannotRead, reason_of
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

_LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended('audit_cursor:' || $1::text, 0))"
_FIND: Final = "SELECT position FROM audit_cursor WHERE name = $1"
_BEGIN: Final = (
    "INSERT INTO audit_cursor (name, position, at) VALUES ($1, $2, clock_timestamp())"
    " ON CONFLICT DO NOTHING"
)
_MOVE: Final = (
    "UPDATE audit_cursor SET position = $2, at = clock_timestamp()"
    " WHERE name = $1 AND position = $3"
)
_MAY: Final = (
    "SELECT has_table_privilege('audit_cursor', 'INSERT')"
    " AND has_table_privilege('audit_cursor', 'UPDATE')"
)
_ONE_ROW: Final = ("INSERT 0 1", "UPDATE 1")


class CursorBusy(CannotRead):
    """Another one follows under this name."""


class CursorLost(CannotRead):
    """Another one has moved it."""


class Cursor(Protocol):
    """A place in the log under a name."""

    async def take(self) -> int | None:
        """Return the place, and hold it until ``aclose``; None: this name is new.

        Raises ``CursorBusy`` or ``CannotRead``.
        """

    async def move(self, position: int) -> None:
        """Return once the place is durable. Raises ``CursorLost`` or ``CannotRead``."""

    async def aclose(self) -> None:
        """Let go of it."""


async def may_keep(database: Database) -> bool:
    """Whether this role may keep its place in the database. Raises ``CannotRead``."""
    try:
        connection = await database.connect()
        try:
            return bool(await connection.fetchval(_MAY))
        finally:
            connection.terminate()
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotRead(reason_of(error)) from error


class StoredCursor:
    """A row of ``audit_cursor``; the role may write there."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._connection: Any = None
        self._position: int | None = None

    async def take(self) -> int | None:
        """Return the place, and hold it until ``aclose``; None: this name is new.

        Raises ``CursorBusy`` or ``CannotRead``.
        """
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._database.connect()
                if not await self._connection.fetchval(_LOCK, self._name):
                    raise CursorBusy(f"another process is at it under the name {self._name!r}")
            self._position = await self._connection.fetchval(_FIND, self._name)
        except (NotDurable, *DATABASE_ERRORS) as error:
            await self.aclose()
            raise CannotRead(reason_of(error)) from error
        except BaseException:
            await self.aclose()
            raise
        return self._position

    async def move(self, position: int) -> None:
        """Return once the place is durable. Raises ``CursorLost`` or ``CannotRead``."""
        if self._connection is None:
            raise CursorLost("it was not taken, or was let go of")
        before = self._position
        try:
            if before is None:
                done = await self._connection.execute(_BEGIN, self._name, position)
            else:
                done = await self._connection.execute(_MOVE, self._name, position, before)
        except (NotDurable, *DATABASE_ERRORS) as error:
            await self.aclose()
            raise CannotRead(reason_of(error)) from error
        except BaseException:
            await self.aclose()
            raise
        if done not in _ONE_ROW:
            await self.aclose()
            raise CursorLost(f"another process has moved {self._name!r} meanwhile")
        self._position = position

    async def aclose(self) -> None:
        """Let go of it: the lock goes with the connection."""
        if self._connection is not None:
            with suppress(*DATABASE_ERRORS):
                await self._connection.close(timeout=1)
            self._connection.terminate()
            self._connection = None
