"""A day of a platform without the token proxy and with it, and how fast the proxy answers.

``make bench-proxy`` plays the same day twice: to a counting identity provider itself, and to a
broker before it. Only the URL differs. The broker is a whole one, with policy and durable audit
rows; what is changed of it is how fast its token proxy's clock runs, so that a day takes a minute
and a token that lives an hour is renewed as often as on a real day. Prints tables, or ``--json``.

Afterwards, with the clock as it is, the same twenty tokens are asked for as fast as can be. The
broker has processor 0; PostgreSQL, the provider and this load generator share processor 1.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from typing import Any

import yaml

from bench.day import (
    CLIENTS,
    COMBINATIONS,
    DAY,
    OPERATIONS,
    combinations,
    play,
    request_of,
    schedule,
)
from bench.load import run_closed_loop
from bench.stage import (
    BROKER_CPU,
    LOAD_CPU,
    cpu_seconds,
    describe_machine,
    resident_mb,
    wait_until_ready,
    write_configuration,
)
from bench.upstream import LIFE
from bench.upstream import PORT as UPSTREAM_PORT
from broker.app import proxying
from broker.cli import build_app
from broker.db.embedded import EmbeddedPostgres
from broker.db.migrate import migrate
from broker.proxy.life import Moment

PORT, ADMIN_PORT = 18083, 19093  # of no other benchmark, so that it may run beside one
ADMIN = f"http://127.0.0.1:{ADMIN_PORT}"
PATH = "/proxy/idp/token"
MONTH = 30  # days


def configure(config: Path, margin: float) -> None:
    """Make the provider an upstream of a configuration."""
    document = yaml.safe_load(config.read_text())
    document["listen"]["port"], document["admin"]["port"] = PORT, ADMIN_PORT
    document["upstreams"] = [
        {
            "name": "idp",
            "token_endpoint": f"http://127.0.0.1:{UPSTREAM_PORT}/token",
            "allow_private_network": True,
            "clients": CLIENTS,
            "margin": margin,
        }
    ]
    config.write_text(yaml.safe_dump(document))


@contextmanager
def provider() -> Iterator[None]:
    """The counting provider, as a process."""
    process = subprocess.Popen([sys.executable, "-m", "bench.upstream", str(UPSTREAM_PORT)])
    try:
        for _ in range(100):
            try:
                count()
                break
            except OSError:
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(10)


def count() -> int:
    """How many tokens the provider has issued."""
    with urllib.request.urlopen(f"http://127.0.0.1:{UPSTREAM_PORT}/", timeout=5) as answer:
        return int(json.load(answer)["issued"])


@contextmanager
def broker(config: Path, scale: float) -> Iterator[subprocess.Popen[bytes]]:
    """A broker whose token proxy's clock runs ``scale`` times as fast."""
    process = subprocess.Popen(
        [
            *("taskset", "-c", str(BROKER_CPU), sys.executable, "-m", "bench.proxy"),
            *("--serve", str(config), "--scale", str(scale)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=(config.parent / "log").open("ab"),
    )
    try:
        wait_until_ready(ADMIN, process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)


def serve(config: Path, scale: float) -> None:
    """Be that broker."""

    def read_moment() -> Moment:
        return Moment(time.monotonic() * scale, time.time() * scale)

    proxying.read_moment = read_moment
    build_app({"serve"})(["serve", "--config", str(config)])


def replay(config: Path, seconds: float) -> dict[str, Any]:
    """Play the day to the provider, then to a broker before it; return what was counted."""
    day = schedule()
    before = count()
    direct = asyncio.run(play(day, port=UPSTREAM_PORT, path="/token", scale=0))
    without = count() - before
    with broker(config, DAY / seconds) as process:
        before, cpu = count(), cpu_seconds(process.pid)
        proxied = asyncio.run(play(day, port=PORT, path=PATH, scale=DAY / seconds))
        used = cpu_seconds(process.pid) - cpu
        calls = count() - before
    if direct.failed or proxied.failed or direct.answered != proxied.answered:
        sys.exit(f"requests failed: {direct.failed} of the provider, {proxied.failed} of the proxy")
    return {
        "operations": proxied.answered,
        "without": without,
        "with": calls,
        "reduction_percent": round(100 * (1 - calls / without), 2),
        "played_in_seconds": round(proxied.seconds, 1),
        "behind_at_most_seconds_of_the_day": round(proxied.late * DAY / seconds, 1),
        "broker_cpu_us_each": round(used / proxied.answered * 1e6, 1),
    }


def throughput(config: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Ask for the twenty tokens as fast as can be; return rates by number of connections."""
    asked = [request_of(each, PATH) for each in combinations()]
    results: dict[str, Any] = {}
    with broker(config, 1) as process:
        for connections in (1, 8, 32, 128):
            runs = []
            for _ in range(rounds):
                cpu = cpu_seconds(process.pid)
                outcome = asyncio.run(
                    run_closed_loop(
                        *("127.0.0.1", PORT, cycle(asked)),
                        connections=connections,
                        seconds=seconds,
                    )
                )
                used = (cpu_seconds(process.pid) - cpu) / max(1, len(outcome.latencies))
                runs.append(outcome.summary() | {"cpu_us_each": round(used * 1e6, 1)})
            cpu_us = statistics.median(run["cpu_us_each"] for run in runs)
            results[str(connections)] = {
                "median_per_second": statistics.median(run["per_second"] for run in runs),
                "median_p50_ms": statistics.median(run["p50_ms"] for run in runs),
                "median_p99_ms": statistics.median(run["p99_ms"] for run in runs),
                "median_cpu_us_each": cpu_us,
                # What a core that nobody else uses would do.
                "per_core_second": round(1e6 / cpu_us),
                "runs": runs,
            }
        results["rss_mb"] = resident_mb(process.pid)
    return results


def print_day(day: dict[str, Any], price: Decimal) -> None:
    """Print both tables: operations, and what they cost."""
    print(f"A day of {OPERATIONS:,} operations, {COMBINATIONS} combinations, tokens of {LIFE} s")
    print(f"  played in {day['played_in_seconds']} s, margin {day['margin']:.0%}\n")
    print(f"{'token requests':<24}{'without':>14}{'with':>14}{'less':>10}")
    for name, days in (("a day", 1), ("a month", MONTH)):
        without, with_it = day["without"] * days, day["with"] * days
        print(f"{name:<24}{without:>14,}{with_it:>14,}{day['reduction_percent']:>9.1f}%")
    print(f"\n{f'at {price} each':<24}{'without':>14}{'with':>14}{'saved':>10}")
    for name, days in (("a day", 1), ("a month", MONTH)):
        without, with_it = (day[key] * days * price for key in ("without", "with"))
        print(f"{name:<24}{without:>14,.2f}{with_it:>14,.2f}{without - with_it:>10,.2f}")
    print()


def print_throughput(results: dict[str, Any]) -> None:
    """Print how fast tokens are found."""
    print(
        f"{'hits, connections':<20}{'per second':>12}{'per core-s':>12}{'p50 ms':>9}{'p99 ms':>9}"
    )
    for connections, row in results.items():
        if connections != "rss_mb":
            print(
                f"{connections:<20}{row['median_per_second']:>12,.0f}{row['per_core_second']:>12,}"
                f"{row['median_p50_ms']:>9.2f}{row['median_p99_ms']:>9.2f}"
            )
    load = os.getloadavg()[0]
    print(f"\n{os.cpu_count()} processors, load {load:.1f}, Python {platform.python_version()}")


def main() -> None:
    """Play, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="that a day takes")
    parser.add_argument("--price", type=Decimal, default=Decimal("0.002"), help="of one token")
    parser.add_argument(
        "--margins", type=float, nargs="*", default=[0.1, 0.0], help="a day each; none: hits alone"
    )
    parser.add_argument("--load-seconds", type=float, default=5, help="of load per run")
    parser.add_argument("--rounds", type=int, default=3, help="runs per number of connections")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--scale", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        serve(arguments.serve, arguments.scale)
        return
    # What is started from here on, PostgreSQL included, inherits the processor.
    os.sched_setaffinity(0, {LOAD_CPU})
    days, results = [], {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name, provider():
        folder = Path(name)
        folder.chmod(0o755)
        postgres = EmbeddedPostgres(folder / "pg")
        postgres.start()
        try:
            migrate(postgres.owner_url)
            config = write_configuration(folder, postgres.app_url)
            for margin in arguments.margins:
                configure(config, margin)
                days.append(replay(config, arguments.seconds) | {"margin": margin})
                if not arguments.json:
                    print_day(days[-1], arguments.price)
            if not arguments.margins:  # no day is played: only hits are counted
                configure(config, 0.1)
            results = throughput(config, arguments.load_seconds, arguments.rounds)
        finally:
            postgres.stop()
    if arguments.json:
        machine = describe_machine()
        report = {"bench": "proxy", "machine": machine, "price": str(arguments.price)}
        print(json.dumps(report | {"days": days, "hits": results}, indent=2))
    else:
        print_throughput(results)


if __name__ == "__main__":
    main()
