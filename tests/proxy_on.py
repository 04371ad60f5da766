"""A token proxy over a real trail, a real policy and a provider, with clocks that a test sets."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from broker.app.proxying import wire_proxy
from broker.clients.request import RawRequest
from broker.domain import Attempt
from broker.errors import Reason, Rejected
from broker.issuers.fetch import BasicCredentials, build_tls
from broker.limits.throttle import FailureThrottle
from broker.policy.engine import PolicyEngine
from broker.proxy.count import HitCounter
from broker.proxy.life import Moment
from broker.proxy.memory import Memory
from broker.proxy.proxy import ProxyAnswer, TokenProxy
from broker.proxy.request import ProxyRequest, parse_request
from broker.proxy.shared import SharedTokens
from broker.settings import Rate, Settings, Upstream
from tests.audit import new_id, now
from tests.configuration import document
from tests.integration.audit.test_commit import trail_on
from tests.proxying import SECRET, Provider, grant
from tests.server import eventually

_TLS = build_tls()
FORM = "application/x-www-form-urlencoded"


class Clocks:
    """Both clocks of a machine, which go on when a test says so."""

    def __init__(self) -> None:
        self.monotonic, self.wall = 1000.0, 1_800_000_000.0

    def read(self) -> Moment:
        return Moment(self.monotonic, self.wall)

    def forward(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


class OpenProxy:
    """The proxy, and what a service would do with it."""

    def __init__(self, proxy: TokenProxy, memory: Memory, clocks: Clocks) -> None:
        self.proxy = proxy
        self.memory = memory
        self.clocks = clocks

    async def ask(
        self,
        form: dict[str, str] | None = None,
        *,
        client: str = "checkout",
        secret: str = SECRET,
        upstream: str = "idp",
        source: str = "192.0.2.1",
    ) -> ProxyAnswer | Reason:
        """What is answered; or the reason, where the broker refuses."""
        raw = RawRequest(
            content_types=(FORM,),
            query=b"",
            authorization=(BasicCredentials(client, secret).header,),
            body=urlencode(grant() if form is None else form).encode(),
        )

        def parse(settings: Upstream) -> ProxyRequest:
            return parse_request(raw, upstream=settings.name, parameters=settings.parameters)

        try:
            return await self.proxy.answer(
                Attempt(new_id(), source, now(), "proxy"), upstream, parse
            )
        except Rejected as rejected:
            return rejected.reason

    async def settled(self) -> None:
        """Return once nothing is under way."""

        async def nothing() -> bool:
            return not len(self.memory.flights)

        await eventually(nothing)

    async def token(self, *asked: Any, **options: Any) -> dict[str, Any]:
        """The members of a token."""
        answer = await self.ask(*asked, **options)
        assert isinstance(answer, ProxyAnswer), answer
        assert 200 == answer.status, answer.body
        return json.loads(answer.body)


@asynccontextmanager
async def proxy_on(
    database_url: str,
    engine: PolicyEngine,
    provider: Provider,
    *,
    max_bytes: int = 1024 * 1024,
    rate: str = "1000/1m",
    rows: int = 1000,
    deadline: timedelta = timedelta(seconds=5),
    shared: SharedTokens | None = None,
    **upstream: Any,
) -> AsyncIterator[OpenProxy]:
    """A proxy for one upstream, for as long as the block lasts."""
    settings = Settings.model_validate(
        document(listen={"port": 0}, upstreams=[provider.settings(**upstream)])
    )
    clocks = Clocks()
    async with trail_on(database_url, rows=rows, deadline=deadline) as trail:
        memory = Memory(HitCounter(trail, now), clocks.read, max_bytes, shared)
        proxy = wire_proxy(
            settings,
            engine,
            throttle=FailureThrottle(Rate.model_validate(rate)),
            trail=trail,
            memory=memory,
            tls=_TLS,
            previous=None,
        )
        try:
            yield OpenProxy(proxy, memory, clocks)
        finally:
            await memory.flights.aclose()
