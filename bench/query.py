"""How long questions take that auditors ask of a large trail, in milliseconds.

Over the embedded database in ``--data``, as ``bench/trail_rows.py`` fills it. Each kind of question
is asked about ``--rounds`` different subjects, clients or rows from all over the trail, so that
what is read was not read just before, and each answer is read whole, up to ``--limit`` rows. Timed
from the question to the last row, over one connection that is open already. Prints JSON.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import uvloop

from broker.audit.page import Position, position_of
from broker.audit.query import Filter, find_rows
from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database

DAY = timedelta(days=1)
ROWS = """
SELECT sum(greatest(reltuples, 0))::bigint FROM pg_class
WHERE relname LIKE 'audit_event%' AND relkind = 'r'
"""
SAMPLE = "SELECT * FROM audit_event TABLESAMPLE SYSTEM ($1) REPEATABLE (1)"
BUSIEST = """
SELECT most_common_vals::text::text[] FROM pg_stats
WHERE tablename = 'audit_event' AND attname = 'subject'
"""

Question = Callable[[dict], tuple[Filter, Position | None]]
# Each about a row that is somewhere in the trail, and about the day around it.
QUESTIONS: dict[str, Question] = {
    "newest": lambda _: (Filter(), None),
    "a page further back": lambda row: (Filter(), position_of(row)),
    "a subject": lambda row: (Filter(subject=row["subject"]), None),
    "a subject, 24 hours": lambda row: (Filter(subject=row["subject"], **_day(row)), None),
    "the busiest subject, 24 hours": lambda row: (
        Filter(subject=row["busiest"], **_day(row)),
        None,
    ),
    "a client": lambda row: (Filter(client=row["client"]), None),
    "a client, 24 hours": lambda row: (Filter(client=row["client"], **_day(row)), None),
    "a client at a target, 24 hours": lambda row: (
        Filter(client=row["client"], target=row["targets"][0], **_day(row)),
        None,
    ),
    "an actor, 24 hours": lambda row: (Filter(actor=row["actors"][0], **_day(row)), None),
    "a target, 24 hours": lambda row: (Filter(target=row["targets"][0], **_day(row)), None),
    "an actor": lambda row: (Filter(actor=row["actors"][0]), None),
    "an actor that there is not": lambda _: (Filter(actor="nobody"), None),
    "a target that there is not": lambda _: (Filter(target="nobody"), None),
    "refusals": lambda _: (Filter(outcome="refused"), None),
    "refusals, 24 hours": lambda row: (Filter(outcome="refused", **_day(row)), None),
    "a transaction": lambda row: (Filter(txn=row["txn"]), None),
    "what a token was exchanged for": lambda row: (Filter(parent=row["parent"]), None),
    "a request": lambda row: (Filter(request_id=row["request_id"]), None),
    "a row": lambda row: (Filter(jti=str(row["id"])), None),
    "nobody": lambda _: (Filter(subject="nobody"), None),
}


def _day(row: dict) -> dict:
    return {"since": row["at"] - DAY / 2, "until": row["at"] + DAY / 2}


async def run(url: str, rounds: int, limit: int) -> dict:
    database = Database(url, read_only=True, pool_size=1, timeout=timedelta(minutes=1))
    try:
        rows, sample = await _choose(database, rounds)
        questions = {
            name: await _time(database, ask, sample, limit) for name, ask in QUESTIONS.items()
        }
    finally:
        await database.aclose()
    return {
        "bench": "query",
        "machine": {"processors": os.cpu_count(), "python": platform.python_version()},
        "load": round(os.getloadavg()[0], 1),
        "rows": rows,
        "rounds": rounds,
        "limit": limit,
        "questions": questions,
    }


async def _choose(database: Database, rounds: int) -> tuple[int, list[dict]]:
    """Return how many rows there are, and rows from all over them."""
    connection = await database.connect()
    try:
        rows = await connection.fetchval(ROWS)
        share = min(100.0, 100 * 200 * rounds / rows)
        found = [row for row in await connection.fetch(SAMPLE, share) if row["txn"] is not None]
        busiest = await connection.fetchval(BUSIEST)
    finally:
        await connection.close()
    chosen = found[:: max(1, len(found) // rounds)][:rounds]
    return rows, [{**row, "busiest": busiest[0]} for row in chosen]


async def _time(database: Database, ask: Question, sample: list[dict], limit: int) -> dict:
    times, found = [], []
    for row in sample:
        wanted, after = ask(row)
        began = time.perf_counter()
        rows = find_rows(database, wanted, limit=limit, after=after)
        found.append(len([None async for _ in rows]))
        times.append((time.perf_counter() - began) * 1000)
    return {
        "median": round(statistics.median(times), 1),
        "worst": round(max(times), 1),
        "median_rows": statistics.median(found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the embedded database")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--limit", type=int, default=100)
    given = parser.parse_args()
    with (
        EmbeddedPostgres(given.data) as postgres,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        print(
            json.dumps(runner.run(run(postgres.auditor_url, given.rounds, given.limit)), indent=2)
        )


if __name__ == "__main__":
    main()
