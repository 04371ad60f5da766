"""A connection: uvicorn's, with the bounds that it does not have itself.

What holds for every connection, whoever is at its other end:

(1) one request at a time, whose head is within its bounds in bytes, fields and time;
(2) how long its body is has one reading: a length, or chunks, and never both (RFC 9112 §6);
(3) the body is bounded in time, and in the bytes that frame it; its own size is the endpoint's to
    judge, with ``broker.exchange.body``;
(4) a peer that is silent, or does not read its answer, loses the connection;
(5) whoever is refused reads why before the connection ends;
(6) nothing of a request is kept once it is answered.

Bounds in time are kept by looking at all connections twice a second, not by a timer for each
request, so they may be late by that much and cost a request next to nothing.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from http import HTTPStatus
from typing import Any, Final, cast

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from broker.exchange.body import WHOLE
from broker.listener.bounds import Bounds
from broker.listener.refusal import REFUSALS
from broker.telemetry import meter

_refusals = meter.create_counter(
    "broker.listener.refusals", description="Connections and requests refused before any endpoint."
)

_NEVER: Final = float("inf")
_NO_SCOPE: Final = cast(Any, {})  # of a request that was answered; one for all
_NO_PIPELINE: Final[deque[Any]] = deque(maxlen=0)  # nothing is sent ahead; one for all


class Phase(IntEnum):
    """How far a connection is with the request that it is at."""

    IDLE = 0  # nothing of a request was received
    HEAD = 1
    BODY = 2
    ANSWER = 3  # the request is whole, its answer is not
    LAST = 4  # the same, and no other request is read after it
    CLOSING = 5  # all is said; what still arrives is thrown away


class _Refused(Exception):  # noqa: N818 — a refusal is an outcome, not an error of ours
    """Raised in a callback of the parser, to stop it."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


class _Lingering:
    """The transport of an answer that is given before its request is whole.

    Closing with bytes unread makes the kernel send a reset, which may take the answer away.
    """

    __slots__ = ("_connection", "write")

    def __init__(self, connection: "Connection", transport: asyncio.Transport) -> None:
        self._connection = connection
        self.write = transport.write

    def close(self) -> None:
        self._connection.linger()

    def is_closing(self) -> bool:
        return self._connection.phase is Phase.CLOSING


class Connection(HttpToolsProtocol):
    """One connection, from its first byte to its last."""

    # Idle connections are memory: these stay out of uvicorn's dictionary, which is shared in
    # layout between instances only up to its thirtieth name.
    __slots__ = ("_keep_alive", "_received", "_stopping", "bounds", "deadline", "phase")

    def __init__(
        self,
        config: "BoundedConfig",
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.pipeline = _NO_PIPELINE
        self.bounds = config.bounds
        self.phase = Phase.IDLE
        self.deadline = _NEVER
        self._received = 0  # bytes, in this phase
        self._keep_alive = False  # once the request is whole
        self._stopping = False

    # What the loop calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # narrowed as in uvicorn
        """Begin to bound it; beyond the most that there may be, it ends here."""
        super().connection_made(transport)
        self._enter(Phase.IDLE, self.bounds.head_time)
        if len(self.connections) > self.bounds.connections:
            _refusals.add(1, {"cause": "connections"})
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived, within the bounds of the part that it belongs to."""
        if self.phase >= Phase.LAST:
            self._discard(len(data))
            return
        if self.phase is Phase.IDLE:
            self._enter(Phase.HEAD, self.bounds.head_time)
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Offers to speak another protocol are not taken up (RFC 9110 §7.8), and where this
            # one would go on is then in doubt: it does not.
            self._end_after_answer()
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.status if isinstance(cause, _Refused) else HTTPStatus.BAD_REQUEST)
        else:
            self._check_received()

    def pause_writing(self) -> None:
        """Give the peer a while to read on."""
        super().pause_writing()
        self.deadline = self.loop.time() + self.bounds.read_time

    def resume_writing(self) -> None:
        """Go on: the peer has read."""
        super().resume_writing()
        answering = self.phase in {Phase.ANSWER, Phase.LAST}
        self.deadline = _NEVER if answering else self.loop.time() + self.bounds.idle_time

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin a request, if the one before it is answered."""
        # (1) Requests sent ahead would have to be kept in memory, and their answers in order. So
        # the one before is answered, and its sender told that the connection ends.
        if self.cycle is not None and not self.cycle.response_complete:
            raise _Refused(HTTPStatus.BAD_REQUEST)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request to the application, if its head can be read in one way only."""
        self._check_head()
        if len(self.tasks) >= self.bounds.requests:
            raise _Refused(HTTPStatus.SERVICE_UNAVAILABLE)
        super().on_headers_complete()
        # Trailers are parsed into what nobody reads: they must not become headers (RFC 9110 §6.5).
        self.headers = []
        self._enter(Phase.BODY, self.bounds.body_time)
        # Whoever is answered before the body has come cannot send another request after it.
        self._keep_alive = self.cycle.keep_alive
        self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Let the connection go on after the answer, now that the whole request is here."""
        super().on_message_complete()
        if self.cycle.response_complete:
            return
        cast(Any, self.scope)[WHOLE] = True
        self._enter(Phase.ANSWER, _NEVER)
        if not self.cycle.response_started:
            self.cycle.transport = self.transport
            self.cycle.keep_alive = self._keep_alive and not self._stopping

    # What uvicorn calls.

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the peer to read the last answer."""
        self.server_state.total_requests += 1
        # What it authenticated with is nobody's to keep while the connection waits for the next.
        self.scope = self.cycle.scope = _NO_SCOPE
        if self.phase is Phase.CLOSING:
            return
        if self.transport.is_closing():
            self._enter(Phase.CLOSING, self.bounds.read_time)
            return
        self.flow.resume_reading()
        self._enter(Phase.IDLE, self.bounds.idle_time)

    def shutdown(self) -> None:
        """End a busy connection after its answer, and an idle one unless a request is on its way.

        Whoever has just sent one cannot tell a connection that was closed from one that was lost.
        """
        self._stopping = True
        if self.phase <= Phase.HEAD:
            self.loop.call_later(self.bounds.last_time, self._end_idle)
        elif self.phase is not Phase.CLOSING:
            super().shutdown()

    # What is ours.

    def expire(self) -> None:
        """End what has taken too long."""
        if self.phase is Phase.HEAD or (
            self.phase is Phase.BODY and not self.cycle.response_started
        ):
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self._abort()

    def linger(self) -> None:
        """Say that nothing follows, and let the peer read what was said before the end."""
        if self.phase is Phase.CLOSING or self.transport.is_closing():
            return
        self._enter(Phase.CLOSING, self.bounds.linger_time)
        self.flow.resume_reading()
        self.transport.write_eof()

    def _enter(self, phase: Phase, time: float) -> None:
        self.phase = phase
        # Another request is no reason to keep an answer for longer that nobody reads.
        time = min(time, self.bounds.read_time) if self.flow.write_paused else time
        self.deadline = self.loop.time() + time
        self._received = 0

    def _check_received(self) -> None:
        """Bound what the parser holds, which is silent until an element is complete."""
        if self.phase <= Phase.HEAD:
            if self._received > self.bounds.head:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self.phase is Phase.BODY:
            if self._received > self.bounds.body_framing:
                self._refuse(HTTPStatus.BAD_REQUEST)
            elif self.cycle.transport is self.transport:
                # Only what did not come in one piece with its head gets here.
                self._linger_after_answer()

    def _check_head(self) -> None:
        """Refuse what two readers could read in two ways. RFC 9112 §3.2, §6.

        The parser has refused a length beside chunks, two lengths, and bytes that are not allowed.
        """
        size = len(self.url)
        hosts = codings = 0
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding":
                # A coding that nobody here undoes would leave the body unread.
                codings += 1 if value.lower() == b"chunked" else 2
        if size > self.bounds.head or len(self.headers) > self.bounds.fields:
            raise _Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        version = self.parser.get_http_version()
        if version == "1.1":
            sound = hosts == 1 and codings <= 1
        else:
            sound = version == "1.0" and hosts <= 1 and codings == 0
        if not sound or b"#" in self.url:
            raise _Refused(HTTPStatus.BAD_REQUEST)

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer what is no request, or end the connection if it is not its turn to be answered."""
        _refusals.add(1, {"cause": status.phrase.lower().replace(" ", "_")})
        cycle = self.cycle
        if self.phase is Phase.ANSWER:
            self._end_after_answer()
            return
        if self.phase is Phase.BODY and cycle is not None and not cycle.response_complete:
            # The endpoint sees a peer that has gone, and what it still says is not sent.
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self._abort()
                return
        self.transport.write(REFUSALS[status])
        self.linger()

    def _end_idle(self) -> None:
        if self.phase <= Phase.HEAD:
            self.transport.close()

    def _end_after_answer(self) -> None:
        """Let the request in hand be answered, and read none after it."""
        self._enter(Phase.LAST, _NEVER)
        self.cycle.keep_alive = False
        self._linger_after_answer()

    def _linger_after_answer(self) -> None:
        self.cycle.transport = cast(asyncio.Transport, _Lingering(self, self.transport))

    def _discard(self, size: int) -> None:
        self._received += size
        if self._received > self.bounds.linger:
            self._abort()

    def _abort(self) -> None:
        # Not ``close``, which would wait for a peer that does not read.
        self.phase = Phase.CLOSING
        self.transport.abort()


class BoundedConfig(uvicorn.Config):
    """Uvicorn's settings, with our bounds beside them."""

    def __init__(self, app: Callable[..., Any], bounds: Bounds) -> None:
        super().__init__(
            app,
            http=Connection,
            ws="none",
            lifespan="off",  # two listeners may share one application
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # who is behind a proxy is ``broker.endpoints.source``'s to say
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=bounds.stop_time,
        )
        self.bounds = bounds
