"""Faults between two programs: a proxy on loopback that delays, swallows, cuts and refuses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
_Standing = TypeVar("_Standing", bound="Proxy")


def to_port(port: int) -> Connect:
    """Reach a server on loopback."""
    return lambda: asyncio.open_connection("127.0.0.1", port)


def to_socket(path: str) -> Connect:
    """Reach a server on a Unix socket."""
    return lambda: asyncio.open_unix_connection(path)


class Proxy:
    """Forwards what comes in both directions, unless told otherwise."""

    def __init__(self, upstream: Connect) -> None:
        self.upstream = upstream  # of the connections that are made from now on
        self.port = 0
        self.connections = 0  # that were ever accepted
        self._streams: set[asyncio.StreamWriter] = set()
        self.forwards_requests = asyncio.Event()
        self.forwards_answers = asyncio.Event()
        self.refuses = False  # new connections
        self.delay = 0.0  # seconds, for each answer
        self.swallowed = asyncio.Event()  # an answer arrived and was not forwarded
        self.forward()

    def forward(self) -> None:
        """Be a good network again."""
        self.forwards_requests.set()
        self.forwards_answers.set()
        self.refuses = False
        self.delay = 0.0
        self.swallowed.clear()

    def black_hole(self) -> None:
        """Forward nothing more, and close nothing."""
        self.forwards_requests.clear()
        self.forwards_answers.clear()

    def swallow_answers(self) -> None:
        """Let requests through, and keep every answer back."""
        self.forwards_answers.clear()

    def cut(self) -> None:
        """End every connection there is."""
        for stream in tuple(self._streams):
            stream.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Stand between one connection and the server, until either of them ends it."""
        self.connections += 1
        if self.refuses:
            writer.transport.abort()
            return
        try:
            inner_reader, inner_writer = await self.upstream()
        except OSError:
            writer.transport.abort()
            return
        self._streams |= {writer, inner_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests(reader, inner_writer))
                group.create_task(self._answers(inner_reader, writer))
        except* OSError:
            pass
        finally:
            for stream in (writer, inner_writer):
                self._streams.discard(stream)
                stream.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self.forwards_requests.wait()
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not self.forwards_answers.is_set():
                self.swallowed.set()
                await self.forwards_answers.wait()
            if self.delay:
                await asyncio.sleep(self.delay)
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def standing(proxy: _Standing) -> AsyncIterator[_Standing]:
    """The proxy, on a port of its own for as long as the block lasts."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await proxy.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.forward()
        proxy.cut()
        await asyncio.gather(*tasks, return_exceptions=True)
