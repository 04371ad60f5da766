"""An issuer that is asked about its tokens (RFC 7662), and whose every answer is the test's."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

from tests.jwts import ABSENT, IDP
from tests.loopback import Answer, Loopback, json_answer, loopback

ENDPOINT = "/introspect"
CLIENT_ID = "broker: at the idp"
CLIENT_SECRET = "a secret/with+signs%"
PREFIX = "idp_at_"
INACTIVE = {"active": False}


def active(**overrides: Any) -> dict[str, Any]:
    """What is said of a good token: alice's, for ``svc-a``; ``ABSENT`` removes a member."""
    now = int(time.time())
    answer = {
        "active": True,
        "iss": IDP,
        "sub": "alice",
        "aud": "svc-a",
        "scope": "orders.read",
        "client_id": "web",
        "token_type": "Bearer",
        "iat": now - 5,
        "exp": now + 86_400,  # some are made when tests are collected
        "jti": "at-1",
    } | overrides
    return {name: value for name, value in answer.items() if value is not ABSENT}


def introspection(server: Loopback, **overrides: Any) -> dict[str, Any]:
    """The settings by which it is asked."""
    return {
        "endpoint": server.url(ENDPOINT),
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "allow_private_network": True,
        "deadline": "3s",  # however busy the machine is
    } | overrides


class Endpoint:
    """Its tokens, and what it says of each; about any other token it says that it is not active.

    ``answer`` instead says the same of all, whatever it is.
    """

    def __init__(self, server: Loopback) -> None:
        self.server = server
        self.tokens: dict[str, dict[str, Any]] = {}
        self.answer: Callable[[], Answer] | Answer | None = None
        server.answers[ENDPOINT] = self._say

    @property
    def asked(self) -> list[str]:
        """Every token that it was asked about, in order."""
        return [dict(parse_qsl(body.decode()))["token"] for body in self.server.bodies]

    def forget(self) -> None:
        """Begin anew."""
        self.server.bodies.clear()
        self.tokens.clear()
        self.answer = None

    def _say(self) -> Answer:
        if self.answer is None:
            return json_answer(self.tokens.get(self.asked[-1], INACTIVE))
        return self.answer() if callable(self.answer) else self.answer


async def silence() -> AsyncIterator[bytes]:
    """An answer that does not come."""
    await asyncio.sleep(60)
    yield b""


@contextlib.asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    """An endpoint on loopback for as long as the block lasts."""
    async with loopback() as server:
        yield Endpoint(server)


@contextlib.contextmanager
def endpoint_in_background() -> Iterator[Endpoint]:
    """The same for tests that share a broker, each of which has a loop of its own."""
    ready, found = threading.Event(), []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with endpoint() as running:
            found.append(running)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
