"""What an exchange costs whose token is given out again, beside one that mints.

In one process: the step that is left out (``mint``, by algorithm) and what stands in its place. And
over HTTP, in turns, with one subject token and all else equal: a client whose grant says ``reuse``,
and one whose grant does not. Both wait for an audit row. Prints JSON; the broker has processor 0,
PostgreSQL and the load share processor 1, and processor time says more than the clock.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any

from bench.load import run_closed_loop
from bench.stage import BROKER_CPU, LOAD_CPU, cpu_seconds, requests_of
from broker.db.embedded import EmbeddedPostgres
from broker.db.migrate import migrate
from broker.domain import IssuedToken, Permit, ReusedToken
from broker.exchange.reuse import TokenReuse
from broker.jose.sign import SigningKey, generate_signing_key
from broker.minting.mint import mint
from tests import builders
from tests.decisions import permit
from tests.fakes import Revoked
from tests.server import BrokerProcess, write_configuration

CLIENTS = {"mint": "svc-a", "reuse": "svc-reuse"}
ID = "019ab000-0000-7000-8000-000000000001"


class Keys:
    """One key of each algorithm."""

    executor = None

    def __init__(self) -> None:
        self._keys = {name: generate_signing_key(name) for name in ("ES256", "Ed25519", "RS256")}

    def signing_key(self, algorithm: str) -> SigningKey:
        """Return the one of this algorithm."""
        return self._keys[algorithm]


def permitted(algorithm: str) -> Permit:
    """What is permitted for a target of this algorithm, and now."""
    target = builders.target(algorithm=algorithm)
    return permit(builders.exchange(targets=(target,)), reuse=120)


def microseconds(work: Callable[[], object], count: int = 2000) -> float:
    """Return the processor time of one run, the best of five."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(count):
            work()
        best = min(best, time.process_time() - began)
    return round(best / count * 1e6, 1)


async def in_process() -> dict[str, Any]:
    """Return what the step costs, and what stands in its place."""
    keys, revoked = Keys(), Revoked()
    reuse = TokenReuse(
        *(revoked, keys),
        issuer=builders.BROKER,
        clock=lambda: builders.NOW,
        build_id=lambda: ID,
    )
    asked = permitted("ES256")

    def minting(algorithm: str) -> Callable[[], object]:
        what = permitted(algorithm)
        return lambda: mint(what, keys, issuer=builders.BROKER, id=ID, now=builders.NOW)

    async def issue() -> IssuedToken:
        return IssuedToken(mint(asked, keys, issuer=builders.BROKER, id=ID, now=builders.NOW))

    snapshot = revoked.current
    await reuse.find_or_issue(asked, snapshot, issue)

    assert isinstance(await reuse.find_or_issue(asked, snapshot, issue), ReusedToken)

    def hit() -> None:
        # Nothing in it waits, so one step of the coroutine is all of it.
        with suppress(StopIteration):
            reuse.find_or_issue(asked, snapshot, issue).send(None)

    return {
        "hit_us": microseconds(hit),
        "mint_us": {
            name: microseconds(minting(name), 200) for name in ("ES256", "Ed25519", "RS256")
        },
    }


def over_http(process: BrokerProcess, *, seconds: float, rounds: int) -> dict[str, Any]:
    """Return the rate and the cost of both kinds at 32 connections, in turns."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CLIENTS}
    pid = process.process.pid
    for _ in range(rounds):
        for name, client in CLIENTS.items():
            load: Iterator[bytes] = repeat(*requests_of(1, client=client))
            before = cpu_seconds(pid)
            outcome = asyncio.run(
                run_closed_loop("127.0.0.1", process.port, load, connections=32, seconds=seconds)
            )
            used = (cpu_seconds(pid) - before) / max(1, len(outcome.latencies))
            runs[name].append(outcome.summary() | {"cpu_us_each": round(used * 1e6, 1)})
    return {
        name: {
            f"median_{figure}": statistics.median(float(str(run[figure])) for run in each)
            for figure in ("per_second", "p50_ms", "p99_ms", "cpu_us_each")
        }
        | {"runs": each}
        for name, each in runs.items()
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "in_process": asyncio.run(in_process()),
    }
    os.sched_setaffinity(0, {LOAD_CPU})
    with tempfile.TemporaryDirectory() as place, EmbeddedPostgres(Path(place) / "pg") as postgres:
        migrate(postgres.owner_url)
        folder = Path(place) / "broker"
        folder.mkdir()
        process = BrokerProcess(write_configuration(folder, postgres.app_url))
        os.sched_setaffinity(process.process.pid, {BROKER_CPU})
        try:
            process.wait_ready()
            result["http"] = over_http(process, seconds=arguments.seconds, rounds=arguments.rounds)
        finally:
            process.stop()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
