"""The application: which page is where, and what an error of each kind becomes."""

from typing import Final

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from broker.audit.query import CannotRead
from broker.explorer import links
from broker.explorer.activity import Activities
from broker.explorer.admission import Admission
from broker.explorer.downloads import Downloads
from broker.explorer.gate import Gate
from broker.explorer.local import Troubles
from broker.explorer.pages import Pages, Trouble, Troubled
from broker.explorer.question import Unclear
from broker.explorer.rows import Rows
from broker.explorer.search import Search
from broker.explorer.sources import Sources
from broker.explorer.trail import Trail

_SLOW: Final = frozenset({"QueryCanceledError", "TimeoutError"})


def build_explorer(sources: Sources, admission: Admission, *, address: str) -> Gate:
    """Return the application for whoever sends requests to ``address``, a host and a port."""
    pages = Pages(zone=sources.zone, named=sources.vault is not None)
    rows, activities = Rows(sources, pages), Activities(sources, pages)
    downloads, trail = Downloads(sources), Trail(sources, pages)
    routes = [
        Route(links.SEARCH, Search(sources, pages, activities).__call__),
        Route("/timeline", activities.__call__),
        Route("/export.csv", downloads.commas),
        Route("/export.jsonl", downloads.lines),
        Route(links.TRAIL, trail.show),
        Route(links.VERIFY, trail.verify),
        Route("/rows/{id}", rows.show),
        Route("/rows/{id}/transaction", rows.transaction),
        Route("/rows/{id}/proof", rows.proof),
        Route("/rows/{id}/record", rows.record),
    ]
    troubles = _Troubles(pages)
    handled = ExceptionMiddleware(
        Router(routes, redirect_slashes=False, default=troubles.missing),
        handlers={
            Troubled: troubles.told,
            CannotRead: troubles.unreadable,
            Unclear: troubles.unclear,
        },
    )
    return Gate(handled, admission, pages, address)


class _Troubles(Troubles):
    """Also what a trail that cannot be read is answered with."""

    async def unreadable(self, _request: Request, error: Exception) -> Response:
        return self._pages.trouble(_unreadable(str(error)))


def _unreadable(said: str) -> Trouble:
    if any(name in said for name in _SLOW):
        return Trouble(
            503,
            "This takes too long",
            "The database needs more than five seconds for it.",
            "Name a shorter window of time, or one more field.",
        )
    return Trouble(
        503, "The trail cannot be read", f"{said}.", "Try again, or ask whoever runs the database."
    )
