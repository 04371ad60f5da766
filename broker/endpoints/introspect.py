"""``POST /introspect``: a resource server asks about a token. RFC 7662 §2."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from starlette.types import Receive, Scope, Send

from broker.clients.request import parse_inquiry
from broker.domain import Attempt
from broker.endpoints.answer import send_introspection, send_refusal
from broker.endpoints.inbound import read_request
from broker.endpoints.source import Networks, client_source
from broker.errors import Rejected
from broker.introspection.introspect import Introspection
from broker.telemetry.logs import current_request_id


@dataclass(frozen=True, slots=True)
class IntrospectionEndpoint:
    """The introspection endpoint as an ASGI application; ``current`` as at the token endpoint."""

    current: Callable[[], Introspection]
    proxies: Callable[[], Networks]
    clock: Callable[[], datetime]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        introspection = self.current()
        source = client_source(scope, self.proxies())
        attempt = Attempt(current_request_id.get(), source, self.clock(), "introspection")
        read = await read_request(scope, receive)
        try:
            members = await introspection.introspect(attempt, lambda: parse_inquiry(read()))
        except Rejected as rejected:
            await send_refusal(send, rejected)
            return
        await send_introspection(send, members)
