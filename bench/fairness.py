"""What a greedy client costs another one: the polite one's latency, alone and beside the greedy.

The polite client sends some requests a second, evenly and whatever became of those before. The
greedy one keeps as many connections busy as it can. Both are clients of one broker process, which
has processor 0; PostgreSQL and both loads, each a process of its own, share processor 1. Every
request carries another subject token. Prints JSON; ``ratio`` is what was to stay below 2.
"""

import argparse
import asyncio
import json
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle
from typing import Any

from bench.load import run_closed_loop, run_open_loop
from bench.stage import cpu_seconds, database, describe_machine, requests_of, serving

POLITE = {"client": "svc-b", "target": "svc-a"}
GREEDY = {"client": "svc-a", "target": "svc-b"}


def be_polite(per_second: float, seconds: float, load: list[bytes]) -> dict[str, Any]:
    """Send at a fixed rate; return what the polite client saw."""
    outcome = asyncio.run(
        run_open_loop(
            *("127.0.0.1", 18080, iter(load)),
            per_second=per_second,
            connections=16,
            seconds=seconds,
        )
    )
    return outcome.summary()


def be_greedy(connections: int, seconds: float, load: list[bytes]) -> dict[str, Any]:
    """Keep so many connections busy; return what the greedy client saw."""
    outcome = asyncio.run(
        run_closed_loop(
            *("127.0.0.1", 18080, cycle(load)), connections=connections, seconds=seconds
        )
    )
    return outcome.summary()


def measure(pid: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run alone and together in turn, and return the medians and their ratio."""
    rate, seconds = arguments.per_second, arguments.seconds
    rounds: list[dict[str, Any]] = []
    with ProcessPoolExecutor(2) as pool:
        for _ in range(arguments.rounds):
            # Made before, so that no load waits for its own tokens to be signed.
            polite = requests_of(int(rate * seconds) + 50, **POLITE)
            greedy = requests_of(4000, **GREEDY)
            alone = pool.submit(be_polite, rate, seconds, polite).result()
            polite = requests_of(int(rate * seconds) + 50, **POLITE)
            before = cpu_seconds(pid)
            flood = pool.submit(be_greedy, arguments.connections, seconds + 1.0, greedy)
            time.sleep(0.5)
            beside = pool.submit(be_polite, rate, seconds, polite).result()
            rounds.append(
                {
                    "alone": alone,
                    "beside": beside,
                    "greedy": flood.result(),
                    "broker_cpu": round((cpu_seconds(pid) - before) / (seconds + 1.0), 2),
                }
            )
    report: dict[str, Any] = {"rounds": rounds}
    for name in ("p50_ms", "p99_ms"):
        medians = {
            kind: statistics.median(each[kind][name] for each in rounds)
            for kind in ("alone", "beside", "greedy")
        }
        report[name] = {**medians, "ratio": round(medians["beside"] / medians["alone"], 2)}
    return report


def main() -> None:
    """Start what is needed, measure, print, and stop it again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="of load per run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--per-second", type=float, default=50, help="of the polite client")
    parser.add_argument("--connections", type=int, default=64, help="of the greedy client")
    arguments = parser.parse_args()

    with database() as (postgres, folder), serving(postgres, folder) as pid:
        report = {
            "bench": "fairness",
            "machine": describe_machine(),
            "polite_per_second": arguments.per_second,
            "greedy_connections": arguments.connections,
            **measure(pid, arguments),
        }
        print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
