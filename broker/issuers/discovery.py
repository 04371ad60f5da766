"""Where an issuer's own metadata says its keys, or its tokens, are. RFC 8414 §3, OpenID §4."""

from typing import Final
from urllib.parse import urlsplit, urlunsplit

from broker.issuers.fetch import FetchFailed, FetchFault, GuardedFetcher
from broker.jose.errors import Malformed
from broker.jose.json import parse_json

_OPENID: Final = "/.well-known/openid-configuration"
_OAUTH: Final = "/.well-known/oauth-authorization-server"


def metadata_urls(issuer: str) -> tuple[str, ...]:
    """Return where the metadata may be: the form that most issuers have comes first."""
    parts = urlsplit(issuer)
    path = parts.path.removesuffix("/")
    # OpenID appends to the issuer's path, RFC 8414 §3.1 inserts before it.
    return tuple(
        urlunsplit((parts.scheme, parts.netloc, where, "", ""))
        for where in (path + _OPENID, _OAUTH + path)
    )


async def fetch_jwks_uri(issuer: str, fetcher: GuardedFetcher) -> str:
    """Return the ``jwks_uri`` of an issuer, from metadata that is truly its own.

    Raises ``FetchFailed``.
    """
    return await _fetch_url(issuer, "jwks_uri", FetchFault.FOREIGN_JWKS_URI, fetcher)


async def fetch_token_endpoint(issuer: str, fetcher: GuardedFetcher) -> str:
    """Return the ``token_endpoint`` of an issuer, likewise.

    Raises ``FetchFailed``.
    """
    return await _fetch_url(issuer, "token_endpoint", FetchFault.FOREIGN_ENDPOINT, fetcher)


async def _fetch_url(issuer: str, member: str, foreign: FetchFault, fetcher: GuardedFetcher) -> str:
    body = await _fetch_metadata(issuer, fetcher)
    try:
        metadata = parse_json(body)
    except Malformed as error:
        raise FetchFailed(FetchFault.NOT_METADATA) from error
    if not isinstance(metadata, dict):
        raise FetchFailed(FetchFault.NOT_METADATA)
    # RFC 8414 §3.3, code point by code point: else one issuer could speak for another (mix-up).
    if metadata.get("issuer") != issuer:
        raise FetchFailed(FetchFault.ISSUER_MISMATCH)
    url = metadata.get(member)
    if not isinstance(url, str):
        raise FetchFailed(FetchFault.NOT_METADATA)
    # A URL that was learnt leads nowhere but where the configured one led (ATK-ISS-02,
    # ATK-SSRF-01). One on another host is configured by itself.
    if not _same_origin(url, issuer):
        raise FetchFailed(foreign)
    return url


async def _fetch_metadata(issuer: str, fetcher: GuardedFetcher) -> bytes:
    first, second = metadata_urls(issuer)
    try:
        return await fetcher.fetch(first)
    except FetchFailed as failed:
        if failed.fault is not FetchFault.STATUS:
            raise
        return await fetcher.fetch(second)


def _same_origin(url: str, issuer: str) -> bool:
    try:
        learnt, configured = urlsplit(url), urlsplit(issuer)
        ports = learnt.port, configured.port
    except ValueError:
        return False
    default = {"https": 443, "http": 80}.get(configured.scheme)
    return (
        learnt.scheme == configured.scheme
        and learnt.hostname == configured.hostname
        and (ports[0] or default) == (ports[1] or default)
    )
