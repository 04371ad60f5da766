"""A small HTTP server on loopback whose every byte is the test's, good or hostile."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = bytes | AsyncIterator[bytes]


def http_answer(
    body: bytes, *, status: str = "200 OK", content_type: str | None = "application/json", **headers
) -> bytes:
    """An answer of HTTP/1.1 with its length; underscores in header names mean hyphens."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def json_answer(document: Any, **options: Any) -> bytes:
    """The same, with a JSON document."""
    return http_answer(json.dumps(document).encode(), **options)


@dataclass
class Loopback:
    """What the server is asked, and what it answers by path."""

    answers: dict[str, Callable[[], Answer] | Answer] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    scheme: str = "http"

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The URL of a path of this server."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and leave no socket behind."""
        self.connections += 1
        try:
            await self._answer(reader, writer)
            writer.close()
            await asyncio.wait_for(writer.wait_closed(), 1)
        except (OSError, EOFError, asyncio.LimitOverrunError):
            pass  # the other side has gone, which is what some tests are about
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        self.paths.append(path)
        self.heads.append(head)
        self.hosts += [
            line.partition(":")[2].strip()
            for line in head.split("\r\n")
            if line.lower().startswith("host:")
        ]
        length = re.search(r"(?im)^content-length: *([0-9]+)", head)
        # What a client sends is read, or closing would reset the connection under the answer.
        self.bodies.append(await reader.readexactly(int(length[1]) if length else 0))
        answer = self.answers.get(path, http_answer(b"{}", status="404 Not Found"))
        answer = answer() if callable(answer) else answer
        if isinstance(answer, bytes):
            writer.write(answer)
        else:
            async for chunk in answer:
                writer.write(chunk)
                await writer.drain()
        await writer.drain()


@contextlib.asynccontextmanager
async def loopback(
    answers: dict[str, Any] | None = None, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Loopback]:
    """A server for as long as the block lasts."""
    state = Loopback(dict(answers or {}), scheme="http" if tls is None else "https")
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        # Python's server logs a handler that was cancelled as an error of its own.
        with contextlib.suppress(asyncio.CancelledError):
            await state.serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def certificate(folder: Path, *names: str) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS settings with a certificate for ``names``, and the anchor that vouches."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(each)) if each[0].isdigit() else x509.DNSName(each)
        for each in names
    ]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "server.pem", folder / "server.key"
    certificate_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return context, certificate_file


async def drip(head: bytes, body: bytes, pause: float) -> AsyncIterator[bytes]:
    """An answer that arrives a byte at a time."""
    yield head
    for index in range(len(body)):
        await asyncio.sleep(pause)
        yield body[index : index + 1]
