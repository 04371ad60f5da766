"""Pages that are served on this machine alone: on loopback, behind a link that works once.

What pages they are is said by whoever derives from ``LocalServer``; who gets in, and from where, is
the gate's to say and the same for all of them.
"""

import asyncio
import time
from types import TracebackType
from typing import Final, Self

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from broker.explorer.admission import Admission
from broker.explorer.gate import MISSING, Gate
from broker.explorer.links import OPEN
from broker.explorer.pages import Pages, Trouble, Troubled
from broker.explorer.question import Unclear
from broker.listener import Bounds, Listener

HOST: Final = "127.0.0.1"


class CannotServe(Exception):  # noqa: N818 — an answer to whoever starts it
    """The port cannot be had; ``str()`` says why."""


class LocalServer:
    """Serves from ``async with`` on, in the running event loop, until its end."""

    def __init__(self, bounds: Bounds, *, port: int = 0) -> None:
        self._admission = Admission(time.monotonic)
        self._listener = Listener(self._app, host=HOST, port=port, bounds=bounds)
        self._serving: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self._listener.port}"

    def new_link(self) -> str:
        """Return a link that lets one browser in, once and soon; the one before does no more."""
        return f"http://{self.address}{OPEN}?link={self._admission.new_link()}"

    def build(self) -> Gate:
        """Return the pages behind their gate; the port is known by now."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close what the pages have opened."""

    async def __aenter__(self) -> Self:
        """Serve. Raises ``CannotServe``."""
        try:
            self._listener.bind()
        except OSError as error:
            await self.aclose()
            raise CannotServe(
                f"{self.address} cannot be used ({error.strerror}); name another one"
            ) from error
        self._gate = self.build()
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
        await self.aclose()

    async def _app(self, scope: object, receive: object, send: object) -> None:
        await self._gate(scope, receive, send)  # type: ignore[arg-type]  # the listener knows no types of ours


class Troubles:
    """What an exception of each kind is answered with."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def missing(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a path that there is not."""
        await self._pages.trouble(MISSING)(scope, receive, send)

    async def told(self, _request: Request, error: Exception) -> Response:
        """Answer what a page has said itself."""
        assert isinstance(error, Troubled)  # noqa: S101 — as it was registered
        return self._pages.trouble(error.trouble)

    async def unclear(self, _request: Request, error: Exception) -> Response:
        """Answer a question that cannot be understood."""
        field = error.field if isinstance(error, Unclear) else ""
        return self._pages.trouble(Trouble(400, "Not understood", f"{field}: {error}"))
