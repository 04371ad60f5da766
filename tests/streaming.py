"""Receivers of a stream on loopback, and a stream over a real database."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from broker.audit.cursor import StoredCursor
from broker.audit.follow import Followed, Follower, Gap
from broker.audit.stream.message import Message, Severity
from broker.audit.stream.render import Renderer
from broker.audit.stream.stream import Stream
from broker.db.engine import Database
from tests.audit import new_id
from tests.fixtures.postgres import execute
from tests.loopback import Loopback, http_answer

PROTOBUF = "application/x-protobuf"
# RFC 5424 §6, written down again: header, structured data, message.
_SYSLOG = re.compile(
    r"<(?P<pri>\d{1,3})>1 (?P<at>\S+) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48})"
    r" (?P<proc>[!-~]{1,128}) (?P<msgid>[!-~]{1,32})"
    r" (?P<data>(?:\[[^\s=\]\"]{1,32}(?: [^\s=\]\"]{1,32}=\"(?:[^\"\\\]]|\\.)*\")*\])+|-)"
    r"(?: (?P<msg>.*))?",
    re.DOTALL,
)
_ELEMENT = re.compile(r"\[([^\s=\]\"]+)((?: [^\s=\]\"]+=\"(?:[^\"\\\]]|\\.)*\")*)\]", re.DOTALL)
_PARAMETER = re.compile(r" ([^\s=\]\"]+)=\"((?:[^\"\\\]]|\\.)*)\"", re.DOTALL)
IN_ORDER = (
    "SELECT e.id FROM audit_tree AS t JOIN audit_batch AS b USING (writer, number)"
    " JOIN audit_event AS e ON e.writer = b.writer AND e.seq BETWEEN b.first_seq AND b.last_seq"
    " ORDER BY t.position, e.seq"
)


@dataclass(frozen=True)
class Syslog:
    """A message as RFC 5424 says that it is read."""

    priority: int
    at: str
    host: str
    app: str
    proc: str
    msgid: str
    data: dict[str, dict[str, str]]
    text: str

    @property
    def id(self) -> str:
        return self.data["broker@32473"]["id"]


def parse_syslog(raw: bytes) -> Syslog:
    """Read one message; fails where it is none."""
    found = _SYSLOG.fullmatch(raw.decode())
    assert found is not None, raw
    data = {
        name: {key: re.sub(r"\\(.)", r"\1", value) for key, value in _PARAMETER.findall(pairs)}
        for name, pairs in _ELEMENT.findall(found["data"])
    }
    header = (found[name] for name in ("at", "host", "app", "proc", "msgid"))
    return Syslog(int(found["pri"]), *header, data, (found["msg"] or "").removeprefix("\ufeff"))


@dataclass
class SyslogReceiver:
    """A receiver of RFC 5425."""

    port: int = 0
    messages: list[Syslog] = field(default_factory=list)
    connections: int = 0
    read: asyncio.Event = field(default_factory=asyncio.Event)  # not set: it takes nothing
    _streams: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.messages]

    def cut(self) -> None:
        """End every connection there is, as when the receiver dies."""
        for stream in tuple(self._streams):
            stream.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read frames until the other side ends."""
        self.connections += 1
        self._streams.add(writer)
        try:
            while True:
                await self.read.wait()
                length = int(await reader.readuntil(b" "))
                self.messages.append(parse_syslog(await reader.readexactly(length)))
        except (OSError, EOFError):
            pass
        finally:
            self._streams.discard(writer)
            writer.transport.abort()


@asynccontextmanager
async def syslog_receiver(tls: ssl.SSLContext) -> AsyncIterator[SyslogReceiver]:
    """A receiver for as long as the block lasts."""
    receiver = SyslogReceiver()
    receiver.read.set()
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await receiver.serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls, limit=2**20)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def otlp_answer(rejected: int = 0, **options: Any) -> bytes:
    """What a receiver of OTLP says."""
    said = ExportLogsServiceResponse()
    said.partial_success.rejected_log_records = rejected
    body = said.SerializeToString() if rejected else b""
    return http_answer(body, **{"content_type": PROTOBUF} | options)


def otlp_records(server: Loopback) -> list[Any]:
    """All log records that were sent."""
    requests = [ExportLogsServiceRequest.FromString(body) for body in server.bodies]
    return [
        record
        for request in requests
        for logs in request.resource_logs
        for scope in logs.scope_logs
        for record in scope.log_records
    ]


def attributes_of(record: Any) -> dict[str, str]:
    """The attributes of a log record; all of them are text."""
    return {one.key: one.value.string_value for one in record.attributes}


def message(number: int = 1, **overrides: Any) -> Message:
    """A message that nobody wrote."""
    values: dict[str, Any] = {
        "id": f"00000000-0000-7000-8000-{number:012x}",
        "at": datetime(2026, 11, 24, 12, 0, 0, 250, tzinfo=UTC),
        "kind": "exchange",
        "severity": Severity.INFORMATIONAL,
        "body": b'{"kind":"exchange"}',
    } | overrides
    attributes = {"id": values["id"], "writer": "0d6c7f9e", "seq": str(number)}
    return Message(**{"attributes": attributes, **values})


@dataclass
class Noted:
    """Remembers what it was told of a stream."""

    rows: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    began_at: list[int] = field(default_factory=list)

    def began(self, position: int, size: int) -> None:
        self.began_at.append(position)

    def delivered(self, found: Followed, refused: int) -> None:
        self.rows += len(found.rows)
        self.refused += refused

    def missing(self, gap: Gap) -> None:
        self.gaps.append(gap)

    def failed(self, text: str, wait: float) -> None:
        self.faults.append(text)

    def idle(self) -> None:
        """Note nothing."""

    def waits(self) -> None:
        """Note nothing."""


def build_stream(database: Database, sink: Any, **overrides: Any) -> Stream:
    """A stream of a name that nobody else has."""

    async def record() -> None:
        """Have nothing on record."""

    name, most = overrides.pop("name", new_id()), overrides.pop("most", 3)
    values: dict[str, Any] = {
        "follower": Follower(database, most=most),
        "cursor": StoredCursor(database, f"stream:{name}"),
        "sink": sink,
        "renderer": Renderer("native", product_version="1"),
        "start": "start",
        "watcher": Noted(),
        "record": record,
        "look": 0.02,
    }
    return Stream(**values | overrides)


async def send_once(database: Database, sink: Any, **overrides: Any) -> None:
    """Send what is sealed now."""
    await build_stream(database, sink, **overrides).send(asyncio.Event(), once=True)


def ids_in_order(url: str) -> list[str]:
    """The ids of all sealed rows, in the order of the log."""
    return [str(row["id"]) for row in execute(url, IN_ORDER)]


def first_times(ids: Sequence[str]) -> list[str]:
    """The ids without repetitions."""
    return list(dict.fromkeys(ids))


def lines_of(path: Path) -> list[bytes]:
    """The lines of a file; the last one ends as well."""
    lines = path.read_bytes().split(b"\n")
    assert b"" == lines.pop()
    return lines
