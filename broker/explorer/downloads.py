"""All that a search finds, as a file: written while it is read, in bounded memory.

A file that breaks off is seen to be broken off, since the connection is cut, too.
"""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator
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
        parts = self._commas(question, named=named)
        return await self._file(parts, "csv", "text/csv; charset=utf-8")

    async def lines(self, request: Request) -> Response:
        """Answer the records, one a line, byte for byte as they were hashed."""
        given = parse_fields(request.scope["query_string"], (*FILTERS, ZONE))
        question = await self._begin(given, "jsonl", named=False)
        parts = self._lines(question)
        return await self._file(parts, "jsonl", "application/jsonl; charset=utf-8")

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

    async def _file(self, parts: AsyncGenerator[bytes], ending: str, kind: str) -> Response:
        # What cannot be read at all is a page that says so, and no file.
        first = await anext(parts)
        name = f"audit-{self._sources.now():%Y%m%dT%H%M%SZ}.{ending}"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(_whole(first, parts), media_type=kind, headers=headers)

    async def _commas(self, question: Question, *, named: bool) -> AsyncGenerator[bytes]:
        buffer = io.BytesIO()
        rows = CommaRows(buffer, opened=named)
        opened = opening(self._sources.streaming_reader.open_all)
        async for lot in self._lots(question):
            rows.write(await opened(lot) if named else lot)
            yield _taken(buffer)
        rows.close()
        yield _taken(buffer)

    async def _lines(self, question: Question) -> AsyncGenerator[bytes]:
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


async def _whole(first: bytes, parts: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(parts):
        yield first
        async for part in parts:
            yield part


def _taken(buffer: io.BytesIO) -> bytes:
    data = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return data
