"""What holds for every request, whichever endpoint it is for: plain ASGI, around all of them.

(1) it has an id of ours, which the answer, the logs and the audit row carry;
(2) it is one span, child of the caller's if the caller names one (W3C ``traceparent``);
(3) its answer is not to be sniffed or framed, and has no CORS header;
(4) what nobody expected is a 500 with a fixed text, and logged.
"""

import logging
from collections.abc import Callable
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker.endpoints.answer import error_page, send_refusal
from broker.errors import Reason, Rejected
from broker.telemetry import is_tracing, request_span
from broker.telemetry.logs import current_request_id

_log = logging.getLogger(__name__)
_propagator = TraceContextTextMapPropagator()
_SECURITY: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


class Edge:
    """An ASGI application around another one."""

    __slots__ = ("_app", "_build_id", "_page", "_tracing")

    def __init__(
        self, app: ASGIApp, *, build_id: Callable[[], str], page: Callable[[], str] = str
    ) -> None:
        """Where spans go to is known by now, and does not change.

        ``page``: what the ``error_uri`` of a refusal is, before the request's id; empty: none.
        """
        self._app = app
        self._build_id = build_id
        self._page = page
        self._tracing = is_tracing()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # nothing else is offered
            return
        request_id = self._build_id()
        answer = _Answer(send, request_id)
        token = current_request_id.set(request_id)
        page = self._page()
        shown = error_page.set(f"{page}{request_id}" if page else "")
        try:
            caller = _caller(scope)
            if caller is None and not self._tracing:
                await self._answered(scope, receive, answer)
                return
            with request_span(request_id, caller):
                await self._answered(scope, receive, answer)
        finally:
            error_page.reset(shown)
            current_request_id.reset(token)

    async def _answered(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            await self._app(scope, receive, answer)
        except Exception:
            # The one place where an unexpected error ends: its text goes no further.
            _log.exception("unexpected error")
            if answer.started:
                raise
            await send_refusal(answer, Rejected(Reason.SERVER_ERROR))


class _Answer:
    """Adds to an answer what every answer has."""

    __slots__ = ("_request_id", "_send", "started")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id.encode("ascii")
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self._request_id),
                *_SECURITY,
            ]
        await self._send(message)


def _caller(scope: Scope) -> Context | None:
    """Return the caller's trace, or None if it names none. W3C Trace Context §3.2."""
    carrier = {
        name.decode("ascii"): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in {b"traceparent", b"tracestate"}
    }
    return _propagator.extract(carrier) if carrier else None
