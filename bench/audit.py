"""Rows a second of the audit writer alone, each of them durable before the next of its waiter.

A closed loop: so many tasks, each appending its next row as soon as the last one is on disk. Real
embedded PostgreSQL with ``fsync`` on. Two sizes: the whole record of an issued token with policy
input and decision, and a short one as of a refusal. The writer has processor 0 with the load;
PostgreSQL has processor 1. Also measured: what making a record costs before that, encryption
included, so that the trail's share of an exchange is known; and verification of all that was
written. Prints JSON.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import uvloop

from broker.audit.event import Event
from broker.audit.outcome import build_issued, build_refused
from broker.audit.verify import verify_trail
from broker.audit.writer import AuditWriter
from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database
from broker.db.migrate import migrate
from broker.domain import Attempt, SignedToken
from broker.errors import Reason
from tests import builders
from tests.audit import attempt, evaluation, new_id, new_vault, now, running, signed_token

WRITER_CPU, DATABASE_CPU = 0, 1
IN_FLIGHT = (1, 16, 128, 512)
ISSUER = "https://broker.test"
POLICY_INPUT = {
    "request": {
        "id": "01a20d6d-5a00-757d-bbdd-e3d9c19e59ca",
        "time": "2026-11-24T12:00:00Z",
        "audiences": ["svc-b"],
        "resources": [],
        "targets": ["svc-b"],
        "scopes": ["orders.read"],
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "purpose": None,
        "source": "192.0.2.1",
    },
    "client": {"id": "svc-a", "auth_method": "client_secret_basic", "targets": ["svc-a"]},
    "subject": {
        "issuer": builders.IDP,
        "subject": "alice",
        "client_id": None,
        "token_type": "urn:ietf:params:oauth:token-type:jwt",
        "scopes": ["orders.read"],
        "audiences": ["svc-a"],
        "expires_at": 1_795_000_000,
        "issued_at": 1_794_996_400,
        "claims": {},
    },
    "actor": None,
    "delegation": {
        "chain": [{"issuer": ISSUER, "subject": "svc-a"}],
        "depth": 1,
        "max_depth": 8,
        "reenters": False,
        "actor_token": False,
    },
}


def issued_attempt() -> tuple[Attempt, SignedToken]:
    """An exchange as large as the stock policy makes it."""
    made = attempt()
    signed = signed_token(made)
    output = {"allow": True, "scopes": ["orders.read"], "targets": ["svc-b"], "lifetime": 300}
    answer = evaluation(
        revision="sha256:" + 64 * "0", input=json.dumps(POLICY_INPUT).encode(), output=output
    )
    object.__setattr__(signed.permit, "evaluation", answer)
    return made, signed


def issued_event() -> Event:
    """The record of that."""
    return build_issued(*issued_attempt(), issuer=ISSUER, vault=new_vault())


def build_us(*, new_subjects: bool, count: int = 3000, rounds: int = 5) -> float:
    """Return the processor time of making a record and encrypting it, the best of the rounds."""
    made, signed = issued_attempt()
    exchange, best = made.exchange, float("inf")
    assert exchange is not None
    for turn in range(rounds):
        vault, attempts = new_vault(), []
        for number in range(count if new_subjects else 1):
            name = replace(exchange.subject.principal, subject=f"{turn}-{number}")
            subject = replace(exchange.subject, principal=name)
            attempts.append(
                replace(made, subject=subject, exchange=replace(exchange, subject=subject))
            )
        spent = time.process_time()
        for one in attempts if new_subjects else attempts * count:
            build_issued(one, signed, issuer=ISSUER, vault=vault)
        best = min(best, time.process_time() - spent)
    return round(best / count * 1e6, 1)


def refused_event() -> Event:
    """The record of a request that was refused before much was known of it."""
    made = Attempt(new_id(), "192.0.2.1", now())
    return build_refused(made, Reason.CLIENT_UNKNOWN, id=new_id(), issuer=ISSUER, vault=new_vault())


def percentile(ordered: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2)


async def run(writer: AuditWriter, event: Event, *, in_flight: int, seconds: float) -> dict:
    """Keep ``in_flight`` rows on their way, and return rates and latencies."""
    latencies: list[float] = []
    began = time.perf_counter()
    ends, spent = began + seconds, time.process_time()

    async def append() -> None:
        while (start := time.perf_counter()) < ends:
            await writer.append(event)
            latencies.append(time.perf_counter() - start)

    await asyncio.gather(*(append() for _ in range(in_flight)))
    took = time.perf_counter() - began
    latencies.sort()
    return {
        "rows_per_second": round(len(latencies) / took, 1),
        "p50_ms": percentile(latencies, 0.50),
        "p99_ms": percentile(latencies, 0.99),
        "writer_cpu_us_per_row": round((time.process_time() - spent) / len(latencies) * 1e6, 1),
    }


async def measure(url: str, *, seconds: float, rounds: int) -> dict[str, object]:
    """Run each number of rows in flight ``rounds`` times, and return all of it with medians."""
    database = Database(url)
    results: dict[str, object] = {}
    async with running(database, deadline=timedelta(seconds=10)) as writer:
        for name, build in (("issued", issued_event), ("refused", refused_event)):
            event = build()
            of_size: dict[str, object] = {"record_bytes": len(event.record)}
            for in_flight in IN_FLIGHT:
                runs = [
                    await run(writer, event, in_flight=in_flight, seconds=seconds)
                    for _ in range(rounds)
                ]
                of_size[str(in_flight)] = {
                    f"median_{figure}": statistics.median(each[figure] for each in runs)
                    for figure in runs[0]
                } | {"runs": runs}
            results[name] = of_size
    await database.aclose()
    return results


async def verify(url: str) -> dict[str, object]:
    """Verify all that was written."""
    database = Database(url, timeout=None)
    began, spent = time.perf_counter(), time.process_time()
    report = await verify_trail(database)
    took, cpu = time.perf_counter() - began, time.process_time() - spent
    await database.aclose()
    return {
        "intact": report.intact,
        "rows": report.rows,
        "rows_per_second": round(report.rows / took, 1),
        "rows_per_cpu_second": round(report.rows / cpu, 1),
    }


def main() -> None:
    """Start PostgreSQL, measure, print, and stop it again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of load per run")
    parser.add_argument("--rounds", type=int, default=3, help="runs per number in flight")
    arguments = parser.parse_args()

    # What is started from here on, PostgreSQL included, inherits the processor.
    os.sched_setaffinity(0, {DATABASE_CPU})
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with EmbeddedPostgres(folder / "pg") as postgres:
            migrate(postgres.owner_url)
            os.sched_setaffinity(0, {WRITER_CPU})
            known, new = build_us(new_subjects=False), build_us(new_subjects=True)
            results = uvloop.run(
                measure(postgres.app_url, seconds=arguments.seconds, rounds=arguments.rounds)
            )
            verified = uvloop.run(verify(postgres.auditor_url))
    report = {
        "bench": "audit",
        "machine": {"processors": os.cpu_count(), "python": platform.python_version()},
        "build_cpu_us": {"known_subject": known, "new_subject": new},
        "share_of_an_exchange_cpu_us": {
            str(count): [
                round(each + results["issued"][str(count)]["median_writer_cpu_us_per_row"], 1)
                for each in (known, new)
            ]
            for count in IN_FLIGHT
        },
        "in_flight": results,
        "verify": verified,
    }
    print(json.dumps(report, indent=2))
    if not verified["intact"]:
        sys.exit("the trail that was written does not verify")


if __name__ == "__main__":
    main()
