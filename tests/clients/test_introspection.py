"""Introspection and revocation by libraries that nobody here wrote. RFC 7662, RFC 7009."""

import asyncio

import pytest
from authlib.integrations.requests_client import OAuth2Session

from tests.clients.libraries import NOT_RUN, SOURCES, Client, Loopback, javascript
from tests.jwts import BROKER_ISSUER
from tests.wire import assert_issued, basic, exchange_form

PROGRAMS = [
    javascript(library, (SOURCES / f"{library}-introspection.mjs").read_text())
    for library in ("oauth4webapi", "openid-client")
]


class WithAuthlib:
    """Authlib's session over requests."""

    name = "authlib"

    def is_here(self) -> bool:
        return True

    async def ask(self, url: str, asked: dict) -> dict:
        return await asyncio.to_thread(self._ask, url, asked)

    def _ask(self, url: str, asked: dict) -> dict:
        before = self._send(url, asked, "introspect").json()
        stranger = self._send(url, asked, "revoke").json()["error"]
        owner = self._send(url, asked, "revoke", "client")
        assert 200 == owner.status_code
        after = self._send(url, asked, "introspect").json()
        return {"before": before, "stranger": stranger, "owner": "revoked", "after": after}

    def _send(self, url: str, asked: dict, what: str, who: str = "resource_server"):
        with OAuth2Session(asked[who]["id"], asked[who]["secret"]) as session:
            session.mount(BROKER_ISSUER, Loopback(url))
            send = session.introspect_token if what == "introspect" else session.revoke_token
            return send(f"{BROKER_ISSUER}/{what}", asked["token"], "access_token")


@pytest.mark.row("IN-2.2-01", "IN-2.2-02", "RV-2.1-04", "RV-2.1-05", "MD-2-07", "D-07")
@pytest.mark.parametrize("target", ["svc-b", "svc-ref"])
@pytest.mark.parametrize(
    "library",
    [
        pytest.param(
            each,
            id=each.name,
            marks=pytest.mark.skipif(not each.is_here(), reason=NOT_RUN.format(each.name)),
        )
        for each in (WithAuthlib(), *PROGRAMS)
    ],
)
async def test_a_token_is_good_until_its_client_gives_it_back(broker, library, target):
    """RFC 7662, RFC 7009: each finds the endpoints, reads the answers, and has its own errors."""
    response = await broker.exchange(exchange_form(audience=target))
    token = assert_issued(response)["access_token"]
    asked = {
        "issuer": BROKER_ISSUER,
        "token": token,
        "client": Client().knows(),
        "resource_server": Client(target).knows(),
    }
    answer = await library.ask(broker.process.url, asked)

    assert ("unauthorized_client", "revoked") == (answer["stranger"], answer["owner"])
    assert (True, "orders.read", "svc-a") == tuple(
        answer["before"][name] for name in ("active", "scope", "client_id")
    )
    assert {"active": False} == answer["after"]
    assert basic(target)[1] not in str(answer)
