"""A few connections of the driver itself, kept with what is prepared on them.

For statements that are on the path of a request: each is bounded in time and answered by the
database within it, or not at all.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, TypeVar

from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

DEADLINE: Final = timedelta(seconds=1)
CONNECTIONS: Final = 4  # one answers some thousands a second

Answer = TypeVar("Answer")


class NoAnswer(Exception):  # noqa: N818 — a state of the database
    """The database did not answer in time; what was asked of it may have been done."""


class KeptConnections:
    """Runs statements, each on a connection that runs no other at the time."""

    def __init__(self, database: Database, *, connections: int = CONNECTIONS) -> None:
        self._database = database
        self._idle: list[Any] = []
        self._places = asyncio.Semaphore(connections)

    # Any: asyncpg's connection, which only broker.db imports.
    async def run(self, statement: Callable[[Any], Awaitable[Answer]]) -> Answer:
        """Return what ``statement`` returns on one of the connections. Raises ``NoAnswer``."""
        try:
            async with asyncio.timeout(DEADLINE.total_seconds()), self._places:
                connection = await self._take()
                try:
                    answer = await statement(connection)
                except BaseException:
                    # Also when the caller has gone: what is left on it is not for the next one.
                    connection.terminate()
                    raise
                self._idle.append(connection)
                return answer
        except (NotDurable, *DATABASE_ERRORS) as error:
            # What killed one connection has most likely killed all of them.
            self._drop_idle()
            raise NoAnswer("the database does not answer") from error

    async def aclose(self) -> None:
        """End every connection."""
        self._drop_idle()

    async def _take(self) -> Any:  # noqa: ANN401 — see above
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
        return await self._database.connect()

    def _drop_idle(self) -> None:
        while self._idle:
            with suppress(*DATABASE_ERRORS):
                self._idle.pop().terminate()
