"""What the rules remember, kept in the database, so that a restart goes on where it was.

It is none of the trail, and nobody relies on it: what is missing, of another version, or none of
ours is read anew from the trail (``broker.audit.detect.past``). It holds pseudonyms, names of
clients and of what they asked, and numbers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, TypeVar

import orjson

from broker.audit.detect.engine import Engine
from broker.audit.query import CannotRead, reason_of
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

_T = TypeVar("_T")

FORMAT: Final = 1  # another one whenever what is remembered changes
_SIZE: Final = 32 * 1024  # bytes of a piece: making it takes less than a millisecond of the loop
_DELETE: Final = "DELETE FROM audit_memory WHERE name = $1"
_INSERT: Final = (
    "INSERT INTO audit_memory (name, piece, position, format, part, content, at)"
    " VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp())"
)
_END: Final = "end"  # the last piece, so that it is seen when one is missing
_FIND: Final = (
    "SELECT piece, position, part, content FROM audit_memory"
    " WHERE name = $1 AND format = $2 AND position <= $3 ORDER BY piece"
)


class Forgotten(Exception):  # noqa: N818 — it can be read anew
    """What is kept is none of ours."""


class Kept:
    """What is kept under a name: of one place in the log, whole or not at all."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name

    async def save(self, engine: Engine, position: int) -> None:
        """Return once it is durable what is remembered at this place. Raises ``CannotRead``.

        The engine must not be fed meanwhile.
        """

        async def ask(connection: Any) -> None:  # noqa: ANN401 — the driver's
            async with connection.transaction():
                await connection.execute(_DELETE, self._name)
                for number, (part, content) in enumerate(_pieces(engine)):
                    piece = (self._name, number, position, FORMAT, part, content)
                    await connection.execute(_INSERT, *piece)

        await self._asked(ask)

    async def load(self, engine: Engine, position: int) -> int | None:
        """Have an engine that is new remember; return the place that it is of, at most this one.

        None: nothing is kept. Raises ``Forgotten``: the engine is not to be used; ``CannotRead``.
        """

        async def ask(connection: Any) -> int | None:  # noqa: ANN401 — the driver's
            last, number = None, 0
            async with connection.transaction():
                async for row in connection.cursor(_FIND, self._name, FORMAT, position, prefetch=8):
                    _restore(engine, row, number)
                    last, number = row, number + 1
                    await asyncio.sleep(0)
            if last is not None and last["part"] != _END:
                raise Forgotten("the end of what is kept is missing")
            return None if last is None else int(last["position"])

        return await self._asked(ask)

    async def _asked(self, ask: Callable[[Any], Awaitable[_T]]) -> _T:
        try:
            connection = await self._database.connect()
            try:
                return await ask(connection)
            finally:
                connection.terminate()
        except (NotDurable, *DATABASE_ERRORS) as error:
            raise CannotRead(reason_of(error)) from error


def _pieces(engine: Engine) -> Iterator[tuple[str, bytes]]:
    """Yield parts with some of what is in each, as a list in JSON, in its order."""
    for part, values in groupby(engine.dump(), key=itemgetter(0)):
        held: list[bytes] = []
        size = 0
        for _, value in values:
            held.append(orjson.dumps(value))
            size += len(held[-1])
            if size >= _SIZE:
                yield part, b"[" + b",".join(held) + b"]"
                held, size = [], 0
        if held:
            yield part, b"[" + b",".join(held) + b"]"
    yield _END, b"[]"


def _restore(engine: Engine, row: Mapping[str, Any], number: int) -> None:
    if row["piece"] != number:
        raise Forgotten(f"piece {number} of what is kept is missing")
    if row["part"] == _END:
        return
    try:
        engine.restore(row["part"], orjson.loads(row["content"]))
    except (TypeError, ValueError) as error:
        raise Forgotten(f"piece {number} of what is kept is none of ours") from error
