"""The search page: filters, a timeline of what fits, and the rows, the newest first."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from broker.audit.page import (
    CursorRejected,
    Position,
    parse_cursor,
    position_of,
    render_cursor,
)
from broker.audit.query import find_rows
from broker.errors import Reason
from broker.explorer import links
from broker.explorer.activity import Activities, Activity
from broker.explorer.line import Line, build_line, record_of
from broker.explorer.pages import Pages
from broker.explorer.question import (
    AFTER,
    CHOICES,
    FILTERS,
    ZONE,
    Question,
    Unclear,
    parse_fields,
    parse_question,
)
from broker.explorer.sources import Sources

FIELDS: Final = (*FILTERS, ZONE, AFTER)
_SHOWN: Final = 50  # rows of a page
_RARE: Final = frozenset(FIELDS) - {
    *("subject", "client", "target", "outcome", "since", "until", AFTER)
}
_WINDOWS: Final = ("1h", "24h", "7d", "30d")


@dataclass(frozen=True, slots=True)
class Found:
    """One page of rows."""

    lines: Sequence[Line]
    after: str | None  # where the next one begins; None: there is none
    paged: bool  # there is one before


class Search:
    """Answers the search, in whole pages."""

    def __init__(self, sources: Sources, pages: Pages, activities: Activities) -> None:
        self._sources = sources
        self._pages = pages
        self._activities = activities

    async def __call__(self, request: Request) -> Response:
        """Answer a search; what cannot be understood is said at its field."""
        query = request.scope["query_string"]
        given: dict[str, str] = {}
        try:
            given = parse_fields(query, FIELDS)
            if "" in given.values():
                # A form sends what is empty along; what is shared should not have it.
                full = {name: value for name, value in given.items() if value}
                return RedirectResponse(links.search_link(full), 303)
            question = parse_question(given, self._sources.zone, self._sources.now())
            after = self._parse_after(question)
        except Unclear as unclear:
            return self._page(None, given, unclear=unclear, status=400)
        await self._sources.record("audit.explore", given)
        activity, found = await asyncio.gather(
            self._activities.draw_at_once(question), self._find(question, after)
        )
        return self._page(question, question.given, found=found, activity=activity)

    def _parse_after(self, question: Question) -> Position | None:
        """Return behind which row the page begins. Raises ``Unclear``."""
        if question.after is None:
            return None
        try:
            return parse_cursor(question.after, self._sources.cursor_key, question.context)
        except CursorRejected as error:
            raise Unclear("address", str(error)) from None

    async def _find(self, question: Question, after: Position | None) -> Found:
        sources = self._sources
        if question.wanted.names_somebody:
            await sources.reader.require_fit()
        found = find_rows(
            *(sources.reading, question.wanted),
            # One more than is shown, to know whether there is more.
            limit=_SHOWN + 1,
            pseudonym=sources.pseudonym,
            after=after,
        )
        rows = [row async for row in found]
        opened = await sources.reader.open_all([record_of(row) for row in rows[:_SHOWN]])
        lines = [build_line(row, record) for row, record in zip(rows, opened, strict=False)]
        more = None
        if len(rows) > _SHOWN:
            last = position_of(rows[_SHOWN - 1])
            more = render_cursor(last, sources.cursor_key, question.context)
        return Found(lines, more, after is not None)

    def _page(
        self,
        question: Question | None,
        given: Mapping[str, str],
        *,
        found: Found | None = None,
        activity: Activity | None = None,
        unclear: Unclear | None = None,
        status: int = 200,
    ) -> Response:
        return self._pages.page(
            "search.html",
            status=status,
            zone=question.zone if question else self._sources.zone,
            given=given,
            but=lambda **changes: _but(given, changes),
            next=lambda after: {**_but(given, {}), AFTER: after},
            chips=[(name, given[name]) for name in (*FILTERS, ZONE) if name in given],
            more=unclear is not None or any(name in given for name in _RARE),
            found=found,
            activity=activity,
            unclear=unclear,
            choices=CHOICES,
            windows=_WINDOWS,
            reasons=[reason.value for reason in Reason],
        )


def _but(given: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    changed = {**given, **changes}
    return {name: value for name, value in changed.items() if value and name != AFTER}
