"""A workbench that is served: on loopback, on one port, for whoever opens the link to it."""

import asyncio
import time
from types import TracebackType
from typing import Final, Self

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from broker.explorer.admission import Admission
from broker.explorer.gate import MISSING, Gate
from broker.explorer.links import OPEN
from broker.explorer.pages import Trouble, Troubled
from broker.explorer.question import Unclear
from broker.listener import Bounds, Listener
from broker.workbench.page import links
from broker.workbench.page.answers import MOST_BODY, Answers
from broker.workbench.page.judge import Judge
from broker.workbench.page.pages import WorkbenchPages
from broker.workbench.page.scratch import Scratch, find_prefix

HOST: Final = "127.0.0.1"
# For one person's browser; what is sent is at most a file.
_BOUNDS: Final = Bounds(
    head_time=5.0,
    body_time=10.0,
    body_framing=MOST_BODY + 4096,
    stop_time=2,
    connections=64,
    requests=32,
)


class CannotServe(Exception):  # noqa: N818 — an answer to whoever starts it
    """The port cannot be had; ``str()`` says why."""


class Workbench:
    """Serves from ``async with`` on, in the running event loop, until its end."""

    def __init__(self, scratch: Scratch, judge: Judge, *, port: int = 0) -> None:
        self._pages = WorkbenchPages()
        self._answers = Answers(scratch, judge, self._pages, find_prefix(scratch.original))
        self._admission = Admission(time.monotonic)
        self._listener = Listener(self._app, host=HOST, port=port, bounds=_BOUNDS)
        self._serving: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self._listener.port}"

    def new_link(self) -> str:
        """Return a link that lets one browser in, once and soon; the one before does no more."""
        return f"http://{self.address}{OPEN}?link={self._admission.new_link()}"

    async def __aenter__(self) -> Self:
        """Serve. Raises ``CannotServe``."""
        try:
            self._listener.bind()
        except OSError as error:
            raise CannotServe(
                f"{self.address} cannot be used ({error.strerror}); name another one"
            ) from error
        self._gate = Gate(
            self._build(),
            self._admission,
            self._pages,
            self.address,
            forms=frozenset({links.EDIT, links.REVERT}),
        )
        self._serving = asyncio.create_task(self._listener.serve())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Answer what is under way, and end."""
        self._listener.stop()
        if self._serving is not None:
            await self._serving

    def _build(self) -> ExceptionMiddleware:
        answers = self._answers
        routes = [
            Route(links.HOME, answers.show),
            Route(links.EDIT, answers.edit, methods=["POST"]),
            Route(links.REVERT, answers.revert, methods=["POST"]),
            Route(links.PATCH, answers.patch),
        ]
        return ExceptionMiddleware(
            Router(routes, redirect_slashes=False, default=self._missing),
            handlers={Troubled: self._troubled, Unclear: self._unclear},
        )

    async def _missing(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._pages.trouble(MISSING)(scope, receive, send)

    async def _troubled(self, _request: Request, error: Exception) -> Response:
        assert isinstance(error, Troubled)  # noqa: S101 — as it was registered
        return self._pages.trouble(error.trouble)

    async def _unclear(self, _request: Request, error: Exception) -> Response:
        field = error.field if isinstance(error, Unclear) else ""
        return self._pages.trouble(Trouble(400, "Not understood", f"{field}: {error}"))

    async def _app(self, scope: object, receive: object, send: object) -> None:
        await self._gate(scope, receive, send)  # type: ignore[arg-type]  # the listener knows no types of ours
