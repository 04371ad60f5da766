"""All figures of ``make bench`` side by side, taken in one run.

Each benchmark is a program of its own, with the broker on one processor and PostgreSQL and the
load on the other. This one runs them in turn and prints a table, with what they were to reach.
The documents that they print go to ``--output``, or to standard output with ``--json``.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

Document = dict[str, Any]
# What each is called, and whether it is given seconds and rounds of load.
BENCHMARKS: Final = {
    "exchange": True,
    "introspection": True,
    "proxy": True,
    "audit": True,
    "seal": False,
    "verify": False,
}


def run(name: str, seconds: float, rounds: int) -> Document:
    """Return what a benchmark prints."""
    options = ["--seconds", str(seconds), "--rounds", str(rounds)] if BENCHMARKS[name] else []
    if name == "proxy":
        options = ["--json", "--margins", "--load-seconds", str(seconds), "--rounds", str(rounds)]
    return call(f"bench.{name}", options)


def call(module: str, options: list[str]) -> Document:
    """Return the document that a program prints; stop if it fails."""
    print(f"running {module} …", file=sys.stderr, flush=True)
    ended = subprocess.run(
        [sys.executable, "-m", module, *options], stdout=subprocess.PIPE, check=False
    )
    if ended.returncode != 0:
        sys.exit(f"{module} failed")
    document: Document = json.loads(ended.stdout)
    return document


def rows(documents: dict[str, Document]) -> Iterator[tuple[str, str, str]]:
    """Yield what was measured, the figure, and what it was to be."""
    exchange = documents["exchange"]
    for connections, row in exchange["connections"].items():
        goal = "3,500, better 4,200" if connections == "32" else ""
        yield f"exchanges a second, {connections} connections", rate(row), goal
    yield "the same, one subject token", rate(exchange["reused"]["32"]), "5,500"
    for connections, row in exchange["connections"].items():
        latencies = "/".join(f"{row['runs'][-1][f'{name}_ms']:g}" for name in ("p50", "p95", "p99"))
        yield f"p50/p95/p99 in ms, {connections} connections", latencies, ""
    half = exchange["at_half"]
    yield (
        "the same at half of capacity",
        "/".join(f"{half[f'{name}_ms']:g}" for name in ("p50", "p95", "p99")),
        "p99 10",
    )
    for step, microseconds in exchange["step_mean_us"].items():
        if step != "commit":  # time, and hardly work
            yield f"{step}, µs", f"{microseconds:g}", ""
    each, floor = exchange["connections"]["32"]["median_cpu_us_each"], exchange["floor_us"]
    yield "processor time of an exchange, µs", f"{each:g}", ""
    yield "of it ES256 verification and signature, µs", f"{floor:g}", ""
    before, after = exchange["memory"]["rss_mb"]
    yield f"memory after {exchange['memory']['subjects']:,} subjects, MB", f"{after:g}", ""
    yield "before them, MB", f"{before:g}", ""
    yield "exchanges a second, two workers", rate(documents["workers"]["connections"]["32"]), ""
    hits = documents["proxy"]["hits"]["32"]
    yield "proxy hits a second", f"{hits['median_per_second']:,.0f}", "8,000"
    for kind, row in introspections(documents["introspection"]):
        yield f"introspections a second, {kind}", row, ""


def introspections(document: Document) -> Iterator[tuple[str, str]]:
    """Yield the rate of each kind of token at 32 connections."""
    for kind, loops in document["results"].items():
        yield kind.replace("_", " "), rate(loops["32"])


def rate(row: Document) -> str:
    """Return the median rate of some runs."""
    return f"{float(row['median_per_second']):,.0f}"


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10, help="of load per run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind")
    parser.add_argument("--json", action="store_true", help="print the documents, not the table")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the documents here")
    arguments = parser.parse_args()
    load = {"seconds": arguments.seconds, "rounds": arguments.rounds}
    documents = {name: run(name, **load) for name in BENCHMARKS}
    documents["workers"] = call(
        "bench.exchange",
        [
            *("--workers", "2", "--subjects", "1000"),
            *("--seconds", str(arguments.seconds), "--rounds", str(arguments.rounds)),
        ],
    )
    text = json.dumps(documents, indent=2)
    if arguments.output is not None:
        arguments.output.write_text(text + "\n")
    if arguments.json:
        print(text)
        return
    print(f"\n{'':<50}{'found':>18}   goal")
    for name, figure, goal in rows(documents):
        print(f"{name:<50}{figure:>18}   {goal}")
    print(
        f"\n{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f},"
        f" Python {platform.python_version()}; docs/performance.md says what these mean"
    )


if __name__ == "__main__":
    main()
