"""A listener: one port, and the connections that are made to it."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, cast

import uvicorn

from broker.listener.bounds import Bounds, within_descriptors
from broker.listener.connection import BoundedConfig, Connection

# An ASGI application. Any: what it takes are the types of whichever library it is written with.
Application = Callable[[Any, Any, Any], Awaitable[None]]
_BACKLOG: Final = 2048  # connections that nobody has accepted yet


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a socket on this port. Raises ``OSError`` if the port is taken.

    A ``shared`` one does not listen yet: several may be bound to one port, and the kernel spreads
    connections over those that listen.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not shared:
        # Listening now, since two sockets may be bound to one port until one of them listens.
        return socket.create_server(
            (host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=host == "::"
        )
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family is socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


class _Server(uvicorn.Server):
    """Uvicorn's server, which leaves signals to the process and looks after its connections."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        if counter % 5 == 0:  # a tick is a tenth of a second
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.connections()):
                if connection.deadline < now:
                    connection.expire()
        return await super().on_tick(counter)

    def connections(self) -> set[Connection]:
        return cast(set[Connection], self.server_state.connections)


class Listener:
    """One port on which an ASGI application is served, in the running event loop.

    Several may serve at once; none installs a signal handler.
    """

    def __init__(
        self,
        app: Application,
        *,
        host: str,
        port: int,
        bounds: Bounds | None = None,
        bound: socket.socket | None = None,
    ) -> None:
        """``bound`` is a socket that listens there already; it is closed at the end."""
        self._address = (host, port)
        self._socket = bound
        self._entered = False
        self._server = _Server(BoundedConfig(app, within_descriptors(bounds or Bounds())))

    @property
    def port(self) -> int:
        """The port: once it is bound also where it was given as 0."""
        return self._address[1]

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._server.connections())

    def bind(self) -> int:
        """Take the port, and return it. Connections wait from now on until they are served.

        Raises ``OSError`` if the port is taken.
        """
        host = self._address[0]
        if self._socket is None:
            self._socket = bind(*self._address)
        self._address = (host, self._socket.getsockname()[1])
        return self.port

    async def serve(self) -> None:
        """Serve until ``stop``, and then until what is in flight is answered or out of time."""
        if self._socket is None:
            self.bind()
        listening = cast(socket.socket, self._socket)
        self._entered = True
        try:
            if not self._server.should_exit:
                await self._server.serve([listening])
        finally:
            listening.close()
            for connection in tuple(self._server.connections()):
                connection.transport.abort()
            await asyncio.sleep(0)  # the loop tells them so

    def stop(self) -> None:
        """Accept no more connections, close the idle ones and let ``serve`` come to its end."""
        self._server.should_exit = True
        if self._socket is not None and not self._entered:
            self._socket.close()
