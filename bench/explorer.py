"""How long the search page of the explorer takes over a large trail, as a browser has it.

Over the embedded database in ``--data``, as ``bench/trail_rows.py`` fills it: each search is asked
``--rounds`` times over one connection, and the answers are read whole. What is timed is everything
from the request to the last byte: recording who looks, the rows, the timeline, the page. Prints
JSON, in milliseconds; the first answer of each is told apart, since nothing was in memory then.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import uvloop

from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database
from broker.explorer.server import Explorer
from broker.explorer.sources import Means

_SAMPLE = "SELECT client, subject, txn, id, at FROM audit_event WHERE subject IS NOT NULL"
_ROWS = "SELECT sum(greatest(reltuples, 0))::bigint FROM pg_class WHERE relname LIKE 'audit_event%'"
_TABLES = " AND relkind = 'r'"


async def run(url: str, rounds: int) -> dict:
    rows, searches = await _choose(url)
    async with _visitor(url) as visitor:
        pages = {name: await _time(visitor, path, rounds) for name, path in searches.items()}
    return {
        "rows": rows,
        "rounds": rounds,
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "pages": pages,
    }


async def _choose(url: str) -> tuple[int, dict[str, str]]:
    """Return searches for what is there: the newest of it, and something a week old."""
    database = Database(url, read_only=True)
    try:
        connection = await database.connect()
        rows = await connection.fetchval(_ROWS + _TABLES)
        newest = await connection.fetchrow(f"{_SAMPLE} ORDER BY id DESC LIMIT 1")
        day = newest["at"].date().isoformat()
    finally:
        await database.aclose()
    return rows, {
        "everything": "/",
        "24 hours": "/?since=24h",
        "30 days": "/?since=30d",
        "refusals": "/?outcome=refused",
        "a subject": f"/?subject={newest['subject']}",
        "a subject, 24 hours": f"/?subject={newest['subject']}&since=24h",
        "a client": f"/?client={newest['client']}",
        "a client, until today": f"/?client={newest['client']}&until={day}",
        "nobody": "/?subject=nobody",
        "a row": f"/rows/{newest['id']}",
        "a transaction": f"/rows/{newest['id']}/transaction",
    }


@asynccontextmanager
async def _visitor(url: str) -> AsyncIterator[httpx.AsyncClient]:
    means = Means(url=url, zone=ZoneInfo("UTC"), by="bench")
    async with (
        Explorer(means) as explorer,
        httpx.AsyncClient(base_url=f"http://{explorer.address}", timeout=60) as visitor,
    ):
        await visitor.get(explorer.new_link())
        await visitor.get("/static/style.css")
        yield visitor


async def _time(visitor: httpx.AsyncClient, path: str, rounds: int) -> dict:
    times, drawn = [], 0
    for _ in range(rounds + 1):
        began = time.perf_counter()
        answer = await visitor.get(path)
        times.append((time.perf_counter() - began) * 1000)
        if answer.status_code != 200:
            return {"status": answer.status_code, "first": round(times[0], 1)}
        drawn += "<svg" in answer.text
    return {
        "first": round(times[0], 1),
        "median": round(statistics.median(times[1:]), 1),
        "worst": round(max(times[1:]), 1),
        "drawn": drawn,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the embedded database")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    with (
        EmbeddedPostgres(given.data) as postgres,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        print(json.dumps(runner.run(run(postgres.auditor_url, given.rounds)), indent=2))


if __name__ == "__main__":
    main()
