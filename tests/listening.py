"""A small application on a real listener, and a raw socket to it: what the wire shows."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import uvloop

from broker.errors import PUBLIC, ParseRejected
from broker.exchange.body import read_body
from broker.listener import Bounds, Listener

HOST = b"Host: broker.test\r\n"
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass
class Application:
    """Answers with what it was asked, and remembers it. What its path says, it does."""

    body_within: float = 10.0
    served: list[dict] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope, receive, send) -> None:
        status, read = 200, b""
        self.reached.set()
        if scope["path"] == "/hold":
            while not self.release.is_set():  # noqa: ASYNC110 — set by another thread
                await asyncio.sleep(0.01)
        elif scope["path"] == "/hang":
            await asyncio.Event().wait()
        if scope["path"] != "/unread":
            try:
                read = await read_body(scope, receive, within=self.body_within)
            except ParseRejected as rejected:
                status, read = PUBLIC[rejected.reason].status, rejected.reason.encode()
        seen = {
            "method": scope["method"],
            "path": scope["path"],
            "headers": [f"{n.decode()}: {v.decode('latin-1')}" for n, v in scope["headers"]],
            "body": read.decode("latin-1"),
        }
        self.served.append(seen)
        answer = b"x" * (32 << 20) if scope["path"] == "/large" else json.dumps(seen).encode()
        length = (b"content-length", b"%d" % len(answer))
        await send({"type": "http.response.start", "status": status, "headers": [length]})
        await send({"type": "http.response.body", "body": answer})

    @property
    def requests(self) -> list[str]:
        """Method, path and body of what was served."""
        return [f"{seen['method']} {seen['path']} {seen['body']}" for seen in self.served]


@dataclass
class Serving:
    """A listener that serves in a thread of its own."""

    listener: Listener
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread

    def connect(self, timeout: float = 20) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.listener.port), timeout)

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self.listener.stop)
        self.thread.join(30)

    def settle(self) -> None:
        """Return once no request is served: one that was refused may go on after its client."""
        asyncio.run_coroutine_threadsafe(self._settle(), self.loop).result(20)

    async def _settle(self) -> None:
        while len(asyncio.all_tasks()) > 2:  # noqa: ASYNC110 — the listener's, and this one
            await asyncio.sleep(0.001)

    def ask(self, *sent: bytes) -> bytes:
        """Send this, and return all that is answered until the other end closes."""
        with self.connect() as connection:
            for part in sent:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(part)
            return read_all(connection)


@contextlib.contextmanager
def serving(app=None, *, loop: str = "uvloop", **bounds) -> Iterator[Serving]:
    """Serve this application with these bounds."""
    listener = Listener(app or Application(), host="127.0.0.1", port=0, bounds=Bounds(**bounds))
    listener.bind()
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        thread = threading.Thread(target=runner.run, args=(listener.serve(),))
        serving = Serving(listener, runner.get_loop(), thread)
        thread.start()
        try:
            yield serving
        finally:
            serving.stop()


def read_all(connection: socket.socket) -> bytes:
    """Return what arrives until the other end closes."""
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def read_answer(connection: socket.socket) -> bytes:
    """Return one answer, head and body, of a connection that stays open."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(1)
    head = received.lower()
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    while length:
        part = connection.recv(length)
        received += part
        length -= len(part)
    return received


def request(path: str = "/", *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    """A request of this kind, with a length if it has a body."""
    fields = [*headers, *([f"Content-Length: {len(body)}"] if body else [])]
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}\r\n" for name in fields)
    return head.encode("latin-1") + HOST + b"\r\n" + body


def status(answer: bytes) -> int:
    """The status of the first answer in these bytes; 0 if there is none."""
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
