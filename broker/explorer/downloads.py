"""All that a search finds, as a file: written while it is read, in bounded memory.

A file that breaks off is seen to be broken off, since the connection is cut, too.
"""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final, cast

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from broker.audit.export.commas import CommaRows
from broker.audit.export.rows import Row, opening
from broker.audit.query import find_rows
from broker.explorer.pages import Trouble, Troubled
from broker.explorer.question import (
    FILTERS,
    ZONE,
    Question,
    Unclear,
    parse_fields,
    parse_question,
)
from broker.explorer.sources import Sources

NAMES: Final = "names"
_TOGETHER: Final = 500  # rows held
_AT_ONCE: Final = 2  # files
_BUSY: Final = Trouble(503, "Two files are being written", "Wait for one of them to end.")


class Downloads:
    """Answers files of rows."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def commas(self, request: Request) -> Response:
        """Answer CSV that a spreadsheet computes nothing of; with names where they are asked."""
        given = parse_fields(request.scope["query_string"], (*FILTERS, ZONE, NAMES))
        named = given.pop(NAMES, "") == "yes"
        if named and self._sources.vault is None:
            raise Unclear(NAMES, "takes the audit key; start the explorer with --key-file")
        question = await self._begin(given, "csv", named=named)
        return self._file(self._commas(question, named=named), "csv", "text/csv; charset=utf-8")

    async def lines(self, request: Request) -> Response:
        """Answer the records, one a line, byte for byte as they were hashed."""
        given = parse_fields(request.scope["query_string"], (*FILTERS, ZONE))
        question = await self._begin(given, "jsonl", named=False)
        return self._file(self._lines(question), "jsonl", "application/jsonl; charset=utf-8")

    async def _begin(self, given: dict[str, str], kind: str, *, named: bool) -> Question:
        sources = self._sources
        question = parse_question(given, sources.zone, sources.now())
        if self._places.locked():
            raise Troubled(_BUSY)
        details: dict[str, Any] = {**question.given, "format": kind, "names": named}
        await sources.record("audit.export", details)
        if question.wanted.names_somebody:
            await sources.reader.require_fit()
        return question

    def _file(self, parts: AsyncIterator[bytes], ending: str, kind: str) -> Response:
        name = f"audit-{self._sources.now():%Y%m%dT%H%M%SZ}.{ending}"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(parts, media_type=kind, headers=headers)

    async def _commas(self, question: Question, *, named: bool) -> AsyncIterator[bytes]:
        buffer = io.BytesIO()
        rows = CommaRows(buffer, opened=named)
        opened = opening(self._sources.streaming_reader.open_all)
        async for lot in self._lots(question):
            rows.write(await opened(lot) if named else lot)
            yield _taken(buffer)
        rows.close()
        yield _taken(buffer)

    async def _lines(self, question: Question) -> AsyncIterator[bytes]:
        async for lot in self._lots(question):
            yield b"".join(cast(str, row["record"]).encode() + b"\n" for row in lot)

    async def _lots(self, question: Question) -> AsyncIterator[list[Row]]:
        sources = self._sources
        found = find_rows(sources.streaming, question.wanted, pseudonym=sources.pseudonym)
        lot: list[Row] = []
        # Closed here, whoever stops reading: what is left behind outlives its database.
        async with self._places, aclosing(found):
            async for row in found:
                lot.append(row)
                if len(lot) == _TOGETHER:
                    yield lot
                    lot = []
            yield lot


def _taken(buffer: io.BytesIO) -> bytes:
    data = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return data
