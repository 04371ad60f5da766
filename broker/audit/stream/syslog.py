"""Syslog over TLS: messages of RFC 5424 in the frames of RFC 5425.

Syslog knows no answer. A message counts as delivered when the receiver's system has confirmed it
and the connection still stands. When it ends later, what was sent last is sent once more over the
next one, for the receiver may have had it in hand; what it loses beyond that nobody can tell.
"""

import asyncio
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from broker.audit.event import render_time
from broker.audit.stream.message import Message, portions
from broker.audit.stream.sink import Undelivered
from broker.audit.stream.wire import Wire
from broker.settings.streams import SyslogDestination

_FACILITY: Final = 13  # "log audit". RFC 5424 §6.2.1
_APP: Final = "broker"
# Of the number that is set aside for examples (RFC 5612 §2): the broker has none of its own.
_SD_ID: Final = "broker@32473"
_BOM: Final = b"\xef\xbb\xbf"
_NOT_PRINTABLE: Final = re.compile(r"[^\x21-\x7e]")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TO_ESCAPE: Final = re.compile(r'(["\\\]])')
_MAX_HOST: Final = 255
_MAX_MSGID: Final = 32
_CLOSE: Final = 1.0  # seconds
_TOGETHER: Final = 64 * 1024  # bytes handed over at once


class SyslogSink:
    """One receiver, connected to when there is something for it."""

    kind: Final = "syslog"

    def __init__(self, to: SyslogDestination, tls: ssl.SSLContext, *, product_version: str) -> None:
        """``tls``: whom to believe, and as whom to come. Nothing is opened yet."""
        self._to = to
        self._tls = tls
        self._version = product_version
        self._host = socket.gethostname()
        self._wire: Wire | None = None
        self._thread = ThreadPoolExecutor(1, "audit-stream-syslog")
        self._ended = False
        self._recent = _Recent()

    async def deliver(self, messages: Sequence[Message]) -> int:
        """Return once the receiver's system has all of them. Raises ``Undelivered``."""
        frames = [
            b"".join(
                frame(render_message(one, host=self._host, version=self._version)) for one in some
            )
            for some in portions(messages, _TOGETHER)
        ]
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._send, frames)
        except ssl.SSLCertVerificationError as error:
            raise Undelivered(f"{self._to}: {error.verify_message.rstrip('.')}") from None
        except TimeoutError:
            raise Undelivered(f"{self._to}: it takes nothing") from None
        except ssl.SSLError as error:
            raise Undelivered(f"{self._to}: TLS failed ({error.reason})") from None
        except OSError as error:
            raise Undelivered(f"{self._to}: {error.strerror or error}") from None
        return 0

    async def aclose(self) -> None:
        """Let go of the connection, whatever it waits for."""
        self._ended = True
        if self._wire is not None:
            self._wire.abort()
        with suppress(TimeoutError, RuntimeError):  # it may be connecting, or be closed already
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            await asyncio.wait_for(work, _CLOSE)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _send(self, frames: Sequence[bytes]) -> None:
        self._let_go_of_dead()
        try:
            if self._wire is None:
                self._wire = Wire()
                self._wire.open(self._to.host, self._to.port, self._tls)
                frames = [*self._recent, *frames]
            if self._ended:
                raise OSError(0, "it is no longer wanted")
            for some in frames:
                self._wire.send(some)
            self._wire.settle()
            self._recent.add(frames)
        except BaseException:
            self._close()
            raise

    def _let_go_of_dead(self) -> None:
        # Receivers close what is idle for long. That is no trouble, and a new one is opened.
        try:
            if self._wire is not None:
                self._wire.check()
        except OSError:
            self._close()

    def _close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


class _Recent:
    """What was sent a moment ago, as far as it is not much."""

    _BYTES: Final = 1024 * 1024
    _SECONDS: Final = 10.0

    def __init__(self) -> None:
        self._sent: deque[tuple[float, bytes]] = deque()

    def __iter__(self) -> Iterator[bytes]:
        since = time.monotonic() - self._SECONDS
        return iter([frames for at, frames in self._sent if at > since])

    def add(self, frames: Sequence[bytes]) -> None:
        """Note that these were sent."""
        now = time.monotonic()
        self._sent += [(now, some) for some in frames]
        size = sum(len(some) for _, some in self._sent)
        while size > self._BYTES:
            size -= len(self._sent.popleft()[1])


def frame(message: bytes) -> bytes:
    """Return a message with its length before it. RFC 5425 §4.3."""
    return b"%d %b" % (len(message), message)


def render_message(message: Message, *, host: str, version: str) -> bytes:
    """Return a message of RFC 5424 §6; the writer is what the process is to syslog."""
    header = " ".join(
        (
            f"<{_FACILITY * 8 + message.severity}>1",
            render_time(message.at),
            _name(host, _MAX_HOST),
            _APP,
            _name(message.attributes["writer"], 128),
            _name(message.kind, _MAX_MSGID),
        )
    )
    data = _element("origin", {"software": _APP, "swVersion": version}) + _element(
        _SD_ID, message.attributes
    )
    # A text that has more than ASCII says so by a mark; one that has not is the same without.
    mark = b"" if message.body.isascii() else _BOM
    return b"%b %b %b%b" % (header.encode(), data.encode(), mark, message.body)


def _name(text: str, most: int) -> str:
    """Return a text as a header takes it: printable ASCII, and a hyphen for nothing."""
    return _NOT_PRINTABLE.sub("", text)[:most] or "-"


def _element(name: str, parameters: Mapping[str, str]) -> str:
    """Return an element of structured data. RFC 5424 §6.3."""
    pairs = "".join(f' {each}="{_escaped(value)}"' for each, value in parameters.items())
    return f"[{name}{pairs}]"


def _escaped(value: str) -> str:
    return _TO_ESCAPE.sub(r"\\\1", _CONTROL.sub(" ", value))
