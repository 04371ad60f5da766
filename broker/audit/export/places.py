"""Where rows stand in the log, for formats that say so."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from broker.audit.batch import Batch
from broker.audit.export.columns import PLACE
from broker.audit.export.ocsf import Place
from broker.audit.head import Head
from broker.audit.proof_source import find_batch, find_position, load_batch

_WRITERS: Final = 256  # of whom the last batch is remembered


class Places:
    """Finds the place of each row; quick for rows that come in the order of a query.

    ``head`` is of the newest checkpoint, None if there is none yet.
    """

    def __init__(self, connection: Any, head: Head | None) -> None:  # noqa: ANN401 — the driver's
        self._connection = connection
        self._head = head
        # The last batch of each writer, and where it stands; the last used one at the end.
        self._last: OrderedDict[UUID, tuple[Batch, int | None]] = OrderedDict()

    async def enrich(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        """Return the rows, each with its place."""
        return [{**row, PLACE: await self._place(row)} for row in rows]

    async def _place(self, row: Mapping[str, Any]) -> Place:
        writer, seq = UUID(int=row["writer"].int), row["seq"]
        batch, position = await self._find(writer, seq) or (None, None)
        head = self._head
        sealed = head is not None and position is not None and position < head.size
        return Place(
            writer=writer,
            seq=seq,
            leaf=row["leaf"],
            batch=None if batch is None else batch.number,
            position=position if sealed else None,
            head=head if sealed else None,
        )

    async def _find(self, writer: UUID, seq: int) -> tuple[Batch, int | None] | None:
        known = self._last.pop(writer, None)
        batch: Batch | None
        if known is not None and known[0].first_seq <= seq <= known[0].last_seq:
            self._last[writer] = known
            return known
        if known is not None and seq == known[0].first_seq - 1:
            batch = await load_batch(self._connection, writer, known[0].number - 1)
        else:
            batch = await find_batch(self._connection, writer, seq)
        if batch is None or not batch.first_seq <= seq <= batch.last_seq:
            return None
        found = self._last[writer] = batch, await find_position(self._connection, batch)
        if len(self._last) > _WRITERS:
            self._last.popitem(last=False)
        return found
