"""How many rows fit a filter in each stretch of time: counted, or estimated where that takes long.

PostgreSQL is asked first what counting would cost. What is dear is counted over a share of the
pages of the table, as large as is bearable, and always the same ones: who asks twice is told the
same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

from sqlalchemy import Select, func, literal, select, text
from sqlalchemy.dialects.postgresql import INTERVAL
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.util import ClauseAdapter

from broker.audit.query import CannotRead, Filter, Pseudonym, build_query, reason_of
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.tables import audit_event

# In the planner's units, of which a page in its turn is one. Measured at 10 million rows.
BEARABLE: Final = 8_000.0
_LEAST: Final = 0.0001  # of the pages: less says nothing
_TRIED: Final = 0.01  # of them, to know what a share costs
_SEED: Final = 1
# By id, which carries the time: there is an index for that on every partition.
_FIRST: Final = text("SELECT at FROM audit_event ORDER BY id LIMIT 1")


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows of an outcome there are from ``start`` on, for one step."""

    start: datetime
    outcome: str
    rows: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted; where ``share`` is less than 1, estimated from that share of the table."""

    counts: Sequence[Count]
    share: float


async def find_first(database: Database) -> datetime | None:
    """Return the time of the oldest row; None: there is none. Raises ``CannotRead``."""
    try:
        async with database.engine.connect() as connection:
            found: datetime | None = (await connection.execute(_FIRST)).scalar_one_or_none()
            return found
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotRead(reason_of(error)) from error


async def count_rows(
    database: Database,
    wanted: Filter,
    *,
    step: timedelta,
    origin: datetime,
    patience: timedelta,
    pseudonym: Pseudonym | None = None,
    bearable: float = BEARABLE,
) -> Counts:
    """Return how many rows fit, by outcome, in each ``step`` from ``origin`` on.

    What costs more than ``bearable``, in the planner's units, is estimated. Raises ``CannotRead``,
    also where PostgreSQL is not done within ``patience``.
    """
    try:
        async with database.engine.begin() as connection:
            await connection.execute(
                select(func.set_config("statement_timeout", _milliseconds(patience), True))  # noqa: FBT003 — PostgreSQL's
            )

            def counting(share: float) -> Select[Any]:
                return _counting(wanted, pseudonym, step, origin, share)

            share = 1.0
            if await _cost(connection, counting(1.0)) > bearable:
                # An index may serve the whole of it, and none serves a share.
                tried = await _cost(connection, counting(_TRIED))
                share = min(1.0, max(_LEAST, _TRIED * bearable / tried))
            rows = (await connection.execute(counting(share))).all()
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotRead(reason_of(error)) from error
    return Counts([Count(row[0], row[1], round(row[2] / share)) for row in rows], share)


def _counting(
    wanted: Filter, pseudonym: Pseudonym | None, step: timedelta, origin: datetime, share: float
) -> Select[Any]:
    table: Any = audit_event
    conditions = build_query(wanted, pseudonym=pseudonym).whereclause
    if share < 1.0:
        table = audit_event.tablesample(func.system(100 * share), seed=literal(_SEED))
        if conditions is not None:
            conditions = ClauseAdapter(table).traverse(conditions)
    start = func.date_bin(literal(step, INTERVAL), table.c.at, literal(origin))
    query = select(start, table.c.outcome, func.count()).group_by(text("1"), text("2"))
    return query if conditions is None else query.where(conditions)


class _Explain(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, query: Select[Any]) -> None:
        self.query = query


@compiles(_Explain)
def _explain(element: _Explain, compiler: SQLCompiler, **arguments: Any) -> str:  # noqa: ANN401 — the library's
    return f"EXPLAIN (FORMAT JSON) {compiler.process(element.query, **arguments)}"


async def _cost(connection: AsyncConnection, query: Select[Any]) -> float:
    """Return what PostgreSQL thinks that a query costs."""
    found = (await connection.execute(cast("Any", _Explain(query)))).scalar_one()
    plan: Mapping[str, Any] = found[0]["Plan"]
    return float(plan["Total Cost"])


def _milliseconds(time: timedelta) -> str:
    return f"{max(1, int(time.total_seconds() * 1000))}ms"  # 0 would be no bound at all
