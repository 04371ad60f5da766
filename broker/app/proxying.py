"""The part of a broker that is the token proxy."""

import asyncio
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from broker.app.place import Place
from broker.audit.commit import AuditTrail
from broker.clients.authenticate import Throttle
from broker.endpoints.apps import InForce, build_proxy_app
from broker.endpoints.guard import Door
from broker.endpoints.source import Networks
from broker.keys.envelope import load_kek
from broker.listener import Listener
from broker.policy.engine import PolicyEngine
from broker.proxy.count import HitCounter
from broker.proxy.life import Moment
from broker.proxy.memory import Memory
from broker.proxy.permission import Permissions
from broker.proxy.proxy import TokenProxy
from broker.proxy.seal import Seal
from broker.proxy.shared import SharedTokens
from broker.proxy.store import RedisStore
from broker.proxy.upstream import UpstreamClient
from broker.settings import Proxy, Settings, SharedStore, Upstream

_MIB: Final = 1024 * 1024


class Proxying:
    """What of the proxy outlives every configuration: its memory, and what is counted there."""

    def __init__(
        self, settings: Proxy, *, trail: AuditTrail, clock: Callable[[], datetime]
    ) -> None:
        """Nothing is opened yet. Raises ``ConfigurationError`` for a key that cannot be used."""
        self._hits = HitCounter(trail, clock)
        shared = None if settings.store is None else _build_shared(settings.store)
        self.memory = Memory(self._hits, read_moment, settings.memory * _MIB, shared)

    async def run(self, stop: asyncio.Event) -> None:
        """Record how often tokens are used, until ``stop`` is set; then end what is under way."""
        try:
            await self._hits.run(stop)
        finally:
            await self.memory.flights.aclose()
            if self.memory.shared is not None:
                await self.memory.shared.aclose()


def build_proxy_listener(
    settings: Settings,
    place: Place,
    *,
    current: Callable[[], InForce],
    proxies: Callable[[], Networks],
    build_id: Callable[[], str],
    door: Callable[[], Door],
) -> Listener | None:
    """Return the listener of the proxy, or None if it has no address of its own."""
    listen = settings.proxy.listen
    if listen is None:
        return None
    app = build_proxy_app(
        settings.issuer,
        current=current,
        proxies=proxies,
        clock=lambda: datetime.now(UTC),
        build_id=build_id,
        door=door,
    )
    return place.listener("proxy", app, listen)


def build_shared_store(settings: SharedStore) -> RedisStore:
    """Return the store, which is not opened yet."""
    return RedisStore(
        settings.url.get_secret_value(),
        deadline=settings.deadline.total_seconds(),
        ca_file=None if settings.ca_file is None else str(settings.ca_file),
    )


def _build_shared(settings: SharedStore) -> SharedTokens:
    secret = load_kek(settings.key_file, setting="proxy.store.key_file")
    return SharedTokens(build_shared_store(settings), Seal(secret))


def read_moment() -> Moment:
    """Return the time by both clocks."""
    return Moment(time.monotonic(), time.time())


def wire_proxy(
    settings: Settings,
    engine: PolicyEngine,
    *,
    throttle: Throttle,
    trail: AuditTrail,
    memory: Memory,
    tls: ssl.SSLContext,
    previous: TokenProxy | None,
) -> TokenProxy:
    """Return the proxy of a configuration; what is as it was before goes on as it was.

    Raises ``ConfigurationError``.
    """
    before = {} if previous is None else previous.upstreams
    return TokenProxy(
        {each.name: _wire(each, before.get(each.name), tls) for each in settings.upstreams},
        # A server's policy changes when it likes, and nobody is told.
        permissions=Permissions(engine, remember=settings.policy.engine == "wasm"),
        throttle=throttle,
        trail=trail,
        memory=memory,
    )


def _wire(
    settings: Upstream, previous: UpstreamClient | None, tls: ssl.SSLContext
) -> UpstreamClient:
    if previous is not None and previous.settings == settings:
        return previous
    return UpstreamClient(settings, tls=tls)
