"""An identity provider of client-credentials tokens: it counts, and can be made to misbehave."""

import asyncio
import base64
import contextlib
import json
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from tests.loopback import Answer, http_answer, json_answer

SECRET = "a very secret s3cret+%"  # what no library sends unencoded, if it follows RFC 6749
TOKEN_PATH = "/oauth2/token"


def grant(**parameters: str) -> dict[str, str]:
    """A good form."""
    return {"grant_type": "client_credentials"} | parameters


def token(number: int = 1, **members: Any) -> dict[str, Any]:
    """What is answered with a token; ``None`` leaves a member out."""
    answer = {
        "access_token": f"upstream-token-{number}",
        "token_type": "Bearer",
        "expires_in": 3600,
    } | members
    return {name: value for name, value in answer.items() if value is not None}


@dataclass
class Provider:
    """What it was asked, and what it answers; ``answer`` instead says the same to all."""

    answer: Callable[[], Answer] | Answer | None = None
    pause: float = 0.0
    described: bool = True  # whether it has metadata
    members: dict[str, Any] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset({SECRET})
    forms: list[dict[str, str]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    port: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Its token endpoint."""
        return f"http://127.0.0.1:{self.port}{TOKEN_PATH}"

    @property
    def calls(self) -> int:
        """How often it was asked for a token."""
        return len(self.forms)

    def scopes(self) -> Counter[str]:
        """How often it was asked for each scope."""
        return Counter(form.get("scope", "") for form in self.forms)

    def settings(self, **overrides: Any) -> dict[str, Any]:
        """An entry of ``upstreams``."""
        return {
            "name": "idp",
            "token_endpoint": self.url,
            "allow_private_network": True,
            "clients": ["checkout", "billing"],
            "parameters": ["tenant"],
        } | overrides

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        with contextlib.suppress(OSError, EOFError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"(?im)^content-length: *([0-9]+)", head)
            body = (await reader.readexactly(int(length[1]) if length else 0)).decode()
            if head.startswith("GET"):
                writer.write(self._describe())
            else:
                await self._give(head, body, writer)
            await writer.drain()
        writer.close()

    async def _give(self, head: str, body: str, writer: asyncio.StreamWriter) -> None:
        form = dict(parse_qsl(body))
        with self._lock:
            self.heads.append(head)
            self.forms.append(form)
            number = self.calls
        await asyncio.sleep(self.pause)
        answer = self.answer() if callable(self.answer) else self.answer
        if answer is None:
            answer = self._judge(head, form, number)
        if isinstance(answer, bytes):
            writer.write(answer)
            return
        async for chunk in answer:
            writer.write(chunk)
            await writer.drain()

    def _judge(self, head: str, form: dict[str, str], number: int) -> bytes:
        if not _secrets(head, form) & self.secrets:
            refusal = {"error": "invalid_client", "error_description": "no", "trace_id": "t-1"}
            challenge = 'Basic realm="idp"'
            return json_answer(refusal, status="401 Unauthorized", WWW_Authenticate=challenge)
        said = {"scope": form["scope"]} if "scope" in form else {}
        return json_answer(token(number, **said | self.members))

    def _describe(self) -> bytes:
        issuer = f"http://127.0.0.1:{self.port}"
        if not self.described:
            return http_answer(b"", status="503 Service Unavailable")
        return json_answer({"issuer": issuer, "token_endpoint": self.url})


def _secrets(head: str, form: dict[str, str]) -> set[str | None]:
    """The secret that was sent, as it is and decoded: libraries differ in RFC 6749 §2.3.1."""
    basic = re.search(r"(?im)^authorization: *basic +(\S+)", head)
    if basic is None:
        return {form.get("client_secret")}
    sent = base64.b64decode(basic[1]).decode().partition(":")[2]
    return {sent, unquote_plus(sent)}


@contextlib.asynccontextmanager
async def provider(**behaviour: Any) -> AsyncIterator[Provider]:
    """A provider for as long as the block lasts."""
    state = Provider(**behaviour)
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await state.serve(reader, writer)
        writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=1024)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def provider_in_background() -> Iterator[Provider]:
    """The same for tests that share a broker, each of which has a loop of its own."""
    ready, found = threading.Event(), []
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with provider() as running:
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


def body_of(response: Any) -> dict[str, Any]:
    """What a response says, but for how long its token lives."""
    members = json.loads(response.content)
    members.pop("expires_in", None)
    return members
