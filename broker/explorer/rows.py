"""The page of one row: what was decided and why, of whom, from what, and that it is unchanged."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from broker.audit.query import Filter, find_rows
from broker.errors import PUBLIC, Reason
from broker.explorer.gate import MISSING
from broker.explorer.line import Line, build_line, closed_of
from broker.explorer.pages import Pages, Troubled
from broker.explorer.question import Unclear, parse_id
from broker.explorer.seal import Seal, find_seal
from broker.explorer.sources import Sources

_MOST: Final = 50  # rows of a list beside
_PRETTY: Final = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS


@dataclass(frozen=True, slots=True)
class Subject:
    """A row with all that is known of it."""

    row: Mapping[str, Any]
    record: Mapping[str, Any]  # in plain, as far as it can be opened
    line: Line
    closed: str | None

    @property
    def personal(self) -> Mapping[str, Any]:
        """What identifies persons; nothing where it is closed."""
        return {} if self.closed else self.record.get("personal") or {}


class Rows:
    """Answers what is asked of one row."""

    def __init__(self, sources: Sources, pages: Pages) -> None:
        self._sources = sources
        self._pages = pages

    async def show(self, request: Request) -> Response:
        """Answer the page of a row."""
        id = id_of(request)  # noqa: A001 — the column's name
        await self._sources.record("audit.explore", {"row": id})
        subject = await self._load(id)
        line = subject.line
        seal, parents, children = await asyncio.gather(
            find_seal(self._sources, subject.row),
            self._lines(Filter(jti=line.parent)) if is_id(line.parent) else _nothing(),
            self._lines(Filter(parent=line.id)),
        )
        return self._pages.page("row.html", **_values(subject, seal, parents, children))

    async def _load(self, id: str) -> Subject:  # noqa: A002 — the column's name
        rows = [row async for row in find_rows(self._sources.reading, Filter(jti=id), limit=1)]
        if not rows:
            raise Troubled(MISSING)
        record = orjson.loads(rows[0]["record"])
        opened = await self._sources.reader.open(record)
        return Subject(rows[0], opened, build_line(rows[0], opened), closed_of(opened))

    async def _lines(self, wanted: Filter) -> Sequence[Line]:
        found = find_rows(self._sources.reading, wanted, limit=_MOST + 1)
        rows = [row async for row in found]
        opened = await self._sources.reader.open_all([orjson.loads(row["record"]) for row in rows])
        return [build_line(row, record) for row, record in zip(rows, opened, strict=True)]


def id_of(request: Request) -> str:
    """Return the id in the path. Raises ``MISSING``."""
    try:
        return parse_id(request.path_params["id"])
    except Unclear:
        raise Troubled(MISSING) from None


def is_id(text: str | None) -> bool:
    """Whether it is an id of ours, and no digest of a foreign token."""
    try:
        return text is not None and parse_id(text) == text
    except Unclear:
        return False


def _values(
    subject: Subject, seal: Seal, parents: Sequence[Line], children: Sequence[Line]
) -> dict[str, Any]:
    record, personal = subject.record, subject.personal
    decision = personal.get("decision")
    return {
        "row": subject.row,
        "record": record,
        "line": subject.line,
        "personal": personal,
        "closed": subject.closed,
        "reasons": [(reason, meaning_of(reason)) for reason in record.get("reasons") or ()],
        "decision": decision if isinstance(decision, dict) else {},
        "opened": orjson.dumps(record, option=_PRETTY).decode(),
        "seal": seal,
        "parents": parents,
        "children": children[:_MOST],
        "more": len(children) > _MOST,
    }


def meaning_of(reason: str) -> str:
    """Return what a reason means, in the words that a caller reads; nothing for unknown ones."""
    try:
        return PUBLIC[Reason(reason)].description
    except ValueError:
        return ""


async def _nothing() -> Sequence[Line]:
    return ()
