"""How many recorded decisions a second ``broker policy replay`` makes again and compares.

The trail is that of exchanges of 4,096 persons by 20 clients, one in eight refused, each asked of
the stock policy and recorded as brokers do, sealed under its person's key. Replayed are a policy
that changes nothing, one that changes every permit, both against what was recorded, and the first
against another policy. All is in it: reading, unsealing, evaluating, judging, comparing. The replay
has processor 0, PostgreSQL processor 1, and the processor time of either is told apart. Prints JSON
with medians; exits with 1 if a replay does not find what was laid.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import orjson
import uvloop

from bench.events import permitted
from bench.processor import postgres_seconds
from bench.stage import database, describe_machine
from broker.audit.decided import Lots, Stretch, read_export, read_trail
from broker.audit.event import COLUMNS, Event, canonical_json
from broker.audit.outcome import build_issued, build_refused
from broker.audit.reader import RecordReader
from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database
from broker.domain import Permit
from broker.policy.input import build_input
from broker.workbench.candidate import Candidate, open_candidate
from broker.workbench.replay.replayer import CEILING, Replayer, undisturbed
from tests import builders
from tests.audit import new_id, new_vault

REPLAY_CPU = 0
DISTINCT = 4096
CLIENTS = 20
POLICIES = Path(__file__).parent.parent / "policies"
GRANT = """{client}:
  svc-b:
    scopes: [orders.read]
    max_lifetime: {lifetime}
    max_depth: 8
"""


def write_policies(folder: Path, lifetime: str) -> Path:
    """Write the stock policy with a grant for each client."""
    shutil.copytree(POLICIES, folder)
    grants = [GRANT.format(client=f"svc-{n}", lifetime=lifetime) for n in range(CLIENTS)]
    (folder / "broker" / "grants" / "data.yaml").write_text("".join(grants))
    return folder


def events(policy: Candidate) -> tuple[list[Event], list[tuple[bytes, str, str, bytes]]]:
    """Return distinct events with what the policy says of them, and the keys of their persons."""
    vault = new_vault()
    made, keys = [], []
    for number in range(DISTINCT):
        event = _event(policy, number, vault)
        made.append(event)
        keys += [(key.id, key.issuer, key.person, key.wrapped) for key in event.keys]
    return made, keys


def _event(policy: Candidate, number: int, vault) -> Event:
    attempt, signed = permitted(f"user-{number}")
    client = builders.client(f"svc-{number % CLIENTS}")
    delegation = builders.delegation(acting=client.principal, chain=(client.principal,))
    held = frozenset({"orders.read"} if number % 8 else {"orders.write"})
    exchange = replace(
        attempt.exchange,
        client=client,
        delegation=delegation,
        subject=replace(attempt.exchange.subject, scopes=held, audiences=(client.id,)),
    )
    asked = orjson.dumps(build_input(exchange))
    evaluation = policy.evaluate(asked)
    decided = policy.judge(exchange, asked)
    made = replace(
        attempt, exchange=exchange, client=client, delegation=delegation, evaluation=evaluation
    )
    if isinstance(decided, Permit):
        return build_issued(
            made, replace(signed, permit=decided), issuer=builders.BROKER, vault=vault
        )
    made = replace(made, deny=decided)
    return build_refused(made, decided.reasons[0], id=new_id(), issuer=builders.BROKER, vault=vault)


async def lay(connection, count: int, made: list[Event], keys: list) -> None:
    """Lay so many rows into the table, as one writer leaves them."""
    columns = ("writer", "seq", *COLUMNS, "record", "leaf")
    writer = uuid4()
    for start in range(0, count, DISTINCT):
        rows = [
            (writer, start + n + 1, *one.columns, one.record.decode(), one.leaf)
            for n, one in enumerate(made[: count - start])
        ]
        await connection.copy_records_to_table("audit_event", records=rows, columns=columns)
    await connection.executemany(
        "INSERT INTO audit_person_key (id, issuer, person, wrapped, at)"
        " VALUES ($1, $2, $3, $4, now()) ON CONFLICT DO NOTHING",
        keys,
    )


async def replayed(lots: Lots, candidate: Candidate, against: Candidate | None) -> Replayer:
    """Replay it all."""
    replayer = Replayer(candidate, against=against)
    with undisturbed():
        async for lot in lots:
            replayer.feed(lot)
    return replayer


async def measure(
    read: Callable[[], Lots],
    candidate: Candidate,
    against: Candidate | None,
    *,
    data: Path,
    rounds: int,
) -> dict[str, object]:
    """Replay so many times; rates by the clock and by the processor time of either side."""
    runs, tally = [], None
    for _ in range(rounds):
        began, spent, served = time.perf_counter(), time.process_time(), postgres_seconds(data)
        tally = (await replayed(read(), candidate, against)).tally
        took, cpu = time.perf_counter() - began, time.process_time() - spent
        runs.append(
            {
                "decisions_per_second": round(tally.decisions / took),
                "decisions_per_cpu_second": round(tally.decisions / cpu),
                "postgres_cpu_us_per_decision": round(
                    (postgres_seconds(data) - served) / tally.decisions * 1e6, 1
                ),
            }
        )
    assert tally is not None
    medians = {
        f"median_{figure}": statistics.median(each[figure] for each in runs) for figure in runs[0]
    }
    return {
        "decisions": tally.decisions,
        "changed": tally.changed,
        "not_replayable": sum(tally.lost.values()),
        **medians,
        "runs": runs,
    }


async def bench(postgres: EmbeddedPostgres, folder: Path, *, rows: int, rounds: int):
    """Lay a trail, and replay it in four ways."""
    same, other = (write_policies(folder / name, name) for name in ("5m", "2m"))
    with (
        open_candidate(same, ceiling=CEILING) as first,
        open_candidate(other, ceiling=CEILING) as second,
    ):
        made, keys = events(first)
        database = Database(postgres.app_url, timeout=None)
        connection = await database.connect()
        await lay(connection, rows, made, keys)
        await (await Database(postgres.owner_url, timeout=None).connect()).execute("ANALYZE")
        vault, file = new_vault(), folder / "opened.jsonl"
        reader = RecordReader(database, vault)
        with file.open("wb") as out:
            async for lot in read_trail(database, reader, Stretch()):
                out.writelines(canonical_json(one) + b"\n" for one in lot)

        def trail() -> Lots:
            return read_trail(database, reader, Stretch())

        def export() -> Lots:
            return read_export(file, None, Stretch())

        how = {"data": folder / "pg", "rounds": rounds}
        results = {
            "record_bytes": round(statistics.mean(len(one.record) for one in made)),
            "nothing_changes": await measure(trail, first, None, **how),
            "every_permit_changes": await measure(trail, second, None, **how),
            "against_another_policy": await measure(trail, second, first, **how),
            "of_an_opened_file": await measure(export, second, None, **how),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }
        await database.aclose()
    return results


def main() -> None:
    """Start PostgreSQL, measure, print, and stop it again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="of the trail")
    parser.add_argument("--rounds", type=int, default=3, help="of each replay")
    arguments = parser.parse_args()

    with database() as (postgres, folder):
        os.sched_setaffinity(0, {REPLAY_CPU})
        results = uvloop.run(bench(postgres, folder, rows=arguments.rows, rounds=arguments.rounds))
    machine = describe_machine()
    print(json.dumps({"bench": "replay", "machine": machine, **results}, indent=2))
    permits = sum(bool(number % DISTINCT % 8) for number in range(arguments.rows))
    found = [results["nothing_changes"]["changed"], results["every_permit_changes"]["changed"]]
    if found != [0, permits]:
        sys.exit("a replay did not find what was laid")


if __name__ == "__main__":
    main()
