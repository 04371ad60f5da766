"""The load of ``make bench`` on any other RFC 8693 token endpoint, so that anyone can compare.

``make bench-peer URL=http://127.0.0.1:8180/realms/demo/protocol/openid-connect/token ARGS='…'``

The endpoint must be on loopback: a benchmark of somebody else's server is an attack. Subject tokens
come from a file, one a line, and are used in turn: as many as there are requests make each exchange
one with a token that was never seen, which is the figure to compare; one alone is the figure for
reused tokens. The client authenticates by Basic; its secret is read from ``BENCH_CLIENT_SECRET``.

Only answers of status 200 with an ``access_token`` in the first of them count. How fair the
comparison is depends on what the other one does: whether it verifies the signature, writes
anything durable, and asks a policy. Give both the same processors, as ``--cpu`` does for the load.
"""

import argparse
import asyncio
import base64
import json
import os
import platform
import statistics
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from itertools import cycle, repeat
from pathlib import Path
from typing import Any, Final

from bench.load import build_post, run_closed_loop, run_open_loop

SECRET: Final = "BENCH_CLIENT_SECRET"
LOOPBACK: Final = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "::1": "::1"}
HALF: Final = 64  # connections for the open loop: enough that none has to wait for another


def read_arguments() -> argparse.Namespace:
    """Return what to do."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="the token endpoint, http on loopback")
    parser.add_argument("--client-id", required=True, help=f"its secret: ${SECRET}")
    parser.add_argument(
        "--subject-tokens", type=Path, required=True, metavar="FILE", help="one a line"
    )
    parser.add_argument(
        "--subject-token-type",
        default="urn:ietf:params:oauth:token-type:access_token",
        metavar="URN",
        help="default: %(default)s",
    )
    parser.add_argument("--audience", help="logical name of the target")
    parser.add_argument("--scope", help="separated by spaces")
    parser.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE", help="a further one"
    )
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--seconds", type=float, default=10, help="of load per run")
    parser.add_argument("--rounds", type=int, default=3, help="runs per number of connections")
    parser.add_argument("--cpu", type=int, help="the processor that this load keeps to")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def build_requests(arguments: argparse.Namespace, path: str, secret: str) -> list[bytes]:
    """Return a request for each subject token."""
    basic = base64.b64encode(f"{arguments.client_id}:{secret}".encode()).decode()
    headers = {
        "Authorization": f"Basic {basic}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": arguments.subject_token_type,
    }
    for name in ("audience", "scope"):
        if getattr(arguments, name):
            form[name] = getattr(arguments, name)
    form |= dict(each.partition("=")[::2] for each in arguments.parameter)
    tokens = arguments.subject_tokens.read_text().split()
    if not tokens:
        sys.exit(f"{arguments.subject_tokens}: holds no token")
    return [
        build_post(path, urllib.parse.urlencode({**form, "subject_token": each}).encode(), headers)
        for each in tokens
    ]


def require_a_token(url: str, request: bytes) -> None:
    """Stop unless the endpoint answers the first request with a token: refusals are cheaper."""
    head, _, body = request.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, body, fields), timeout=10
        ) as answer:
            if "access_token" not in json.load(answer):
                sys.exit("the endpoint answers 200 and no access_token")
    except urllib.error.HTTPError as error:
        sys.exit(f"the endpoint refuses: {error.code} {error.read(500).decode(errors='replace')}")
    except OSError as error:
        sys.exit(f"the endpoint does not answer: {error}")


def measure(
    host: str, port: int, requests: list[bytes], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Return all figures by number of connections, and those at half of the best rate."""
    load: Iterator[bytes] = cycle(requests) if len(requests) > 1 else repeat(requests[0])
    results: dict[str, Any] = {}
    for connections in arguments.connections:
        runs = [
            asyncio.run(
                run_closed_loop(
                    host, port, load, connections=connections, seconds=arguments.seconds
                )
            ).summary()
            for _ in range(arguments.rounds)
        ]
        results[str(connections)] = medians(runs)
    best = max(row["median_per_second"] for row in results.values())
    outcome = asyncio.run(
        run_open_loop(
            *(host, port, load),
            per_second=best / 2,
            connections=HALF,
            seconds=arguments.seconds,
        )
    )
    return {"connections": results, "at_half": outcome.summary()}


def medians(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the runs and their medians."""
    return {
        **{
            f"median_{name}": statistics.median(run[name] for run in runs)
            for name in ("per_second", "p50_ms", "p95_ms", "p99_ms")
        },
        "runs": runs,
    }


def print_table(report: dict[str, Any]) -> None:
    """Print what was found, a line for each number of connections."""
    print(f"{'connections':<14}{'per second':>12}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}  answers")
    for connections, row in report["connections"].items():
        figures = [row[f"median_{name}"] for name in ("per_second", "p50_ms", "p95_ms", "p99_ms")]
        print_line(connections, figures, row["runs"][-1]["statuses"])
    half = report["at_half"]
    print_line(
        "half of it",
        [half[n] for n in ("per_second", "p50_ms", "p95_ms", "p99_ms")],
        half["statuses"],
    )
    print(f"\n{report['subject_tokens']} subject tokens, {report['machine']}")


def print_line(name: str, figures: list[float], statuses: dict[str, int]) -> None:
    """Print one line of the table."""
    rate, *latencies = figures
    answers = ", ".join(f"{count} x {status}" for status, count in statuses.items())
    print(f"{name:<14}{rate:>12,.0f}" + "".join(f"{ms:>9.1f}" for ms in latencies), answers)


def main() -> None:
    """Ask, measure, print."""
    arguments = read_arguments()
    parts = urllib.parse.urlsplit(arguments.url)
    host = LOOPBACK.get(parts.hostname or "")
    if parts.scheme != "http" or host is None:
        sys.exit("the endpoint must be http on loopback; forward a port to it if it is elsewhere")
    secret = os.environ.get(SECRET)
    if secret is None:
        sys.exit(f"put the client's secret into {SECRET}")
    if arguments.cpu is not None:
        os.sched_setaffinity(0, {arguments.cpu})
    requests = build_requests(arguments, parts.path or "/", secret)
    require_a_token(arguments.url, requests[0])
    report = {
        "bench": "peer",
        "machine": f"{os.cpu_count()} processors, Python {platform.python_version()} for the load",
        "subject_tokens": len(requests),
        **measure(host, parts.port or 80, requests, arguments),
    }
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        print_table(report)
    every = [run for row in report["connections"].values() for run in row["runs"]]
    if any(set(run["statuses"]) != {"200"} for run in every):
        sys.exit("some answers were no tokens, so the figures are not comparable")


if __name__ == "__main__":
    main()
