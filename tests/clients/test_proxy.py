"""The token proxy as client libraries see it that nobody here wrote: they are told another URL.

Each is asked for a token at the identity provider itself, then at the proxy, in the same words.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from broker.db.embedded import EmbeddedPostgres
from tests.clients.libraries import NOT_RUN, SOURCES, javascript
from tests.proxying import SECRET, Provider, provider_in_background
from tests.server import BrokerProcess, write_configuration

OAUTH4WEBAPI = javascript("oauth4webapi", (SOURCES / "client-credentials.mjs").read_text())


class Authlib:
    """Authlib's session over requests."""

    name = "authlib"

    def is_here(self) -> bool:
        return True

    async def ask(self, _: str, asked: dict[str, str]) -> dict[str, Any]:
        return await asyncio.to_thread(self._ask, asked)

    def _ask(self, asked: dict[str, str]) -> dict[str, Any]:
        method = asked["method"]
        with OAuth2Session(
            asked["client"],
            asked["secret"],
            scope=asked["scope"],
            token_endpoint_auth_method=method,
        ) as session:
            try:
                token = session.fetch_token(asked["url"], grant_type="client_credentials")
            except OAuthError as raised:
                return {"refusal": {"raised": type(raised).__name__, "error": raised.error}}
        return {"token": dict(token)}


LIBRARIES = [
    pytest.param(
        library,
        method,
        id=f"{library.name}-{method}",
        marks=pytest.mark.skipif(not library.is_here(), reason=NOT_RUN.format(library.name)),
    )
    for library in (Authlib(), OAUTH4WEBAPI)
    for method in ("client_secret_basic", "client_secret_post")
]


@pytest.fixture(scope="module")
def idp() -> Iterator[Provider]:
    """The identity provider."""
    with provider_in_background() as running:
        yield running


@pytest.fixture(scope="module")
def process(
    idp: Provider, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrokerProcess]:
    """The proxy before it."""
    folder = tmp_path_factory.mktemp("proxy-clients")
    upstream = idp.settings(timeout="10s")  # however busy the machine is
    process = BrokerProcess(write_configuration(folder, postgres.app_url, upstreams=[upstream]))
    try:
        process.wait_ready()
        yield process
    finally:
        process.stop()


@pytest.mark.parametrize(("library", "method"), LIBRARIES)
async def test_a_library_changes_its_url_and_nothing_else(process, idp, library, method):
    """RFC 6749 §4.4: the same members as from the provider, and one call for two tokens.

    The secret has signs that one library encodes in a Basic header and the other does not.
    """
    asked = {"client": "checkout", "secret": SECRET, "method": method}
    asked["scope"] = f"{library.name}.{method}"
    direct = (await library.ask("", asked | {"url": idp.url}))["token"]
    calls = idp.calls
    proxied = [
        (await library.ask("", asked | {"url": f"{process.url}/proxy/idp/token"}))["token"]
        for _ in range(2)
    ]

    assert direct.keys() == proxied[0].keys()
    assert direct["token_type"].lower() == proxied[0]["token_type"].lower() == "bearer"
    assert proxied[0]["access_token"] == proxied[1]["access_token"] != direct["access_token"]
    assert 3590 <= proxied[1]["expires_in"] <= 3600
    assert calls + 1 == idp.calls


@pytest.mark.parametrize(("library", "method"), LIBRARIES)
async def test_a_library_s_own_error_is_the_provider_s(process, idp, library, method):
    """A wrong secret looks as it always did."""
    asked = {"client": "checkout", "secret": "wrong", "method": method, "scope": library.name}
    direct = await library.ask("", asked | {"url": idp.url})
    proxied = await library.ask("", asked | {"url": f"{process.url}/proxy/idp/token"})

    assert direct == proxied
    assert "invalid_client" == proxied["refusal"]["error"]
