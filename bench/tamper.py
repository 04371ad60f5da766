"""Tampers with an audit trail in every way that we know of, and shows what verification finds.

A real PostgreSQL, a sealed trail, and for each kind a copy of it in which the superuser does his
worst. Printed is what the verification says first, by the public key alone and with checkpoints
that were kept outside of the database. Exit code 1 if one kind was not found, or not located.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from rich import box
from rich.table import Table

from broker.audit.verify import Problem
from broker.cli.console import build_console
from broker.cli.progress import Progress
from broker.db.embedded import EmbeddedPostgres
from broker.db.migrate import migrate
from tests.drills.tamper import KINDS, Outcome, tamper, verify_backup
from tests.drills.trail import Written, write_trail
from tests.fixtures.postgres import make_database, one_more


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as server:
        rows = run(server)
    if arguments.format == "json":
        print(json.dumps({"drill": "tamper", "kinds": rows}, indent=2))
    else:
        show(rows)
    return 0 if all(row["found"] for row in rows) else 1


def run(server: EmbeddedPostgres) -> list[dict]:
    console = build_console(stderr=True)
    written = Written()
    with Progress(console).step("a sealed trail") as say:
        backup = make_database(server, "template0")
        migrate(backup.owner_url)
        asyncio.run(write_trail(backup, written))
        trail = make_database(server, backup.name)
        for _ in range(2):
            asyncio.run(write_trail(trail, written))
        say(f"{len(written.writers)} writers, {len(written.notes)} checkpoints")
    rows = []
    for kind in KINDS:
        with Progress(console).step(kind.name) as say, one_more(server, trail.name) as made:
            outcome = asyncio.run(tamper(kind, made, written))
            rows.append(describe(outcome))
            say("found" if outcome.found else "NOT FOUND")
    alone, outside = asyncio.run(verify_backup(backup, written))
    rows.append(
        {
            "kind": "an older backup is restored",
            "found": alone.intact and not outside.intact,
            "alone": said(next(iter(alone.problems), None)),
            "outside": said(next(iter(outside.problems), None)),
            "where": where(next(iter(outside.problems), None)),
        }
    )
    return rows


def describe(outcome: Outcome) -> dict:
    reports = (outcome.alone, outcome.outside)
    alone, outside = (next(iter(report.problems), None) for report in reports)
    unprotected = len(outcome.alone.unprotected)
    changeable = f"{unprotected} tables can be changed" if unprotected else None
    return {
        "kind": outcome.kind.name,
        "found": outcome.found,
        "alone": changeable or said(alone),
        "outside": changeable or said(outside),
        "where": where(outcome.first),
    }


def said(problem: Problem | None) -> str | None:
    return None if problem is None else problem.fault.value


def where(problem: Problem | None) -> str:
    if problem is None:
        return ""
    parts = {
        "writer": str(problem.writer)[:8] if problem.writer else None,
        "row": problem.first_seq,
        "batch": problem.batch,
        "column": problem.column,
        "position": problem.position,
        "checkpoint": problem.size,
    }
    return " ".join(f"{name} {value}" for name, value in parts.items() if value is not None)


def show(rows: list[dict]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("what was done", overflow="fold")
    table.add_column("by the public key alone", overflow="fold")
    table.add_column("with checkpoints from outside", overflow="fold")
    table.add_column("where", overflow="fold")
    for row in rows:
        sign = "✓" if row["found"] else "✗ NOT FOUND:"
        outside = "the same" if row["outside"] == row["alone"] else row["outside"] or "nothing"
        table.add_row(f"{sign} {row['kind']}", row["alone"] or "nothing", outside, row["where"])
    build_console().print(table)
    found = sum(row["found"] for row in rows)
    print(f"{found} of {len(rows)} kinds found and located.")


if __name__ == "__main__":
    sys.exit(main())
