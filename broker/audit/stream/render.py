"""Rows as messages, in portions of milliseconds: others on this loop have their turn between."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from broker.audit.export.columns import OPENED, parse_record
from broker.audit.follow import Row
from broker.audit.reader import RecordReader
from broker.audit.stream.message import Message, build_message
from broker.settings.streams import Form

_PORTION: Final = 16  # rows between two moments at which others have their turn


class Renderer:
    """Makes messages of rows; with ``reader``, of records that say who persons are."""

    def __init__(
        self, form: Form, *, product_version: str, reader: RecordReader | None = None
    ) -> None:
        self._form = form
        self._version = product_version
        self._reader = reader

    async def render(self, rows: Sequence[Row]) -> list[Message]:
        """Return the messages in the order of the rows. Raises ``CannotRead``."""
        messages: list[Message] = []
        for start in range(0, len(rows), _PORTION):
            some = await self._opened(rows[start : start + _PORTION])
            messages += [
                build_message(row, self._form, product_version=self._version) for row in some
            ]
            await asyncio.sleep(0)
        return messages

    async def _opened(self, rows: Sequence[Row]) -> Sequence[Row]:
        if self._reader is None:
            return rows
        records = {index: record for index, row in enumerate(rows) if (record := _record(row))}
        opened = await self._reader.open_all(list(records.values()))
        found = dict(zip(records, opened, strict=True))
        return [
            {**row, OPENED: found[index]} if index in found else row
            for index, row in enumerate(rows)
        ]


def _record(row: Row) -> dict[str, Any] | None:
    """Return the record of a row; None: nobody of ours wrote it, so there is nothing to open."""
    try:
        return parse_record(row)
    except ValueError:
        return None
