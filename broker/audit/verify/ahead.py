"""Reading ahead: the database finds the next rows while the last ones are checked."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

_CHUNK: Final = 500  # rows, twice as many at a time: what a processor has in its cache
_NAP: Final = 0.0005  # seconds, in which about as many rows come as fit into the connection


class OneAtATime:
    """A connection of the driver for several tasks, each of which waits for its turn."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 — the driver's
        self._connection = connection
        self._turn = asyncio.Lock()

    async def fetch(self, *question: Any) -> list[Any]:  # noqa: ANN401 — a statement and its values
        """Return every row."""
        async with self._turn:
            return list(await self._connection.fetch(*question))

    async def fetchrow(self, *question: Any) -> Any:  # noqa: ANN401 — a row
        """Return the first row, or None."""
        async with self._turn:
            return await self._connection.fetchrow(*question)

    async def fetchval(self, *question: Any) -> Any:  # noqa: ANN401 — a value
        """Return the first value of the first row, or None."""
        async with self._turn:
            return await self._connection.fetchval(*question)

    async def open(self, *question: Any) -> Any:  # noqa: ANN401 — the driver's
        """Return a cursor."""
        async with self._turn:
            return await self._connection.cursor(*question)

    async def read(self, cursor: Any, count: int) -> list[Any]:  # noqa: ANN401 — the driver's
        """Return the next rows of a cursor."""
        async with self._turn:
            return list(await cursor.fetch(count))


class Ahead:
    """The rows of one statement, by the chunk, of which the next is always on its way."""

    def __init__(self, connection: OneAtATime, cursor: Any) -> None:  # noqa: ANN401 — the driver's
        self._connection = connection
        self._cursor = cursor
        self._next = self._begin()

    @classmethod
    @asynccontextmanager
    async def open(cls, connection: OneAtATime, *question: Any) -> AsyncIterator[Self]:  # noqa: ANN401 — a statement and its values
        """Yield what reads ahead; nothing is on its way afterwards."""
        ahead = cls(connection, await connection.open(*question))
        try:
            yield ahead
        finally:
            ahead._next.cancel()
            await asyncio.gather(ahead._next, return_exceptions=True)

    async def fetch(self) -> list[Any]:
        """Return the next rows; none at the end."""
        while not self._next.done():
            # They come by the two. Woken for each two of them this process would do little else.
            time.sleep(_NAP)  # noqa: ASYNC251 — shorter than the turn of whoever checks rows
            await asyncio.sleep(0)
        rows = await self._next
        if rows:
            self._next = self._begin()
        return rows

    async def each(self) -> AsyncIterator[Any]:
        """Yield one row after the other."""
        while rows := await self.fetch():
            for row in rows:
                yield row

    def _begin(self) -> asyncio.Task[list[Any]]:
        return asyncio.create_task(self._connection.read(self._cursor, _CHUNK))
