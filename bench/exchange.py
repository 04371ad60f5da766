"""Exchanges a second of one broker process on one core, with everything on.

Every request carries another subject token (ES256) and ``client_secret_basic``, or with ``reused``
the same one; policy is WASM, the audit row is durable (``fsync`` on) and encrypted, metrics are on.
The broker has processor 0; PostgreSQL and this load generator share processor 1. With ``--workers``
several processes, PostgreSQL and the load share all processors. The floor is what the cryptography
of an exchange alone would allow: one ES256 verification and one signature. Prints JSON.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
import urllib.request
from collections.abc import Iterator
from itertools import repeat
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from bench.load import run_closed_loop, run_open_loop
from bench.stage import (
    ADMIN_URL,
    cpu_seconds,
    database,
    describe_machine,
    requests_of,
    resident_mb,
    serving,
)


def step_microseconds(admin_url: str) -> dict[str, float]:
    """Return the mean time of each step so far, in microseconds, from the broker's own metrics."""
    with urllib.request.urlopen(f"{admin_url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for line in lines:
        if line.startswith("broker_exchange_step_duration") and 'step="' in line:
            step = line.split('step="', 1)[1].split('"', 1)[0]
            value = float(line.rsplit(" ", 1)[1])
            if "_sum{" in line:
                sums[step] = value
            elif "_count{" in line:
                counts[step] = value
    return {step: round(sums[step] / counts[step] * 1e6, 1) for step in sums if counts.get(step)}


def floor_us(count: int = 2000) -> float:
    """Return the processor time of one verification and one signature, the best of five."""
    key, message = ec.generate_private_key(ec.SECP256R1()), os.urandom(700)
    algorithm, public = ec.ECDSA(hashes.SHA256()), key.public_key()
    signature, best = key.sign(message, algorithm), float("inf")
    for _ in range(5):
        spent = time.process_time()
        for _ in range(count):
            public.verify(signature, message, algorithm)
            key.sign(message, algorithm)
        best = min(best, time.process_time() - spent)
    return round(best / count * 1e6, 1)


def measure(
    pid: int, *, seconds: float, rounds: int, reused: bool = False, most: int = 4000
) -> dict[str, dict[str, Any]]:
    """Run each number of connections ``rounds`` times and return all figures and their medians."""
    results: dict[str, dict[str, Any]] = {}
    for connections in (32,) if reused else (1, 8, 32, 128):
        runs = []
        for _ in range(rounds):
            pool: Iterator[bytes] = (
                repeat(*requests_of(1)) if reused else iter(requests_of(int(seconds * most)))
            )
            before, cpu = resident_mb(pid), cpu_seconds(pid)
            outcome = asyncio.run(
                run_closed_loop("127.0.0.1", 18080, pool, connections=connections, seconds=seconds)
            )
            used = (cpu_seconds(pid) - cpu) / max(1, len(outcome.latencies))
            runs.append(
                outcome.summary()
                | {"rss_mb": [before, resident_mb(pid)], "cpu_us_each": round(used * 1e6, 1)}
            )
        results[str(connections)] = {
            "median_per_second": statistics.median(float(str(run["per_second"])) for run in runs),
            "median_cpu_us_each": statistics.median(float(str(run["cpu_us_each"])) for run in runs),
            "median_p99_ms": statistics.median(float(str(run["p99_ms"])) for run in runs),
            "runs": runs,
        }
    return results


def measure_half(per_second: float, seconds: float) -> dict[str, object]:
    """Return how long answers take at half of the rate that there is to be had, in an open loop."""
    rate = per_second / 2
    load = iter(requests_of(int(rate * seconds) + 200))
    outcome = asyncio.run(
        run_open_loop(*("127.0.0.1", 18080, load), per_second=rate, connections=64, seconds=seconds)
    )
    return {"offered_per_second": round(rate, 1)} | outcome.summary()


def measure_memory(pid: int, subjects: int) -> dict[str, object]:
    """Return the resident memory before and after as many tokens of as many subjects.

    More than any cache of the process holds, so what it holds afterwards is the most of it.
    """
    before = resident_mb(pid)
    load = iter(requests_of(subjects, subjects=subjects))
    outcome = asyncio.run(run_closed_loop("127.0.0.1", 18080, load, connections=32, seconds=120))
    return {
        "subjects": subjects,
        "answered": outcome.statuses.get(200, 0),
        "rss_mb": [before, resident_mb(pid)],
    }


def main() -> None:
    """Start what is needed, measure, print, and stop it again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of load per run")
    parser.add_argument("--rounds", type=int, default=3, help="runs per number of connections")
    parser.add_argument("--workers", type=int, default=1, help="processes of the broker")
    parser.add_argument(
        "--subjects", type=int, default=20_000, help="whose tokens are exchanged for the memory"
    )
    arguments = parser.parse_args()

    # Several workers, PostgreSQL and the load share all processors.
    with (
        database(kept=arguments.workers == 1) as (postgres, folder),
        serving(postgres, folder, workers=arguments.workers) as pid,
    ):
        how = {"seconds": arguments.seconds, "rounds": arguments.rounds}
        loops = measure(pid, **how)
        capacity = float(loops["32"]["median_per_second"])
        report = {
            "bench": "exchange",
            "machine": describe_machine(),
            "workers": arguments.workers,
            "floor_us": floor_us(),
            "connections": loops,
            "at_half": measure_half(capacity, arguments.seconds),
            "reused": measure(pid, **how, reused=True),
            "step_mean_us": step_microseconds(ADMIN_URL),
            "memory": measure_memory(pid, arguments.subjects),
        }
        print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
