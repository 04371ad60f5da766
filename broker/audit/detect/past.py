"""What is on record already: where the past begins that rules compare with, and which alerts."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

from broker.audit.detect.engine import LOOKBACK
from broker.audit.follow import Follower
from broker.audit.query import CannotRead, reason_of
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

_T = TypeVar("_T")

NAME: Final = "detect"  # the place in the log is kept under this
MOST: Final = 2_000_000  # batches that are read anew, however many a busy broker writes
_AT: Final = """
SELECT b.at FROM audit_tree AS t JOIN audit_batch AS b USING (writer, number)
WHERE t.position < $1 ORDER BY t.position DESC LIMIT 1
"""
_UNSEEN: Final = """
SELECT clock_timestamp() - b.at
FROM audit_cursor AS c
JOIN audit_tree AS t ON t.position = c.position
JOIN audit_batch AS b USING (writer, number)
WHERE c.name = $1
"""
_KNOWN: Final = "SELECT id FROM audit_event WHERE id = ANY($1::uuid[]) AND kind = 'alert'"


class Past:
    """Asks the database. Each question is of its own connection: there are few."""

    def __init__(self, database: Database, follower: Follower) -> None:
        self._database = database
        self._follower = follower

    async def begin(self, position: int) -> int:
        """Return from where on to read what was usual before ``position``.

        Raises ``CannotRead``.
        """
        at = await self._asked(lambda connection: connection.fetchval(_AT, position))
        if at is None:
            return position
        place = await self._follower.place_of(at - LOOKBACK)
        return max(0, min(place, position), position - MOST)

    async def known(self, ids: Sequence[str]) -> frozenset[str]:
        """Return which of these alerts are on record. Raises ``CannotRead``."""
        if not ids:
            return frozenset()
        wanted = [UUID(one) for one in ids]
        rows = await self._asked(lambda connection: connection.fetch(_KNOWN, wanted))
        return frozenset(str(row["id"]) for row in rows)

    async def _asked(self, ask: Callable[[Any], Awaitable[_T]]) -> _T:
        try:
            connection = await self._database.connect()
            try:
                return await ask(connection)
            finally:
                connection.terminate()
        except (NotDurable, *DATABASE_ERRORS) as error:
            raise CannotRead(reason_of(error)) from error


async def find_unseen(database: Database) -> timedelta | None:
    """Return how old the oldest sealed batch is that no rule has seen; None: there is none.

    Also where nothing was looked through yet. Raises ``CannotRead``.
    """
    try:
        connection = await database.connect()
        try:
            age: timedelta | None = await connection.fetchval(_UNSEEN, NAME)
        finally:
            connection.terminate()
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotRead(reason_of(error)) from error
    return age
