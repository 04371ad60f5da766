"""The issuers whose tokens may be presented, found by exact match. RFC 8725 §3.8, RFC 8414 §4."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, get_args

from broker.issuers.fetch import FetchFault, Resolve, build_tls, resolve_name
from broker.issuers.introspection import Introspector, build_introspector
from broker.issuers.jwks import KeySource, LiveKeys, NoKeys
from broker.issuers.sources import build_key_source
from broker.jose.jwk import KeySet
from broker.oauth import TYP_ACCESS_TOKEN, TokenType
from broker.settings import SigningAlgorithm, TrustedIssuer

_TICK: Final = timedelta(seconds=5)  # how often the background looks for what is due
# What two configurations must share for the keys that one has loaded to be the other's.
_KEY_SETTINGS: Final = ("jwks_uri", "discovery", "ca_file", "allow_private_network", "algorithms")


@dataclass(frozen=True, slots=True)
class IssuerStatus:
    """How it stands with the keys of one issuer, for readiness and ``broker doctor``."""

    alias: str
    issuer: str
    loaded: bool
    age: float | None  # seconds
    fault: FetchFault | None  # of the last load


def own_issuer(issuer: str) -> TrustedIssuer:
    """Return the rules for our own tokens: an issuer like any other, but believed in all it says.

    RFC 9068 §4: ``typ`` must be ``at+jwt``.
    """
    return TrustedIssuer.model_construct(
        issuer=issuer,
        alias="self",
        algorithms=get_args(SigningAlgorithm),
        token_types=(TokenType.ACCESS_TOKEN, TokenType.JWT),
        typ=(TYP_ACCESS_TOKEN,),
        require=(
            *("jti", "client_id", "sub_id", "txn"),
            *("lineage", "lineage_keys", "lineage_clients", "root_iat"),
            *("delegation_depth", "max_delegation_depth"),
        ),
        client_claim="client_id",
        asserts=("act", "may_act", "max_delegation_depth"),
    )


class IssuerRegistry:
    """Every trusted issuer with the source of its keys, and who asks it; ours is one of them."""

    def __init__(
        self,
        issuers: Iterable[TrustedIssuer],
        *,
        own: str,
        own_keys: Callable[[], KeySet],
        previous: "IssuerRegistry | None" = None,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = resolve_name,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``own`` is our own issuer identifier and ``own_keys`` gives the keyring's public keys.

        ``previous`` is the registry that this one replaces: keys that it has fetched for the same
        issuer in the same way stay, so that a reload during an outage loses nothing.

        Raises ``ConfigurationError`` for keys in the configuration that cannot be used, and for
        what an issuer cannot be asked with.
        """
        shared = build_tls() if tls is None else tls
        ours = own_issuer(own)
        self._issuers = {issuer.issuer: issuer for issuer in issuers} | {own: ours}
        self._sources: dict[str, KeySource] = {own: LiveKeys(own_keys)}
        # Made anew each time: a client secret may have changed in its file.
        self._introspectors = {
            issuer.issuer: build_introspector(
                issuer.alias, issuer.introspection, tls=shared, resolve=resolve, monotonic=monotonic
            )
            for issuer in self._issuers.values()
            if issuer.introspection is not None
        }
        for issuer in self._issuers.values():
            if issuer is ours:
                continue
            if not issuer.has_keys:
                self._sources[issuer.issuer] = NoKeys()
                continue
            kept = None if previous is None else previous.loaded_source(issuer)
            self._sources[issuer.issuer] = kept or build_key_source(
                issuer.alias,
                issuer,
                tls=shared,
                discover=issuer.issuer if issuer.discovery else None,
                resolve=resolve,
                monotonic=monotonic,
            )

    @property
    def issuers(self) -> tuple[TrustedIssuer, ...]:
        """Every trusted issuer, ours included."""
        return tuple(self._issuers.values())

    def find(self, iss: str) -> TrustedIssuer | None:
        """Return the issuer of exactly this name, code point by code point, or None."""
        return self._issuers.get(iss)

    def key_source(self, issuer: TrustedIssuer) -> KeySource:
        """Return where the keys of an issuer of this registry come from."""
        return self._sources[issuer.issuer]

    def introspector(self, issuer: TrustedIssuer) -> Introspector | None:
        """Return who asks an issuer of this registry about its tokens; None if it is not asked."""
        return self._introspectors.get(issuer.issuer)

    def loaded_source(self, issuer: TrustedIssuer) -> KeySource | None:
        """Return the source of fetched keys that fits another configuration of this issuer."""
        mine = self._issuers.get(issuer.issuer)
        fetched = issuer.jwks is None and issuer.jwks_file is None
        if mine is None or not fetched or _key_settings(mine) != _key_settings(issuer):
            return None
        return self._sources[issuer.issuer]

    def status(self) -> list[IssuerStatus]:
        """Return how it stands with each issuer's keys, ours included."""
        return [
            IssuerStatus(issuer.alias, name, source.loaded, source.age, source.fault)
            for name, issuer in self._issuers.items()
            for source in [self._sources[name]]
        ]

    async def load_all(self) -> None:
        """Try every issuer once, at the same time; one that is down fails only its own tokens."""
        await asyncio.gather(*(source.refresh() for source in self._sources.values()))

    async def run(self, stop: asyncio.Event) -> None:
        """Keep all keys fresh, ahead of the requests that need them, until ``stop``."""
        while not stop.is_set():
            await self.load_all()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _TICK.total_seconds())

    async def aclose(self) -> None:
        """Give up all that is under way; not on a reload, for loads of keys may be shared."""
        await asyncio.gather(
            *(source.aclose() for source in self._sources.values()),
            *(introspector.aclose() for introspector in self._introspectors.values()),
        )


def _key_settings(issuer: TrustedIssuer) -> tuple[object, ...]:
    return tuple(getattr(issuer, name) for name in _KEY_SETTINGS)
