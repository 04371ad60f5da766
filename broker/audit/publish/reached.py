"""How far each place outside has come, for whoever reads the trail and brings nothing anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select

from broker.audit.query import CannotRead, reason_of
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.tables import audit_cursor

_PREFIX: Final = "publish:"


@dataclass(frozen=True, slots=True)
class Reached:
    """A place, and the newest checkpoint that it has been brought."""

    name: str
    size: int
    at: datetime  # when it was


async def find_reached(database: Database) -> Sequence[Reached]:
    """Return every place that checkpoints were ever brought to. Raises ``CannotRead``."""
    columns = audit_cursor.c
    query = select(columns.name, columns.position, columns.at).where(
        columns.name.startswith(_PREFIX, autoescape=True)
    )
    try:
        async with database.engine.connect() as connection:
            rows = (await connection.execute(query.order_by(columns.name))).all()
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotRead(reason_of(error)) from error
    return [Reached(row.name.removeprefix(_PREFIX), row.position, row.at) for row in rows]
