"""Introspections a second of one broker process on one core, with 10,000 revocations in force.

Every request authenticates by ``client_secret_basic`` and asks about a live token that the broker
under test has issued: one of a thousand JWTs (ES256), as a resource server does that asks at each
request; one of so many that the broker has none of them at hand; or one of a thousand reference
tokens, each looked up in PostgreSQL each time. The broker has processor 0; PostgreSQL and this load
generator share processor 1. Prints JSON.
"""

import argparse
import asyncio
import json
import statistics
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import asyncpg
import yaml

from bench.load import build_post, run_closed_loop
from bench.stage import (
    cpu_seconds,
    database,
    describe_machine,
    headers_of,
    resident_mb,
    serving,
    write_configuration,
)
from broker.tokens.seen import MAX_ENTRIES
from tests.jwts import BROKER_ISSUER, subject_jwt

URL = "http://127.0.0.1:18080"
# Whom the tokens are for, and how many there are.
KINDS = {
    "jwt": ("svc-b", 1000),
    "jwt_not_seen_lately": ("svc-b", MAX_ENTRIES + 500),
    "reference": ("svc-ref", 1000),
}
# Of each scope that there is, and none of them meets a token of the load.
RULES = """
INSERT INTO revocation (scope, issuer, key, not_before, reason, by, at)
SELECT scope, CASE WHEN scope IN ('client', 'txn') THEN '' ELSE $1 END, 'bench-' || n,
       CASE WHEN scope IN ('subject', 'actor', 'client') THEN now() END, 'bench', 'bench', now()
FROM (
    SELECT n, (ARRAY['jti', 'txn', 'subject', 'actor', 'client', 'kid'])[1 + n % 6] AS scope
    FROM generate_series(1, $2) AS n
) AS rule
"""


def issue(target: str) -> str:
    """Return a token of the broker for ``target``."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": subject_jwt(),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "audience": target,
        "scope": "orders.read",
    }
    request = urllib.request.Request(
        f"{URL}/token", urllib.parse.urlencode(form).encode(), headers_of("svc-a")
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["access_token"])


def questions(kind: str) -> list[bytes]:
    """Return one introspection of each token."""
    target, count = KINDS[kind]
    return [
        build_post(
            "/introspect",
            urllib.parse.urlencode({"token": issue(target)}).encode(),
            headers_of(target),
        )
        for _ in range(count)
    ]


def require_active(question: bytes) -> None:
    """Stop unless the broker calls the token active: other answers are cheaper."""
    head, _, body = question.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    request = urllib.request.Request(f"{URL}/introspect", body, fields)
    with urllib.request.urlopen(request, timeout=10) as answer:
        if json.load(answer)["active"] is not True:
            sys.exit("a token of the load is not active")


async def load_rules(url: str, count: int) -> None:
    """Put so many revocations into the ledger."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(RULES, BROKER_ISSUER, count)
    finally:
        await connection.close()


def measure(pid: int, asked: list[bytes], *, seconds: float, rounds: int) -> dict[str, object]:
    """Run each number of connections ``rounds`` times and return all figures and their medians."""
    results: dict[str, object] = {}
    for connections in (1, 8, 32):
        runs = []
        for _ in range(rounds):
            pool: Iterator[bytes] = islice(cycle(asked), int(seconds * 20_000))
            before, cpu = resident_mb(pid), cpu_seconds(pid)
            outcome = asyncio.run(
                run_closed_loop("127.0.0.1", 18080, pool, connections=connections, seconds=seconds)
            )
            used = (cpu_seconds(pid) - cpu) / max(1, len(outcome.latencies))
            runs.append(
                outcome.summary()
                | {"rss_mb": [before, resident_mb(pid)], "cpu_us_each": round(used * 1e6, 1)}
            )
        cpu_us = statistics.median(float(str(run["cpu_us_each"])) for run in runs)
        results[str(connections)] = {
            "median_per_second": statistics.median(float(str(run["per_second"])) for run in runs),
            "median_cpu_us_each": cpu_us,
            # What a core that nobody else uses would do.
            "per_core_second": round(1e6 / cpu_us),
            "median_p99_ms": statistics.median(float(str(run["p99_ms"])) for run in runs),
            "runs": runs,
        }
    return results


def configure(folder: Path, database_url: str) -> Path:
    """Write a configuration in which one caller may ask as often as it can."""
    config = write_configuration(folder, database_url)
    document = yaml.safe_load(config.read_text())
    document["limits"] = {"introspections": "1000000/1s"}
    config.write_text(yaml.safe_dump(document))
    return config


def main() -> None:
    """Start what is needed, measure, print, and stop it again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of load per run")
    parser.add_argument("--rounds", type=int, default=3, help="runs per number of connections")
    parser.add_argument("--rules", type=int, default=10_000, help="revocations in force")
    arguments = parser.parse_args()

    with database() as (postgres, folder):
        asyncio.run(load_rules(postgres.app_url, arguments.rules))
        with serving(postgres, folder, configure=configure) as pid:
            results = {}
            for kind in KINDS:
                asked = questions(kind)
                require_active(asked[0])
                results[kind] = measure(
                    pid, asked, seconds=arguments.seconds, rounds=arguments.rounds
                )
            report = {
                "bench": "introspection",
                "machine": describe_machine(),
                "rules": arguments.rules,
                "tokens": {kind: count for kind, (_, count) in KINDS.items()},
                "results": results,
            }
            print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
