"""The door before every endpoint that costs something, for who floods, or comes when all is full.

Nothing of the request is read by then but its head, so turning somebody away costs very little.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from broker.endpoints.answer import send_refusal
from broker.endpoints.source import KNOWN, Networks, client_source
from broker.errors import LimitRejected
from broker.exchange.body import WHOLE


class Door(Protocol):
    """Who is let in, and where it is counted who was not."""

    def admit(self, source: str, now: datetime) -> None:
        """Let a request in. Raises ``LimitRejected``; it is counted by then."""


@dataclass(frozen=True, slots=True)
class Guard:
    """An ASGI application before another one."""

    app: ASGIApp
    door: Callable[[], Door]
    proxies: Callable[[], Networks]
    clock: Callable[[], datetime]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or let the application do it."""
        source = scope[KNOWN] = client_source(scope, self.proxies())
        try:
            self.door().admit(source, self.clock())
        except LimitRejected as rejected:
            await send_refusal(send, rejected, unread=WHOLE not in scope)
            return
        await self.app(scope, receive, send)
