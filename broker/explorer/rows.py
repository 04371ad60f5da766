"""The page of one row: what was decided and why, of whom, from what, and that it is unchanged."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from starlette.requests import Request
from starlette.responses import Response

from broker.audit.proof import render_proof
from broker.audit.proof_lookup import NotProvable, load_proof
from broker.audit.proof_source import NotSealed
from broker.audit.query import Filter, find_rows
from broker.audit.transaction import Step, find_transaction
from broker.explorer.compare import compare
from broker.explorer.facts import decision_facts, lives_of, party_facts, reasons_of
from broker.explorer.gate import MISSING
from broker.explorer.line import Line, build_line, closed_of, record_of
from broker.explorer.pages import Pages, Trouble, Troubled
from broker.explorer.question import ZONE, Unclear, parse_fields, parse_id, parse_question
from broker.explorer.seal import Seal, find_seal
from broker.explorer.sources import Sources
from broker.explorer.tree import draw_tree

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
        personal = self.record.get("personal")
        return personal if isinstance(personal, Mapping) and not self.closed else {}


class Rows:
    """Answers what is asked of one row."""

    def __init__(self, sources: Sources, pages: Pages) -> None:
        self._sources = sources
        self._pages = pages

    async def show(self, request: Request) -> Response:
        """Answer the page of a row."""
        id = id_of(request)  # noqa: A001 — the column's name
        zone = self._zone_of(request)
        await self._sources.record("audit.explore", {"row": id})
        subject = await self._load(id)
        line = subject.line
        seal, parents, children = await asyncio.gather(
            find_seal(self._sources, subject.row),
            self._lines(Filter(jti=line.parent)) if is_id(line.parent) else _nothing(),
            self._lines(Filter(parent=line.id)),
        )
        return self._pages.page(
            "row.html", zone=zone, **_values(subject, seal, parents, children, zone)
        )

    async def transaction(self, request: Request) -> Response:
        """Answer the page of the transaction that a row belongs to."""
        id = id_of(request)  # noqa: A001 — the column's name
        sources, zone = self._sources, self._zone_of(request)
        await sources.record("audit.explore", {"transaction": id})
        found = await find_transaction(sources.reader, id)
        if found is None:
            raise Troubled(MISSING)
        lines = sorted(_lines_of(found.steps), key=lambda line: line.at)
        return self._pages.page(
            "transaction.html",
            current=id,
            transaction=found,
            picture=draw_tree(found, current=id, given=self._pages.kept(zone), zone=zone),
            zone=zone,
            lines=lines,
            refused=sum(line.outcome == "refused" for line in lines),
        )

    async def proof(self, request: Request) -> Response:
        """Answer the proof of a row, as ``broker audit prove`` writes it."""
        id = id_of(request)  # noqa: A001 — the column's name
        await self._sources.record("audit.prove", {"row": id})
        try:
            proof = await load_proof(self._sources.reading, UUID(id))
        except (NotSealed, NotProvable) as error:
            raise Troubled(Trouble(409, "There is no proof of this row", f"{error}.")) from None
        return _file(render_proof(proof).encode(), f"{id}.tlog-proof", "text/plain; charset=utf-8")

    async def record(self, request: Request) -> Response:
        """Answer a record byte for byte as it was hashed."""
        id = id_of(request)  # noqa: A001 — the column's name
        await self._sources.record("audit.export", {"row": id, "format": "record"})
        row = await self._find(id)
        return _file(row["record"].encode(), f"{id}.json", "application/json")

    def _zone_of(self, request: Request) -> ZoneInfo:
        """Return the zone that the address names. Raises ``Unclear``."""
        sources = self._sources
        given = parse_fields(request.scope["query_string"], (ZONE,))
        return parse_question(given, sources.zone, sources.now()).zone

    async def _find(self, id: str) -> Mapping[str, Any]:  # noqa: A002 — the column's name
        rows = [row async for row in find_rows(self._sources.reading, Filter(jti=id), limit=1)]
        if not rows:
            raise Troubled(MISSING)
        return rows[0]

    async def _load(self, id: str) -> Subject:  # noqa: A002 — the column's name
        row = await self._find(id)
        opened = await self._sources.reader.open(record_of(row))
        return Subject(row, opened, build_line(row, opened), closed_of(opened))

    async def _lines(self, wanted: Filter) -> Sequence[Line]:
        found = find_rows(self._sources.reading, wanted, limit=_MOST + 1)
        rows = [row async for row in found]
        opened = await self._sources.reader.open_all([record_of(row) for row in rows])
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
    subject: Subject,
    seal: Seal,
    parents: Sequence[Line],
    children: Sequence[Line],
    zone: ZoneInfo,
) -> dict[str, Any]:
    record, personal = subject.record, subject.personal
    comparison = compare(record)
    return {
        "row": subject.row,
        "record": record,
        "line": subject.line,
        "closed": subject.closed,
        "reasons": reasons_of(record),
        "decision": list(decision_facts(record, personal)),
        "parties": list(party_facts(record, personal)),
        "comparison": comparison,
        "lives": lives_of(comparison, zone),
        "opened": _pretty(record, subject.row["record"]),
        "seal": seal,
        "parents": parents,
        "children": children[:_MOST],
        "more": len(children) > _MOST,
    }


def _pretty(record: Mapping[str, Any], raw: str) -> str:
    try:
        return orjson.dumps(record, option=_PRETTY).decode()
    except TypeError:  # nested beyond anything of ours
        return raw


async def _nothing() -> Sequence[Line]:
    return ()


def _lines_of(steps: Sequence[Step]) -> Iterator[Line]:
    # How deep a tree is, is up to whoever wrote the rows.
    waiting = list(steps)
    while waiting:
        step = waiting.pop()
        yield build_line(step.row, step.record)
        waiting += step.steps


def _file(data: bytes, name: str, kind: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type=kind, headers=headers)
