"""How fast the sealer puts batches into the log, and how long it keeps an event loop to itself.

Batches of so many rows are laid into a real embedded PostgreSQL with ``fsync`` on, as writers leave
them, and sealed: all at once, as the first time; then as they come at a given number of rows a
second, each round of them as a broker finds it. Then a writer with 512 rows of exchanges in flight
writes what it can, in turns alone and with a sealer beside it on the same event loop. The sealer
has processor 0, PostgreSQL processor 1. Prints JSON.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from datetime import timedelta
from itertools import cycle
from uuid import uuid4

import uvloop

from bench.events import issued
from bench.stage import database, describe_machine
from broker.audit.batch import Batch, seal_batch
from broker.audit.checkpoint_key import derive_keys
from broker.audit.seal_store import SealStore
from broker.audit.sealer import Sealer
from broker.db.engine import Database
from tests.audit import new_vault, now, running

SEALER_CPU = 0
ROWS = 16  # of a batch: what a writer commits at once with 16 exchanges in flight
WRITERS = 4
LEAF = bytes(range(32))
IN_FLIGHT = 512


class Writers:
    """Lays down the batches of several writers, whose rows are nobody's concern here."""

    def __init__(self, connection) -> None:
        self._connection = connection
        self._last: list[Batch | None] = [None] * WRITERS
        self._ids = [uuid4() for _ in range(WRITERS)]

    async def write(self, count: int) -> None:
        """Write so many batches, the writers in turn."""
        columns = ("writer", "number", "first_seq", "last_seq", "at", "root", "previous", "hash")
        records = []
        for number in range(count):
            which = number % WRITERS
            batch = seal_batch(self._ids[which], self._last[which], [LEAF] * ROWS, now())
            self._last[which] = batch
            records.append(tuple(getattr(batch, name) for name in columns))
        await self._connection.copy_records_to_table(
            "audit_batch", records=records, columns=columns
        )


class Pauses:
    """How long others on the event loop waited for their turn."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def watch(self) -> None:
        """Take a turn after a turn."""
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            after = time.perf_counter()
            self.seconds.append(after - before)
            before = after


async def seal(sealer: Sealer) -> dict[str, float]:
    """Seal what there is; returns rates, CPU and how long others waited."""
    pauses = Pauses()
    watching = asyncio.create_task(pauses.watch())
    began = time.perf_counter()
    progress = await sealer.seal()
    took = time.perf_counter() - began
    watching.cancel()
    return {
        "batches": progress.added,
        "batches_per_second": round(progress.added / took),
        "rows_per_second": round(progress.added * ROWS / took),
        "us_per_batch": round(took / progress.added * 1e6, 1),
        "longest_pause_ms": round(max(pauses.seconds) * 1000, 2),
    }


async def cost(sealer: Sealer) -> dict[str, float]:
    """Seal what there is with nobody else on the loop; returns the CPU of it."""
    spent = time.process_time()
    progress = await sealer.seal()
    cpu = (time.process_time() - spent) / progress.added
    return {"batches": progress.added, "cpu_us_per_batch": round(cpu * 1e6, 1)}


async def measure(url: str, *, batches: int, rate: int, rounds: int) -> dict[str, object]:
    """Seal a backlog, then rounds of what comes in 8 s at ``rate`` rows a second."""
    database = Database(url, timeout=timedelta(minutes=5))
    sealer = Sealer(
        SealStore(database), derive_keys(bytes(32), "bench/audit"), every=timedelta(seconds=10)
    )
    connection = await database.connect()
    writers = Writers(connection)
    await writers.write(batches)
    backlog = await seal(sealer)
    each = rate * 8 // ROWS
    paused, alone = [], []
    for _ in range(rounds):
        await writers.write(each)
        paused.append(await seal(sealer))
        await writers.write(each)
        alone.append(await cost(sealer))
    size = await connection.fetchval("SELECT pg_total_relation_size('audit_tree')")
    count = await connection.fetchval("SELECT count(*) FROM audit_tree")
    await sealer.aclose()
    await database.aclose()
    cpu = statistics.median(one["cpu_us_per_batch"] for one in alone)
    return {
        "rows_of_a_batch": ROWS,
        "backlog": backlog,
        "as_they_come": {
            "rows_per_second_written": rate,
            "median_batches_per_second": statistics.median(
                one["batches_per_second"] for one in paused
            ),
            "median_rows_per_second": statistics.median(one["rows_per_second"] for one in paused),
            "median_longest_pause_ms": statistics.median(one["longest_pause_ms"] for one in paused),
            "median_cpu_us_per_batch": cpu,
            "share_of_a_core": round(cpu * rate / ROWS / 1e6, 4),
            "runs": paused,
            "alone": alone,
        },
        "bytes_of_the_log_per_batch": round(size / count),
    }


async def write(url: str, *, seconds: float, sealer: Sealer | None) -> dict[str, float]:
    """Write as fast as one process can; returns rates, and what was left to the sealer."""
    database, vault = Database(url), new_vault()
    events = cycle([issued(f"user-{number % 100}", vault) for number in range(1000)])
    latencies: list[float] = []
    stop = asyncio.Event()
    async with running(database, deadline=timedelta(seconds=10)) as writer:
        sealing = asyncio.create_task(sealer.run(stop)) if sealer else None
        began, spent = time.perf_counter(), time.process_time()

        async def append() -> None:
            while (start := time.perf_counter()) < began + seconds:
                await writer.append(next(events))
                latencies.append(time.perf_counter() - start)

        await asyncio.gather(*(append() for _ in range(IN_FLIGHT)))
        took, cpu = time.perf_counter() - began, time.process_time() - spent
        stop.set()
        await (sealing or asyncio.sleep(0))
    await database.aclose()
    latencies.sort()
    return {
        "rows_per_second": round(len(latencies) / took),
        "p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1000, 1),
        "cpu_us_per_row": round(cpu / len(latencies) * 1e6, 1),
    }


async def together(url: str, *, seconds: float, rounds: int) -> dict[str, object]:
    """Write alone and with a sealer beside, in turns; and seal each time what is left."""
    runs: dict[str, list[dict[str, float]]] = {"alone": [], "with_a_sealer": []}
    database = Database(url, timeout=timedelta(minutes=5))
    every = timedelta(seconds=2)
    for _ in range(rounds):
        for name, of in runs.items():
            sealer = Sealer(SealStore(database), derive_keys(bytes(32), "bench/audit"), every=every)
            beside = None if name == "alone" else sealer
            written = await write(url, seconds=seconds, sealer=beside)
            began = time.perf_counter()
            left = await sealer.seal()
            took = time.perf_counter() - began
            of.append(
                written | {"batches_left": left.added, "seconds_to_seal_them": round(took, 3)}
            )
            await sealer.aclose()
    await database.aclose()
    medians = {
        name: {figure: statistics.median(each[figure] for each in of) for figure in of[0]}
        for name, of in runs.items()
    }
    return {"in_flight": IN_FLIGHT, "sealed_every_seconds": 2, "medians": medians, "runs": runs}


def main() -> None:
    """Start PostgreSQL, measure, print, and stop it again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=100_000, help="of the backlog")
    parser.add_argument("--rate", type=int, default=20_000, help="rows a second that are written")
    parser.add_argument("--rounds", type=int, default=5, help="of 8 s each, as they come")
    parser.add_argument("--seconds", type=float, default=6, help="of each writing")
    arguments = parser.parse_args()

    with database() as (postgres, _):
        os.sched_setaffinity(0, {SEALER_CPU})
        results = uvloop.run(
            measure(
                postgres.app_url,
                batches=arguments.batches,
                rate=arguments.rate,
                rounds=arguments.rounds,
            )
        )
        results["writer_and_sealer"] = uvloop.run(
            together(postgres.app_url, seconds=arguments.seconds, rounds=arguments.rounds)
        )
    machine = describe_machine()
    print(json.dumps({"bench": "seal", "machine": machine, **results}, indent=2))


if __name__ == "__main__":
    main()
