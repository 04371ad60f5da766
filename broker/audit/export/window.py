"""The part of the log that holds a window of time, written as a native export.

It is the shortest run of positions without a gap that has every sealed row of the window, so
whoever has it sees by the positions alone that no batch between its ends is missing.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from broker.audit.batch import Batch
from broker.audit.buried import Buried, covering, load_buried
from broker.audit.export.native import (
    ExportedBatch,
    ExportedRow,
    ExportedTombstone,
    Footer,
    Header,
    NativeWriter,
)
from broker.audit.proof_source import build_batch, find_batch, find_position, load_paths, load_seal
from broker.audit.query import CannotRead
from broker.audit.queue import MAX_BATCH_ROWS

_TOGETHER: Final = 128  # batches whose paths are looked up at once
_CHUNK: Final = 500  # rows read ahead of a writer
_WRITERS: Final = 32  # of whom rows are read ahead
_WINDOW: Final = """
SELECT writer, min(seq) AS first, max(seq) AS last FROM audit_event
WHERE at >= coalesce($1, '-infinity'::timestamptz) AND at < coalesce($2, 'infinity'::timestamptz)
GROUP BY writer
"""
# Without a window: some look-ups in the index for each writer, instead of a scan of every row.
_EVERYTHING: Final = """
WITH RECURSIVE found (name) AS (
    (SELECT writer FROM audit_event ORDER BY writer LIMIT 1)
    UNION ALL
    SELECT (SELECT writer FROM audit_event WHERE writer > name ORDER BY writer LIMIT 1)
    FROM found WHERE name IS NOT NULL
)
SELECT name AS writer,
       (SELECT seq FROM audit_event WHERE writer = name ORDER BY seq LIMIT 1) AS first,
       (SELECT seq FROM audit_event WHERE writer = name ORDER BY seq DESC LIMIT 1) AS last
FROM found WHERE name IS NOT NULL
"""
_BATCHES: Final = """
SELECT t.position, t.writer, b.number, b.first_seq, b.last_seq, b.at, b.root, b.previous, b.hash
FROM audit_tree AS t LEFT JOIN audit_batch AS b USING (writer, number)
WHERE t.position >= $1 AND t.position < $2 ORDER BY t.position
"""
# No cursor: one for each of many writers would hold every partition open.
_ROWS: Final = (
    "SELECT seq, record FROM audit_event WHERE writer = $1 AND seq >= $2 ORDER BY seq LIMIT $3"
)


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of the log is exported, and against which checkpoint it is proven."""

    header: Header
    size: int  # of the log
    first: int  # position of the first batch
    stop: int  # position after the last one
    unsealed: bool  # rows of the window are in no checkpoint yet, and so not in the export


async def load_window(
    connection: Any,  # noqa: ANN401 — the driver's
    origin_of: Callable[[str], str],
    *,
    since: datetime | None,
    until: datetime | None,
    at: datetime,
) -> Window:
    """Return what to export of a window; ``origin_of`` reads the origin in a checkpoint's note.

    Raises ``NotSealed``, or ``CannotRead``.
    """
    seal = await load_seal(connection)
    header = Header(origin_of(seal.note), since, until, at, seal.note)
    first, stop, unsealed = seal.size, 0, False
    window = (_EVERYTHING,) if since is None and until is None else (_WINDOW, since, until)
    for row in await connection.fetch(*window):
        writer = UUID(int=row["writer"].int)
        for seq in (row["first"], row["last"]):
            batch = await find_batch(connection, writer, seq)
            if batch is None:
                raise CannotRead("rows of the window have no batch: run `broker audit verify`")
            position = await find_position(connection, batch)
            if position is None or position >= seal.size:
                unsealed = True
            else:
                first, stop = min(first, position), max(stop, position + 1)
    return Window(header, seal.size, min(first, stop), stop, unsealed)


async def write_window(
    connection: Any,  # noqa: ANN401 — the driver's
    window: Window,
    write: Callable[[bytes], object],
    *,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Footer:
    """Write the export of a window, in bounded memory; return its last line.

    ``progress`` is called with the batches written so far, and how many there are. Raises
    ``CannotRead``, or what ``write`` raises.
    """
    writer = NativeWriter(write)
    writer.header(window.header)
    rows, graves = _Writers(connection), _Graves(connection)
    cursor = await connection.cursor(_BATCHES, window.first, window.stop)
    while found := await cursor.fetch(_TOGETHER):
        paths = await load_paths(connection, [row["position"] for row in found], window.size)
        for row in found:
            if row["number"] is None:
                raise CannotRead(f"{_at(row)} is missing: run `broker audit verify`")
            batch = build_batch(row)
            if batch.last_seq - batch.first_seq >= MAX_BATCH_ROWS:
                raise CannotRead(f"{_at(row)} was changed: run `broker audit verify`")
            stored = await rows.up_to(batch.writer, batch.first_seq, batch.last_seq)
            if len(stored) <= batch.last_seq - batch.first_seq:
                for tombstone in await graves.new_for(batch):
                    writer.tombstone(tombstone)
            position = row["position"]
            writer.batch(ExportedBatch(batch, position, paths[position], len(stored)))
            for one in stored:
                writer.row(ExportedRow(one["seq"], one["record"].encode()))
        progress(writer.batches, window.stop - window.first)
    return writer.footer()


def _at(row: Any) -> str:  # noqa: ANN401 — the driver's
    return f"the batch at position {row['position']} of the log"


class _Graves:
    """Tombstones of the trail, each shown once, before the first batch that it explains."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 — the driver's
        self._connection = connection
        self._known: list[Buried] | None = None  # looked for once there is a hole
        self._shown: set[bytes] = set()

    async def new_for(self, batch: Batch) -> list[ExportedTombstone]:
        """Return those that removed rows of this batch and were not shown yet."""
        if self._known is None:
            self._known = await load_buried(self._connection, batch.at)
        records = [one.record for one in covering(self._known, batch)]
        new = [record for record in records if record not in self._shown]
        self._shown.update(new)
        return [ExportedTombstone(record) for record in new]


class _Writers:
    """The rows of several writers, each read in the order of ``seq`` and by the chunk."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 — the driver's
        self._connection = connection
        self._ahead: OrderedDict[UUID, list[Any]] = OrderedDict()  # the last used one at the end

    async def up_to(self, writer: UUID, first: int, last: int) -> list[Any]:
        """Return the rows of one batch, in their order."""
        ahead = [row for row in self._ahead.pop(writer, ()) if row["seq"] >= first]
        found: list[Any] = []
        while len(found) <= MAX_BATCH_ROWS:
            if not ahead:
                after = found[-1]["seq"] + 1 if found else first
                ahead = await self._connection.fetch(_ROWS, writer, after, _CHUNK)
                if not ahead:
                    break
            taken = next((n for n, row in enumerate(ahead) if row["seq"] > last), len(ahead))
            found += ahead[:taken]
            ahead = ahead[taken:]
            if ahead or found[-1]["seq"] == last:
                break
        self._ahead[writer] = ahead
        if len(self._ahead) > _WRITERS:
            self._ahead.popitem(last=False)
        return found
