"""How many rows a second ``broker audit verify`` reads, of a database and of an export.

The trail is that of exchanges, one in eight refused, encrypted and hashed as brokers write them,
in batches of 16, sealed and signed. Of the records a few thousand are distinct and come again and
again, each time as a row of its own. The verifier has processor 0, PostgreSQL processor 1; the
processor time of either is told apart, because it says more than the clock where others use the
same processors. Prints JSON; exits with 1 if the trail does not verify.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import uvloop

from bench.events import issued, refused
from bench.processor import postgres_seconds
from bench.stage import database, describe_machine
from broker.audit.batch import Batch, seal_batch
from broker.audit.checkpoint import parse_checkpoint
from broker.audit.event import COLUMNS, Event
from broker.audit.export.window import load_window, write_window
from broker.audit.proof_source import read_snapshot
from broker.audit.verify import Question, Report, verify_export, verify_trail
from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database
from tests.audit import new_vault, now
from tests.sealing import KEYS, seal_now

VERIFIER_CPU = 0
BATCH = 16
WRITERS = 4
DISTINCT = 4096


def events() -> list[Event]:
    """Return distinct events of exchanges, one in eight refused."""
    vault = new_vault()
    return [
        (issued if number % 8 else refused)(f"user-{number}", vault) for number in range(DISTINCT)
    ]


async def lay(connection, count: int) -> int:
    """Lay so many rows into the tables, as writers leave them; returns bytes of a record."""
    made = events()
    columns = ("writer", "seq", *COLUMNS, "record", "leaf")
    for _ in range(WRITERS):
        writer, last, seq = uuid4(), None, 0
        for start in range(0, count // WRITERS, 200 * BATCH):
            rows, batches = [], []
            for first in range(start, min(start + 200 * BATCH, count // WRITERS), BATCH):
                chunk = [made[(first + n) % DISTINCT] for n in range(BATCH)]
                last = seal_batch(writer, last, [one.leaf for one in chunk], now())
                batches.append(last)
                for one in chunk:
                    seq += 1
                    rows.append((writer, seq, *one.columns, one.record.decode(), one.leaf))
            await connection.copy_records_to_table("audit_event", records=rows, columns=columns)
            await _lay_batches(connection, batches)
    return round(statistics.mean(len(one.record) for one in made))


async def _lay_batches(connection, batches: list[Batch]) -> None:
    columns = ("writer", "number", "first_seq", "last_seq", "at", "root", "previous", "hash")
    records = [tuple(getattr(one, name) for name in columns) for one in batches]
    await connection.copy_records_to_table("audit_batch", records=records, columns=columns)


async def measure(
    run: Callable[[], Awaitable[Report]], data: Path, rounds: int
) -> dict[str, object]:
    """Verify so many times; rates by the clock and by the processor time of either side."""
    runs, report = [], None
    for _ in range(rounds):
        began, spent, served = time.perf_counter(), time.process_time(), postgres_seconds(data)
        report = await run()
        took, cpu = time.perf_counter() - began, time.process_time() - spent
        runs.append(
            {
                "rows_per_second": round(report.rows / took),
                "rows_per_cpu_second": round(report.rows / cpu),
                "postgres_cpu_us_per_row": round(
                    (postgres_seconds(data) - served) / report.rows * 1e6, 1
                ),
            }
        )
    assert report is not None
    medians = {
        f"median_{figure}": statistics.median(each[figure] for each in runs) for figure in runs[0]
    }
    return {"intact": report.intact, "rows": report.rows, **medians, "runs": runs}


async def bench(postgres: EmbeddedPostgres, folder: Path, *, rows: int, rounds: int):
    """Lay a trail, and verify it."""
    database = Database(postgres.app_url, timeout=None)
    connection = await database.connect()
    record_bytes = await lay(connection, rows)
    await seal_now(database)
    # As on any server that has run for a while, PostgreSQL knows how many rows there are.
    await (await Database(postgres.owner_url, timeout=None).connect()).execute("ANALYZE")
    export, data = folder / "trail.jsonl", folder / "pg"
    async with read_snapshot(database) as snapshot:
        window = await load_window(
            snapshot,
            lambda note: parse_checkpoint(note).origin,
            since=None,
            until=None,
            at=datetime.now(UTC),
        )
        with export.open("wb") as file:
            await write_window(snapshot, window, file.write)
    await database.aclose()
    auditor = Database(postgres.auditor_url, timeout=None)
    question = Question(keys=KEYS.public)
    results = {
        "record_bytes": record_bytes,
        "rows_of_a_batch": BATCH,
        "database": await measure(lambda: verify_trail(auditor, question), data, rounds),
        "export": await measure(
            lambda: asyncio.to_thread(verify_export, export, KEYS.public), data, rounds
        ),
    }
    await auditor.aclose()
    return results


def main() -> None:
    """Start PostgreSQL, measure, print, and stop it again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="of the trail")
    parser.add_argument("--rounds", type=int, default=3, help="of verifying")
    arguments = parser.parse_args()

    with database() as (postgres, folder):
        os.sched_setaffinity(0, {VERIFIER_CPU})
        results = uvloop.run(bench(postgres, folder, rows=arguments.rows, rounds=arguments.rounds))
    machine = describe_machine()
    print(json.dumps({"bench": "verify", "machine": machine, **results}, indent=2))
    if not (results["database"]["intact"] and results["export"]["intact"]):
        sys.exit("the trail that was written does not verify")


if __name__ == "__main__":
    main()
