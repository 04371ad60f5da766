"""``POST /token``: the exchange over HTTP. RFC 8693 §2.1, RFC 6749 §3.2."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from starlette.types import Receive, Scope, Send

from broker.domain import Attempt
from broker.endpoints.answer import send_issued, send_refusal
from broker.endpoints.inbound import read_request
from broker.endpoints.source import Networks, client_source
from broker.errors import Rejected
from broker.exchange.pipeline import TokenExchange
from broker.exchange.request import parse_request
from broker.exchange.response import build_response
from broker.telemetry import step
from broker.telemetry.logs import current_request_id


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """The token endpoint as an ASGI application.

    ``current`` gives the exchange of the configuration that is in force; a request keeps the one
    it began with. ``proxies`` gives the networks whose forwarding headers are believed.
    """

    current: Callable[[], TokenExchange]
    proxies: Callable[[], Networks]
    clock: Callable[[], datetime]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every answer but a 500 is recorded before it is sent."""
        exchange = self.current()
        source = client_source(scope, self.proxies())
        attempt = Attempt(current_request_id.get(), source, self.clock())
        read = await read_request(scope, receive)
        try:
            issued = await exchange.exchange(
                attempt, lambda: parse_request(read(), id=attempt.id, source=attempt.source)
            )
        except Rejected as rejected:
            await send_refusal(send, rejected)
            return
        with step("respond"):
            # Of the request that was permitted, not of one that was read a second time.
            requested = issued.signed.permit.exchange.request.requested_token_type
            members = build_response(issued, issued_token_type=requested, now=self.clock())
            await send_issued(send, members)
