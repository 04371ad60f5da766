"""Drill 12: peers that send too much, too slowly or nothing, against a whole broker at once."""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Iterator

import psutil
import pytest

from tests.drills.conftest import Start
from tests.drills.load import PATIENT, WITHIN, is_ready, load
from tests.fixtures.postgres import OneDatabase
from tests.jwts import IDP, KEYS, b64url, compact
from tests.server import FORM, eventually
from tests.wire import exchange_form

pytestmark = pytest.mark.drill

MIB = 1 << 20
IDLE = 1000
SLOW = 100


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many sockets as the system allows, for the test and for what it starts."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def post(body: bytes, content_type: str = FORM, length: int | None = None) -> bytes:
    """A request for a token with this body."""
    head = (
        f"POST /token HTTP/1.1\r\nHost: broker.test\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


def form_of(token: str) -> bytes:
    """A form that presents this token."""
    pairs = exchange_form(subject_token=token)
    return "&".join(f"{name}={value}" for name, value in pairs).encode()


def nested(depth: int) -> str:
    """A token whose claims are an array in an array, and so on."""
    claims = b'{"iss": "' + IDP.encode() + b'", "x": ' + b"[" * depth + b"]" * depth + b"}"
    return compact({"alg": "ES256", "typ": "JWT"}, claims, KEYS[IDP], "ES256")


SENT = {
    "a-megabyte-of-header": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * MIB,
    "100-megabytes-of-body": post(b"a" * 4 * MIB, length=100 * MIB),
    "multipart": post(b"--x\r\n" * 10_000, "multipart/form-data; boundary=x"),
    "deep-json": post(form_of(nested(5_000))),
    "deeper-json": post(form_of(nested(100_000))),
    "16000-dots": post(form_of("." * 16_000)),
    "a-million-dots": post(form_of("." * 1_000_000)),
    "ten-thousand-parameters": post(b"&".join(b"a%d=b" % n for n in range(10_000))),
    "not-http": bytes(range(256)) * 100,
    "deep-header": post(form_of(b64url(b'{"alg":' + b"[" * 9000 + b"}") + ".e30.AA")),
}


async def send(port: int, sent: bytes) -> bytes:
    """Send all of it, and return all that was answered until the connection ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        # Whoever is reset while he sends reads no answer; asyncio says so by any OSError.
        with contextlib.suppress(OSError):
            writer.write(sent)
            await writer.drain()
            writer.write_eof()
            return await reader.read()
        return b""
    finally:
        writer.transport.abort()


async def drip(port: int, first: bytes) -> bytes:
    """Send the beginning, then a byte now and then; return what is answered to that."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(first)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    return await reader.read(65536)
            writer.write(b"a")
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def idle(port: int, count: int) -> AsyncIterator[None]:
    """Hold connections on which nothing is said."""
    writers = []
    try:
        for _ in range(count):
            writers.append((await asyncio.open_connection("127.0.0.1", port))[1])
        yield
    finally:
        for writer in writers:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def highest(pid: int) -> AsyncIterator[list[int]]:
    """The most resident memory, in bytes, that the process has had so far."""
    process, most = psutil.Process(pid), [0]

    async def look() -> None:
        while True:
            most[0] = max(most[0], process.memory_info().rss)
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look())
    try:
        yield most
    finally:
        looking.cancel()


@pytest.mark.row("DRILL-12", "ATK-DOS-01", "OA-H-01")
@pytest.mark.timeout(180)
async def test_hostile_peers_cost_little_memory_and_nobody_his_token(
    many_files: None, fresh: OneDatabase, start: Start
) -> None:
    """Ours: only 4xx or an ended connection, less than 50 MB, and good traffic is served."""
    process = start(fresh.app_url, **PATIENT)
    await asyncio.to_thread(process.wait_ready)
    heads = b"GET / HTTP/1.1\r\nHost: broker.test\r\nX: "
    bodies = post(b"grant_type=", length=1000)

    async with load(lambda: process.url, connections=2, pause=0.02) as good:
        await good.more(200, 100)
        before = psutil.Process(process.process.pid).memory_info().rss
        async with highest(process.process.pid) as most, idle(process.port, IDLE):
            served = good.statuses[200]
            slow = [
                asyncio.create_task(drip(process.port, first))
                for first in (heads, bodies)
                for _ in range(SLOW)
            ]
            sent = [each for each in SENT.items() for _ in range(8)]
            answered = await asyncio.gather(*(send(process.port, each) for _, each in sent))
            slowly = await asyncio.gather(*slow)
            await good.more(200, 50)
            assert served + 50 <= good.statuses[200]
        after = psutil.Process(process.process.pid).memory_info().rss

    assert {200} == set(good.statuses)
    assert [] == good.broken
    assert all(answer.seconds < WITHIN for answer in good.answers)
    # Whoever still sends when the connection is reset may not read why.
    wrong = [
        (name, answer[:40])
        for (name, _), answer in zip(sent, answered, strict=True)
        if answer and not answer.startswith(b"HTTP/1.1 4")
    ]
    assert [] == wrong
    assert {b"", b"HTTP/1.1 408"} >= {answer[:12] for answer in slowly}
    assert SLOW <= sum(answer != b"" for answer in slowly)
    assert most[0] - before < 50 * MIB
    assert after - before < 50 * MIB
    await eventually(lambda: is_ready(process))
