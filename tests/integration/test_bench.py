"""What the benchmarks stand on: loads that tell the truth, and one that compares with others."""

import asyncio
import os
import subprocess
import sys
from itertools import repeat
from pathlib import Path

import pytest

from bench.load import build_post, run_closed_loop, run_open_loop
from tests.configuration import secret
from tests.jwts import subject_jwt
from tests.server import ROOT, BrokerClient

STALL = 0.4  # seconds
REQUEST = build_post("/", b"", {})
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def _stalling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer at once, but for the fifth request, which blocks this server as a whole."""
    number = 0
    while await reader.readuntil(b"\r\n\r\n"):
        number += 1
        if number == 5:
            await asyncio.sleep(STALL)
        writer.write(ANSWER)


async def test_an_open_loop_sees_everybody_who_had_to_wait() -> None:
    """A closed one stops asking while a server stalls, and calls that one slow answer."""
    waited = {}
    for is_open in (False, True):
        server = await asyncio.start_server(_stalling, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        load = ("127.0.0.1", port, repeat(REQUEST))
        try:
            if is_open:
                outcome = await run_open_loop(*load, per_second=100, connections=1, seconds=1)
            else:
                outcome = await run_closed_loop(*load, connections=1, seconds=1)
        finally:
            server.close()
        assert set(outcome.statuses) == {200}
        waited[is_open] = sum(latency > STALL / 4 for latency in outcome.latencies)

    # The stall itself, and whatever a busy machine adds; and all that were due meanwhile.
    assert 1 <= waited[False] < waited[True]


async def test_load_goes_to_loopback_only() -> None:
    """A benchmark of somebody else's server is an attack."""
    with pytest.raises(ValueError, match="loopback"):
        await run_closed_loop("192.0.2.1", 80, repeat(REQUEST), connections=1, seconds=1)


def _bench_peer(url: str, tokens: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "bench.peer", url, "--client-id", "svc-a"),
            *("--subject-tokens", str(tokens), "--scope", "orders.read"),
            *("--connections", "2", "--seconds", "0.5", "--rounds", "1", *options),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
        env=os.environ | {"BENCH_CLIENT_SECRET": secret("svc-a")},
    )


async def test_any_token_endpoint_can_be_compared(broker: BrokerClient, tmp_path: Path) -> None:
    """As whoever compares would: a URL, a client, a file of tokens; a table comes out."""
    tokens = tmp_path / "tokens"
    tokens.write_text("\n".join(subject_jwt() for _ in range(20)))

    ended = await asyncio.to_thread(
        _bench_peer, f"{broker.process.url}/token", tokens, "--audience", "svc-b"
    )

    assert ended.returncode == 0, ended.stderr
    assert " x 200" in ended.stdout
    assert "half of it" in ended.stdout
    assert "20 subject tokens" in ended.stdout


async def test_refusals_are_not_compared(broker: BrokerClient, tmp_path: Path) -> None:
    """Whoever refuses is quick: the first answer is looked at, and what it says is shown."""
    tokens = tmp_path / "tokens"
    tokens.write_text(subject_jwt())

    ended = await asyncio.to_thread(
        _bench_peer, f"{broker.process.url}/token", tokens, "--audience", "nobody"
    )

    assert ended.returncode == 1
    assert "invalid_target" in ended.stderr
