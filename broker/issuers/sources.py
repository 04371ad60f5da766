"""Make the source of somebody's keys from what the configuration says about it."""

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from broker.errors import ConfigurationError
from broker.issuers.discovery import fetch_jwks_uri
from broker.issuers.fetch import (
    MAX_DOCUMENT,
    FetchFailed,
    FetchFault,
    GuardedFetcher,
    Resolve,
    build_tls,
    resolve_name,
)
from broker.issuers.jwks import CachedKeys, KeySource, LiveKeys
from broker.jose.errors import Malformed
from broker.jose.jwk import KeySet, load_keys

_JSON_FILE_SLACK: Final = 1  # byte: enough to see that a file is larger than allowed


class KeySettings(Protocol):
    """What the settings of an issuer and of a client say about keys: one source of several."""

    @property
    def jwks(self) -> Mapping[str, Any] | None: ...  # noqa: D102 — as in the settings
    @property
    def jwks_uri(self) -> str | None: ...  # noqa: D102 — likewise
    @property
    def jwks_file(self) -> Path | None: ...  # noqa: D102 — likewise
    @property
    def ca_file(self) -> Path | None: ...  # noqa: D102 — likewise
    @property
    def allow_private_network(self) -> bool: ...  # noqa: D102 — likewise
    @property
    def algorithms(self) -> Collection[str]: ...  # noqa: D102 — likewise


def build_key_source(
    name: str,
    settings: KeySettings,
    *,
    tls: ssl.SSLContext,
    discover: str | None = None,
    resolve: Resolve = resolve_name,
    monotonic: Callable[[], float] = time.monotonic,
) -> KeySource:
    """Return the source of the keys of an issuer or a client; nothing is loaded over a network yet.

    ``name`` labels metrics and logs and appears in errors; ``tls`` serves where there is no
    ``ca_file``; ``discover`` is the issuer whose metadata names the keys, if that is asked for.

    Raises ``ConfigurationError`` for inline keys or a file without a usable key.
    """
    algorithms = frozenset(settings.algorithms)
    if settings.jwks is not None:
        return _inline(name, settings.jwks, algorithms)

    # Not a secret: it only keeps replicas from asking one issuer at the same moment.
    spread = random.random()  # noqa: S311 — see above
    if settings.jwks_file is not None:
        file = settings.jwks_file

        async def from_file() -> KeySet:
            return read_key_set(await asyncio.to_thread(_read_file, file), algorithms)

        _check_file(name, file, algorithms)
        return CachedKeys(name, from_file, spread=spread, monotonic=monotonic)

    fetcher = GuardedFetcher(
        tls_for(name, settings.ca_file, tls),
        allow_private_network=settings.allow_private_network,
        resolve=resolve,
    )
    uri = settings.jwks_uri
    if uri is None and discover is None:
        raise ConfigurationError(f"{name}: write one of jwks, jwks_uri, jwks_file, discovery")

    async def from_network() -> KeySet:
        where = uri if uri is not None else await fetch_jwks_uri(discover or "", fetcher)
        return read_key_set(await fetcher.fetch(where), algorithms)

    return CachedKeys(name, from_network, spread=spread, monotonic=monotonic)


def read_key_set(document: bytes, algorithms: Collection[str]) -> KeySet:
    """Return the usable keys of a JWK set document.

    Raises ``FetchFailed``: a set without one is a fault of its owner and not an order to drop all.
    """
    try:
        keys = load_keys(document, algorithms)
    except Malformed as error:
        raise FetchFailed(FetchFault.NOT_A_KEY_SET) from error
    if not len(keys):
        raise FetchFailed(FetchFault.NO_USABLE_KEY)
    return keys


def _inline(name: str, jwks: Mapping[str, Any], algorithms: Collection[str]) -> KeySource:
    try:
        keys = load_keys(jwks, algorithms)
    except Malformed as error:
        raise ConfigurationError(f"{name}: jwks is not a key set: {error}") from error
    if not len(keys):
        raise ConfigurationError(
            f"{name}: jwks has no key that verifies one of {', '.join(sorted(algorithms))}"
        )
    return LiveKeys(lambda: keys)


def _check_file(name: str, file: Path, algorithms: Collection[str]) -> None:
    try:
        read_key_set(_read_file(file), algorithms)
    except FetchFailed as failed:
        raise ConfigurationError(
            f"{name}: jwks_file {file} cannot be used ({failed.fault.value});"
            f" write a JWK set with a key for one of {', '.join(sorted(algorithms))}"
        ) from failed


def _read_file(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            document = opened.read(MAX_DOCUMENT + _JSON_FILE_SLACK)
    except OSError as error:
        raise FetchFailed(FetchFault.FILE_UNREADABLE) from error
    if len(document) > MAX_DOCUMENT:
        raise FetchFailed(FetchFault.TOO_LARGE)
    return document


def tls_for(name: str, ca_file: Path | None, shared: ssl.SSLContext) -> ssl.SSLContext:
    """Return the TLS settings with a ``ca_file``, or the shared ones without.

    Raises ``ConfigurationError``, which begins with ``name``.
    """
    if ca_file is None:
        return shared
    try:
        return build_tls(ca_file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{name}: ca_file {ca_file} cannot be used; write a file of PEM certificates"
        ) from error
