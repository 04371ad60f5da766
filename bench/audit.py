"""Rows a second of the audit writer alone, each of them durable before the next of its waiter.

A closed loop: so many tasks, each appending its next row as soon as the last one is on disk. Real
embedded PostgreSQL with ``fsync`` on. Two sizes: the whole record of an issued token with policy
input and decision, and a short one as of a refusal. The writer has processor 0 with the load;
PostgreSQL has processor 1. Also measured: what making a record costs before that, by its parts
(describe what happened, encrypt what is personal, spell it canonically, hash it, extract columns),
so that the trail's share of an exchange is known; how long the disk takes for a page, which is the
least that a commit can take; and verification of all that was written. Prints JSON.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import uvloop

from bench.events import issued, permitted, unauthenticated
from bench.processor import postgres_seconds
from bench.stage import database, describe_machine
from broker.audit.event import Event, canonical_json, columns_of
from broker.audit.merkle import leaf_hash
from broker.audit.outcome import build_issued
from broker.audit.vault import PersonKey, Vault
from broker.audit.verify import verify_trail
from broker.audit.writer import AuditWriter
from broker.db.engine import Database
from broker.domain import Attempt, SignedToken
from tests import builders
from tests.audit import new_vault, running

WRITER_CPU = 0
IN_FLIGHT = (1, 16, 128, 512)
PARTS = ("describe", "encrypt", "spell", "hash", "extract")


class Described(Vault):
    """Keeps records as they come to be encrypted, and leaves them in plain."""

    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []

    def seal(self, record: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[PersonKey, ...]]:
        """Keep it."""
        self.records.append(record)
        return dict(record), ()


def build(vault: Vault, exchange: tuple[Attempt, SignedToken]) -> Event:
    """Make a record as the broker does."""
    return build_issued(*exchange, issuer=builders.BROKER, vault=vault)


def build_us(*, new_subjects: bool, count: int = 2000, rounds: int = 7) -> dict[str, float]:
    """Return the processor time of making a record, and of its parts, the best of the rounds."""
    best = dict.fromkeys(("whole", *PARTS[1:]), float("inf"))
    for turn in range(rounds):
        made = [permitted(f"{turn}-{number if new_subjects else 0}") for number in range(count)]
        described = Described()
        for one in made:
            build(described, one)
        vault = new_vault()
        sealed = [vault.seal(one)[0] for one in described.records]
        raw = [canonical_json(one) for one in sealed]
        runs: dict[str, tuple[Callable[[Any], object], list[Any]]] = {
            "whole": (partial(build, new_vault()), made),
            "encrypt": (new_vault().seal, described.records),
            "spell": (canonical_json, sealed),
            "hash": (leaf_hash, raw),
            "extract": (columns_of, sealed),
        }
        for name, (do, each) in runs.items():
            spent = time.process_time()
            for one in each:
                do(one)
            best[name] = min(best[name], (time.process_time() - spent) / count * 1e6)
    best["describe"] = best["whole"] - sum(best[name] for name in PARTS[1:])
    return {name: round(best[name], 1) for name in ("whole", *PARTS)}


def percentile(ordered: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2)


def disk_ms(folder: Path, count: int = 1000) -> dict[str, float]:
    """Return how long the disk takes for a page of a file that is there: no commit is faster."""
    page, took = os.urandom(8192), []
    with (folder / "pages").open("wb", buffering=0) as file:
        file.write(bytes(count * len(page)))
        os.fsync(file)
        file.seek(0)
        for _ in range(count):
            began = time.perf_counter()
            file.write(page)
            os.fdatasync(file)
            took.append(time.perf_counter() - began)
    took.sort()
    return {"p50_ms": percentile(took, 0.50), "p99_ms": percentile(took, 0.99)}


async def run(
    writer: AuditWriter, events: Sequence[Event], data: Path, *, in_flight: int, seconds: float
) -> dict[str, float]:
    """Keep ``in_flight`` rows on their way, and return rates, latencies and processor time."""
    latencies: list[float] = []
    following = cycle(events)
    served, began = postgres_seconds(data), time.perf_counter()
    ends, spent = began + seconds, time.process_time()

    async def append() -> None:
        while (start := time.perf_counter()) < ends:
            await writer.append(next(following))
            latencies.append(time.perf_counter() - start)

    await asyncio.gather(*(append() for _ in range(in_flight)))
    took = time.perf_counter() - began
    latencies.sort()
    return {
        "rows_per_second": round(len(latencies) / took, 1),
        "p50_ms": percentile(latencies, 0.50),
        "p99_ms": percentile(latencies, 0.99),
        "writer_cpu_us_per_row": round((time.process_time() - spent) / len(latencies) * 1e6, 1),
        "postgres_cpu_us_per_row": round(
            (postgres_seconds(data) - served) / len(latencies) * 1e6, 1
        ),
    }


async def measure(url: str, data: Path, *, seconds: float, rounds: int) -> dict[str, object]:
    """Run each number of rows in flight ``rounds`` times, and return all of it with medians."""
    database = Database(url)
    results: dict[str, object] = {}
    async with running(database, deadline=timedelta(seconds=10)) as writer:
        vault = new_vault()
        kinds = {
            "issued": [issued(f"user-{number % 100}", vault) for number in range(1000)],
            "refused": [unauthenticated(vault)],
        }
        for name, events in kinds.items():
            of_size: dict[str, object] = {"record_bytes": len(events[0].record)}
            for in_flight in IN_FLIGHT:
                runs = [
                    await run(writer, events, data, in_flight=in_flight, seconds=seconds)
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

    with database() as (postgres, folder):
        os.sched_setaffinity(0, {WRITER_CPU})
        known, new = build_us(new_subjects=False), build_us(new_subjects=True)
        results = uvloop.run(
            measure(
                *(postgres.app_url, folder / "pg"),
                seconds=arguments.seconds,
                rounds=arguments.rounds,
            )
        )
        disk = disk_ms(folder)
        verified = uvloop.run(verify(postgres.auditor_url))
    report = {
        "bench": "audit",
        "machine": describe_machine(),
        "build_cpu_us": {"known_subject": known, "new_subject": new},
        "share_of_an_exchange_cpu_us": {
            str(count): [
                round(
                    each["whole"] + results["issued"][str(count)]["median_writer_cpu_us_per_row"], 1
                )
                for each in (known, new)
            ]
            for count in IN_FLIGHT
        },
        "disk": disk,
        "in_flight": results,
        "verify": verified,
    }
    print(json.dumps(report, indent=2))
    if not verified["intact"]:
        sys.exit("the trail that was written does not verify")


if __name__ == "__main__":
    main()
