"""An explorer that is served: on loopback, on one port, for whoever opens the link to it."""

import asyncio
import time
from types import TracebackType
from typing import Final, Self

from broker.explorer import links
from broker.explorer.admission import Admission
from broker.explorer.app import build_explorer
from broker.explorer.sources import Means, Sources
from broker.listener import Bounds, Listener

HOST: Final = "127.0.0.1"
# For one person's browser: little is needed, and whatever else is on this machine may ask, too.
_BOUNDS: Final = Bounds(
    head_time=5.0, body_time=5.0, body_framing=4096, stop_time=2, connections=64, requests=32
)


class CannotServe(Exception):  # noqa: N818 — an answer to whoever starts it
    """The port cannot be had; ``str()`` says why."""


class Explorer:
    """Serves from ``async with`` on, in the running event loop, until its end."""

    def __init__(self, means: Means, *, port: int = 0) -> None:
        self._sources = Sources(means)
        self._admission = Admission(time.monotonic)
        self._listener = Listener(self._app, host=HOST, port=port, bounds=_BOUNDS)
        self._serving: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{HOST}:{self._listener.port}"

    def new_link(self) -> str:
        """Return a link that lets one browser in, once and soon; the one before does no more."""
        return f"http://{self.address}{links.OPEN}?link={self._admission.new_link()}"

    async def __aenter__(self) -> Self:
        """Serve. Raises ``CannotServe``."""
        try:
            self._listener.bind()
        except OSError as error:
            await self._sources.aclose()
            raise CannotServe(
                f"{self.address} cannot be used ({error.strerror}); name another one"
            ) from error
        self._gate = build_explorer(self._sources, self._admission, address=self.address)
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
        await self._sources.aclose()

    async def _app(self, scope: object, receive: object, send: object) -> None:
        await self._gate(scope, receive, send)  # type: ignore[arg-type]  # the listener knows no types of ours
