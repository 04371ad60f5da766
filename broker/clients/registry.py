"""The configured clients, each with what it authenticates by."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from broker.clients.secret import SecretHashes
from broker.domain import Client, Principal
from broker.issuers.fetch import Resolve, build_tls, resolve_name
from broker.issuers.jwks import KeySource
from broker.issuers.sources import build_key_source
from broker.oauth import AuthMethod
from broker.settings import ClientSettings, Settings

_TICK: Final = timedelta(seconds=5)  # how often the background looks for what is due
# What two configurations must share for the keys that one has fetched to be the other's.
_KEY_SETTINGS: Final = ("id", "jwks_uri", "ca_file", "allow_private_network", "algorithms")


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """A client as the steps after this one see it, and what proves that it is the one."""

    settings: ClientSettings = field(repr=False)
    client: Client
    secrets: SecretHashes = field(repr=False)
    keys: KeySource | None = field(repr=False)  # only of ``private_key_jwt``


class ClientRegistry:
    """Every configured client by its id; one configuration, which a reload replaces whole."""

    def __init__(
        self,
        settings: Settings,
        *,
        previous: "ClientRegistry | None" = None,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = resolve_name,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``previous`` is the registry that this one replaces: fetched keys of the same client,
        fetched in the same way, stay, so that a reload during an outage loses nothing.

        Raises ``ConfigurationError`` for keys in the configuration that cannot be used.
        """  # noqa: D205 — one thought
        shared = build_tls() if tls is None else tls
        self.nobody = SecretHashes.load()  # what the secret of an unknown client is compared with
        self._clients: dict[str, RegisteredClient] = {}
        for client in settings.clients:
            keys: KeySource | None = None
            if client.auth is AuthMethod.PRIVATE_KEY_JWT:
                keys = None if previous is None else previous.fetched_keys(client)
                keys = keys or build_key_source(
                    f"client:{client.id}", client, tls=shared, resolve=resolve, monotonic=monotonic
                )
            self._clients[client.id] = RegisteredClient(
                settings=client,
                client=build_client(client, settings.issuer),
                secrets=SecretHashes.load([s.get_secret_value() for s in client.secrets]),
                keys=keys,
            )

    def __iter__(self) -> Iterator[RegisteredClient]:
        return iter(self._clients.values())

    def find(self, client_id: str) -> RegisteredClient | None:
        """Return the client of exactly this id, or None."""
        return self._clients.get(client_id)

    def fetched_keys(self, client: ClientSettings) -> KeySource | None:
        """Return the fetched keys that fit another configuration of this client."""
        mine = self._clients.get(client.id)
        if mine is None or client.jwks_uri is None:
            return None
        same = all(getattr(mine.settings, n) == getattr(client, n) for n in _KEY_SETTINGS)
        return mine.keys if same else None

    async def load_all(self) -> None:
        """Try every client's keys once, at the same time; what fails fails only that client."""
        await asyncio.gather(*(client.keys.refresh() for client in self if client.keys))

    async def run(self, stop: asyncio.Event) -> None:
        """Keep all keys fresh until ``stop``, so that no request has to wait for them."""
        while not stop.is_set():
            await self.load_all()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _TICK.total_seconds())
        await self.aclose()

    async def aclose(self) -> None:
        """Give up all loads that are under way."""
        await asyncio.gather(*(client.keys.aclose() for client in self if client.keys))


def build_client(settings: ClientSettings, issuer: str) -> Client:
    """Return a configured client as the steps see it; ``issuer`` is our own."""
    return Client(
        id=settings.id,
        principal=Principal(issuer, settings.id),
        auth_method=settings.auth,
        targets=frozenset(settings.targets),
        known_as=frozenset(Principal(known.issuer, known.id) for known in settings.known_as),
        default_target=settings.default_target,
        grant_types=frozenset(settings.grant_types),
    )
