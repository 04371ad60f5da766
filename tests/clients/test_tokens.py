"""The issued token as libraries for resource servers see it that nobody here wrote. RFC 9068 §4."""

import asyncio

import pytest
import requests
from authlib.oauth2.rfc6749 import ResourceProtector
from authlib.oauth2.rfc6750.errors import InsufficientScopeError, InvalidTokenError
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from joserfc.jwk import KeySet

from tests.clients.libraries import NOT_RUN, RESOURCE_SERVER
from tests.jwts import BROKER_ISSUER, unverified_claims
from tests.wire import assert_issued, exchange_form

needs_oauth4webapi = pytest.mark.skipif(
    not RESOURCE_SERVER.is_here(), reason=NOT_RUN.format("oauth4webapi")
)


class Validator(JWTBearerTokenValidator):
    """Authlib's, with the keys that the broker publishes."""

    def __init__(self, url: str, audience: str) -> None:
        super().__init__(issuer=BROKER_ISSUER, resource_server=audience)
        self._url = url

    def get_jwks(self):
        document = requests.get(f"{self._url}/.well-known/jwks.json", timeout=10).json()
        return KeySet.import_key_set(document)


def protect(url: str, audience: str, token: str, scopes: list[str]):
    """What Authlib's resource protector says to a request with this token."""
    protector = ResourceProtector()
    protector.register_token_validator(Validator(url, audience))
    request = requests.Request(headers={"Authorization": f"Bearer {token}"})
    return protector.validate_request(scopes, request)


@pytest.fixture
async def token(broker) -> str:
    """A token for ``svc-b``."""
    return assert_issued(await broker.exchange(exchange_form()))["access_token"]


@pytest.mark.row("AT-2.2-01", "JK-01")
async def test_authlib_lets_the_token_in_at_its_target(broker, token):
    """RFC 9068 §4: signature, type, issuer, audience, times and scope, judged by Authlib."""
    url = broker.process.url
    claims = await asyncio.to_thread(protect, url, "svc-b", token, ["orders.read"])

    assert unverified_claims(token) == dict(claims)


@pytest.mark.row("AT-2.2-01")
@pytest.mark.parametrize(
    ("audience", "scope", "error"),
    [
        pytest.param("svc-c", "orders.read", InvalidTokenError, id="another-service"),
        pytest.param("svc-b", "orders.write", InsufficientScopeError, id="another-scope"),
    ],
)
async def test_authlib_lets_it_in_nowhere_else(broker, token, audience, scope, error):
    """The twin of the test above: what was narrowed is seen to be narrow."""
    with pytest.raises(error):
        await asyncio.to_thread(protect, broker.process.url, audience, token, [scope])


@needs_oauth4webapi
@pytest.mark.row("AT-2.2-01", "MD-2-01", "JK-01")
@pytest.mark.parametrize("target", ["svc-b", "svc-rsa", "svc-ed"])
async def test_oauth4webapi_lets_the_token_in_at_its_target(broker, target):
    """RFC 9068 §4: each algorithm that a target may have, found by the metadata's JWK Set."""
    token = assert_issued(await broker.exchange(exchange_form(audience=target)))["access_token"]
    asked = {"issuer": BROKER_ISSUER, "token": token, "audience": target}
    answer = await RESOURCE_SERVER.ask(broker.process.url, asked)

    assert {"claims": unverified_claims(token)} == answer


@needs_oauth4webapi
@pytest.mark.row("AT-2.2-01")
async def test_oauth4webapi_lets_it_in_nowhere_else(broker, token):
    """The twin of the test above."""
    asked = {"issuer": BROKER_ISSUER, "token": token, "audience": "svc-c"}
    answer = await RESOURCE_SERVER.ask(broker.process.url, asked)

    assert 'unexpected JWT "aud" (audience) claim value' == answer["refusal"]["message"]
