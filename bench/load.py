"""HTTP/1.1 connections that measure every answer. Loopback only.

In a *closed* loop each connection sends the next request once the last one was answered: it finds
out how much there is to be had. In an *open* loop requests are due at a fixed rate, whatever became
of those before, and are timed from when they were due: so a server that stalls is not asked less
meanwhile, and what it makes callers wait is seen.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count


@dataclass
class Outcome:
    """What a run saw: latencies in seconds, and how many answers had which status."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    def summary(self) -> dict[str, object]:
        """Rates and percentiles, in requests a second and milliseconds."""
        ordered = sorted(self.latencies)

        def percentile(share: float) -> float:
            index = min(len(ordered) - 1, int(len(ordered) * share))
            return round(ordered[index] * 1000, 2)

        return {
            "requests": len(ordered),
            "seconds": round(self.seconds, 2),
            "per_second": round(len(ordered) / self.seconds, 1),
            "p50_ms": percentile(0.50),
            "p95_ms": percentile(0.95),
            "p99_ms": percentile(0.99),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
        }


class _Connection(asyncio.Protocol):
    """One connection that sends the next request as soon as the last was answered."""

    def __init__(
        self,
        requests: Iterator[bytes],
        outcome: Outcome,
        deadline: float,
        due: Iterator[float] | None = None,
    ) -> None:
        """``due``: when each of all requests is due, shared by all connections; None: at once."""
        self._requests = requests
        self._outcome = outcome
        self._deadline = deadline
        self._due = due
        self._buffer = b""
        self._sent_at = 0.0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def _send(self) -> None:
        request = next(self._requests, None)
        now = time.perf_counter()
        self._sent_at = now if self._due is None else next(self._due)
        if request is None or self._sent_at > self._deadline:
            self._transport.close()
        elif self._sent_at <= now:
            self._transport.write(request)
        else:
            later = self._sent_at - now
            asyncio.get_running_loop().call_later(later, self._transport.write, request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lower = head.lower()
        start = lower.index(b"content-length:") + len(b"content-length:")
        length = int(lower[start:].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        self._outcome.latencies.append(time.perf_counter() - self._sent_at)
        status = int(head[9:12])
        self._outcome.statuses[status] = self._outcome.statuses.get(status, 0) + 1
        self._buffer = b""
        self._send()


async def run_closed_loop(
    host: str, port: int, requests: Iterator[bytes], *, connections: int, seconds: float
) -> Outcome:
    """Keep ``connections`` busy with ``requests`` until they or the ``seconds`` run out."""
    return await _run(host, port, requests, connections, seconds, None)


async def run_open_loop(
    host: str,
    port: int,
    requests: Iterator[bytes],
    *,
    per_second: float,
    connections: int,
    seconds: float,
) -> Outcome:
    """Send ``requests`` at a fixed rate over so many connections, until the ``seconds`` run out.

    A request that finds every connection busy is late, and its lateness is part of its latency.
    """
    start = time.perf_counter() + 0.05
    due = (start + number / per_second for number in count())
    return await _run(host, port, requests, connections, seconds, due)


async def _run(
    host: str,
    port: int,
    requests: Iterator[bytes],
    connections: int,
    seconds: float,
    due: Iterator[float] | None,
) -> Outcome:
    if host not in {"127.0.0.1", "::1"}:
        raise ValueError("load goes to loopback only")
    loop = asyncio.get_running_loop()
    outcome = Outcome()
    started = time.perf_counter()
    protocols = [
        (
            await loop.create_connection(
                lambda: _Connection(requests, outcome, started + seconds, due), host, port
            )
        )[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.closed for protocol in protocols))
    outcome.seconds = time.perf_counter() - started
    return outcome


def build_post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """A whole HTTP/1.1 request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
