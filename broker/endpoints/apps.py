"""The two HTTP applications: what clients reach, and what only operators reach."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from broker.endpoints.bearer import Bearer
from broker.endpoints.edge import Edge
from broker.endpoints.guard import Door, Guard
from broker.endpoints.health import AdminEndpoints
from broker.endpoints.introspect import IntrospectionEndpoint
from broker.endpoints.metadata import (
    INTROSPECTION_PATH,
    JWKS_PATH,
    REVOCATION_PATH,
    TOKEN_PATH,
    jwks_endpoint,
    metadata_endpoint,
    metadata_paths,
)
from broker.endpoints.proxy import PROXY_PATH, Proxy, ProxyEndpoint
from broker.endpoints.revoke import RevocationEndpoint
from broker.endpoints.source import Networks
from broker.endpoints.token import TokenEndpoint
from broker.errors import ConfigurationError
from broker.exchange.pipeline import TokenExchange
from broker.introspection.introspect import Introspection
from broker.keys.keyring import PublishedJwks
from broker.revocation.revoke import Revocation

_LEAST_TOKEN: Final = 32  # characters


class InForce(Protocol):
    """What the configuration that is in force does."""

    @property
    def exchange(self) -> TokenExchange: ...  # noqa: D102 — as its type says
    @property
    def introspection(self) -> Introspection: ...  # noqa: D102 — likewise
    @property
    def revocation(self) -> Revocation: ...  # noqa: D102 — likewise
    @property
    def proxy(self) -> Proxy: ...  # noqa: D102 — likewise


def build_public_app(
    issuer: str,
    *,
    current: Callable[[], InForce],
    proxies: Callable[[], Networks],
    jwks: Callable[[], PublishedJwks],
    clock: Callable[[], datetime],
    build_id: Callable[[], str],
    door: Callable[[], Door],
    page: Callable[[], str],
    with_proxy: bool,
) -> Edge:
    """Return the application that clients reach, at the path of ``issuer``.

    ``page`` is where refusals lead to; ``with_proxy``: the token proxy has no address of its own.
    """
    path = urlsplit(issuer).path
    metadata = metadata_endpoint(issuer)

    def guarded(where: str, endpoint: ASGIApp) -> Route:
        return Route(path + where, Guard(endpoint, door, proxies, clock))

    routes = [
        guarded(TOKEN_PATH, TokenEndpoint(lambda: current().exchange, proxies, clock)),
        guarded(
            INTROSPECTION_PATH,
            IntrospectionEndpoint(lambda: current().introspection, proxies, clock),
        ),
        guarded(REVOCATION_PATH, RevocationEndpoint(lambda: current().revocation, proxies, clock)),
        Route(path + JWKS_PATH, jwks_endpoint(jwks), methods=["GET"]),
        *(Route(where, metadata, methods=["GET"]) for where in metadata_paths(issuer)),
    ]
    if with_proxy:
        routes.append(_proxy_route(path, current, proxies, clock, door))
    return Edge(_exact(routes), build_id=build_id, page=page)


def build_proxy_app(
    issuer: str,
    *,
    current: Callable[[], InForce],
    proxies: Callable[[], Networks],
    clock: Callable[[], datetime],
    build_id: Callable[[], str],
    door: Callable[[], Door],
) -> Edge:
    """Return the token proxy alone, for an address of its own; its paths are the same."""
    path = urlsplit(issuer).path
    return Edge(_exact([_proxy_route(path, current, proxies, clock, door)]), build_id=build_id)


def build_admin_app(endpoints: AdminEndpoints, *, build_id: Callable[[], str]) -> Edge:
    """Return the application that operators reach."""
    return Edge(_exact(endpoints.routes()), build_id=build_id)


def load_bearer(path: Path | None) -> Bearer | None:
    """Return what guards the admin API; None if there is to be no such API.

    Raises ``ConfigurationError``.
    """
    if path is None:
        return None
    make = f"make one with: openssl rand -base64 32 > {path}"
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"admin.token_file: {path} cannot be read; {make}") from error
    if len(token) < _LEAST_TOKEN:
        raise ConfigurationError(
            f"admin.token_file: {path} holds fewer than {_LEAST_TOKEN} characters; {make}"
        )
    return Bearer(token)


def _proxy_route(
    path: str,
    current: Callable[[], InForce],
    proxies: Callable[[], Networks],
    clock: Callable[[], datetime],
    door: Callable[[], Door],
) -> Route:
    endpoint = ProxyEndpoint(lambda: current().proxy, proxies, clock)
    return Route(path + PROXY_PATH, Guard(endpoint, door, proxies, clock))


def _exact(routes: list[Route]) -> ASGIApp:
    # A path matches exactly or not at all: a redirect would repeat a body with its credentials.
    # A router alone, for what an application adds to it the edge does already.
    return _Direct(routes, Router(routes, redirect_slashes=False))


class _Direct:
    """Hands a request to its endpoint at once where the path alone says which one that is.

    A router asks route after route; an endpoint that takes every method, and no part of the path,
    is the first that would answer.
    """

    __slots__ = ("_endpoints", "_router")

    def __init__(self, routes: list[Route], router: Router) -> None:
        self._router = router
        self._endpoints: dict[str, ASGIApp] = {
            route.path: route.app
            for route in routes
            if route.methods is None and not route.param_convertors
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoints.get(scope["path"], self._router)(scope, receive, send)
