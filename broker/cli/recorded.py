"""What the audit trail holds of the demo's exchanges, as much of it as is shown."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson

from broker.audit.query import CannotRead, Filter, find_rows
from broker.audit.reader import RecordReader
from broker.cli.show import Recorded

_LOOK: Final = 0.5  # seconds between two looks
_MOST: Final = 50  # rows a look; more at once nobody reads


async def load_recorded(
    reader: RecordReader, *, since: datetime, limit: int | None = None
) -> Sequence[Recorded]:
    """Return the exchanges recorded since then, the oldest first. Raises ``CannotRead``."""
    wanted = Filter(since=since, kind="exchange")
    rows = [row async for row in find_rows(reader.database, wanted, limit=limit)]
    opened = await reader.open_all([orjson.loads(row["record"]) for row in rows])
    recorded = [_recorded(row, record) for row, record in zip(rows, opened, strict=True)]
    return recorded[::-1]


async def follow_recorded(
    reader: RecordReader, *, since: datetime, stop: asyncio.Event
) -> AsyncIterator[Recorded]:
    """Yield each exchange that is recorded from ``since`` on, soon after it was, until ``stop``."""
    seen: set[str] = set()
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOOK)
        try:
            rows = await load_recorded(reader, since=since, limit=_MOST)
        except CannotRead:
            continue  # the broker says so in its own way, to whoever asks for a token
        fresh = [row for row in rows if row.request_id not in seen]
        # From the newest on, and those are known: several may have been recorded at one time.
        since = rows[-1].at if rows else since
        seen = {row.request_id for row in rows}
        for row in fresh:
            yield row


def _recorded(row: Mapping[str, Any], record: Mapping[str, Any]) -> Recorded:
    personal = record["personal"]
    refused = row["outcome"] == "refused"
    asked = record.get("asked") or {}
    return Recorded(
        at=row["at"],
        client=row["client"] or "",
        # One that was refused early has no targets yet, and was asked for by name.
        target=", ".join(row["targets"] or asked.get("audiences", ())),
        subject=(personal.get("subject") or {}).get("subject", ""),
        actors=tuple(actor["subject"] for actor in personal.get("actors", ())),
        outcome=row["reason"] if refused else row["outcome"],
        refused=refused,
        request_id=row["request_id"] or "",
        derived={one["scope"]: one["from"] for one in record.get("derived", ())},
    )
