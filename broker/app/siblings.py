"""One scrape for all processes: whichever is asked also asks the others.

Each serves its own metrics on a socket in a folder that only their user may enter. A process that
does not answer in time is left out, and ``broker_workers`` says how many did.
"""

import asyncio
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from broker.app.place import Place
from broker.telemetry.export import Telemetry

_PATIENCE: Final = 1.0  # seconds
_MOST: Final = 16 * 1024 * 1024  # bytes of one process's metrics
_HELP: Final = b"# HELP "
_COUNT: Final = (
    b"# HELP broker_workers Processes that answered this scrape.\n"
    b"# TYPE broker_workers gauge\n"
    b"broker_workers %d\n"
)


class Siblings:
    """The metrics of this process and of those beside it, each sample with its ``worker``."""

    def __init__(self, telemetry: Telemetry, place: Place, folder: Path) -> None:
        self._telemetry = telemetry
        self._number = place.number
        self._folder = folder
        self.media_type = telemetry.media_type

    async def run(self, stop: asyncio.Event) -> None:
        """Answer the others until ``stop``."""
        path = _socket_of(self._folder, self._number)
        # Of a process that was killed, or that this one replaces.
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._answer, path)
        async with server:
            await stop.wait()

    def render_metrics(self) -> bytes:
        """Return every metric of all processes in the Prometheus text format.

        Waits for the others: not to be called in an event loop.
        """
        texts = {self._number: self._telemetry.render_metrics()}
        for path in self._folder.glob("worker-*"):
            number = int(path.name.removeprefix("worker-"))
            if number != self._number:
                with suppress(OSError):
                    texts[number] = _ask(path)
        return join_metrics(texts)

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(await asyncio.to_thread(self._telemetry.render_metrics))
            await writer.drain()
        writer.close()


def join_metrics(texts: Mapping[int, bytes]) -> bytes:
    """Return the metrics of several processes as one text, each sample with its ``worker``.

    The format wants every sample of a metric in one place, under one description.
    """
    described: dict[bytes, list[bytes]] = {}
    for number, text in sorted(texts.items()):
        for name, lines in _metrics_of(text):
            comments = [line for line in lines if line.startswith(b"#")]
            samples = [_labelled(line, number) for line in lines if not line.startswith(b"#")]
            described.setdefault(name, comments).extend(samples)
    joined = b"".join(line + b"\n" for lines in described.values() for line in lines)
    return joined + _COUNT % len(texts)


def _metrics_of(text: bytes) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield each metric's name and its lines, the comments first."""
    name, lines = b"", list[bytes]()
    for line in text.splitlines():
        if line.startswith(_HELP):
            if lines:
                yield name, lines
            name, lines = line.split(b" ", 3)[2], []
        lines.append(line)
    if lines:
        yield name, lines


def _labelled(sample: bytes, number: int) -> bytes:
    name, brace, rest = sample.partition(b"{")
    label = b'worker="%d"' % number
    if brace:
        return name + b"{" + label + b"," + rest
    name, _, value = sample.partition(b" ")
    return name + b"{" + label + b"} " + value


def _ask(path: Path) -> bytes:
    """Return the metrics of another process. Raises ``OSError``."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(str(path))
        text = bytearray()
        while part := connection.recv(65536):
            text += part
            if len(text) > _MOST:
                raise OSError("more than a process of ours says")
        return bytes(text)


def _socket_of(folder: Path, number: int) -> Path:
    return folder / f"worker-{number}"
