"""``POST /proxy/{upstream}/token``: a service's own token endpoint, but near. RFC 6749 §4.4.

Whatever the upstream would have answered is answered here as well: a token with what is left of its
life, or its own error with its status, its challenge and its ``Retry-After``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from starlette.types import Receive, Scope, Send

from broker.domain import Attempt
from broker.endpoints.answer import JSON, NO_STORE, send_body, send_refusal
from broker.endpoints.inbound import read_request
from broker.endpoints.source import Networks, client_source
from broker.errors import Rejected
from broker.proxy.proxy import ProxyAnswer
from broker.proxy.request import ProxyRequest, parse_request
from broker.settings import Upstream
from broker.telemetry.logs import current_request_id

PROXY_PATH: Final = "/proxy/{upstream}/token"


class Proxy(Protocol):
    """What the endpoint asks."""

    async def answer(
        self, attempt: Attempt, name: str, parse: Callable[[Upstream], ProxyRequest]
    ) -> ProxyAnswer:
        """Return what to send, or raise ``Rejected``."""
        ...


@dataclass(frozen=True, slots=True)
class ProxyEndpoint:
    """The proxy as an ASGI application; ``current`` as at the token endpoint."""

    current: Callable[[], Proxy]
    proxies: Callable[[], Networks]
    clock: Callable[[], datetime]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        proxy = self.current()
        source = client_source(scope, self.proxies())
        attempt = Attempt(current_request_id.get(), source, self.clock(), "proxy")
        read = await read_request(scope, receive)

        def parse(upstream: Upstream) -> ProxyRequest:
            return parse_request(read(), upstream=upstream.name, parameters=upstream.parameters)

        try:
            answer = await proxy.answer(attempt, scope["path_params"]["upstream"], parse)
        except Rejected as rejected:
            await send_refusal(send, rejected)
            return
        headers = [JSON, *NO_STORE, *answer.headers]
        await send_body(send, answer.status, answer.body, headers)
