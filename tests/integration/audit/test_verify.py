"""Drill 14: whoever can write to the tables changes something, and verification says where.

Each tampering is done as superuser with the triggers off, against a writer of its own with ten
rows in three batches: 1 (the start), 2 to 6, 7 to 10.
"""

import asyncio
import json
from uuid import UUID

import pytest

from broker.audit.batch import batch_hash
from broker.audit.event import canonical_json
from broker.audit.merkle import leaf_hash, merkle_root
from broker.audit.verify import Fault, verify_trail
from broker.db.engine import Database
from tests.audit import event, running
from tests.fixtures.postgres import execute, one_more


@pytest.fixture(scope="module")
def shared(postgres, template):
    """A database for the tests of this file, who each look at their own writer only."""
    with one_more(postgres, template.name) as made:
        yield made


async def write_trail(shared) -> str:
    """Write the ten rows, and return the writer's name."""
    database = Database(shared.app_url)
    async with running(database) as writer:
        for size in (5, 3):
            # Appended before the flusher runs again, so they are one batch.
            await asyncio.gather(*(writer.append(event(f"n{n}")) for n in range(size)))
    await database.aclose()
    return str(writer.writer)


async def report_on(url):
    database = Database(url, timeout=None)
    try:
        return await verify_trail(database)
    finally:
        await database.aclose()


async def problems_of(shared, writer):
    """What is found of this writer: fault, batch, first and last row."""
    report = await report_on(shared.auditor_url)
    return [
        (problem.fault, problem.batch, problem.first_seq, problem.last_seq)
        for problem in report.problems
        if problem.writer == UUID(writer)
    ]


def tamper(shared, *statements):
    """Do what no trigger would allow."""
    off = [f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in ("audit_event", "audit_batch")]
    partitions = execute(
        shared.superuser_url,
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
        " WHERE inhparent = 'audit_event'::regclass",
    )
    off += [f"ALTER TABLE {row['name']} DISABLE TRIGGER ALL" for row in partitions]
    on = [
        f"DO $$ DECLARE t record; BEGIN FOR t IN SELECT tgname FROM pg_trigger WHERE tgrelid ="
        f" '{statement.split()[2]}'::regclass AND NOT tgisinternal LOOP EXECUTE format('ALTER TABLE"
        f" {statement.split()[2]} ENABLE ALWAYS TRIGGER %I', t.tgname); END LOOP; END $$"
        for statement in off
    ]
    execute(shared.superuser_url, *off, *statements, *on)


def row_of(shared, writer, seq):
    query = f"SELECT * FROM audit_event WHERE writer = '{writer}' AND seq = {seq}"
    return execute(shared.auditor_url, query)[0]


def of(table, writer, where):
    return f"{table} WHERE writer = '{writer}' AND {where}"


def reseal(shared, writer, number, **changes):
    """The statement of an intruder who knows the format and makes a batch whole again."""
    (batch,) = execute(
        shared.auditor_url, f"SELECT * FROM {of('audit_batch', writer, f'number = {number}')}"
    )
    made = dict(batch) | changes
    made["hash"] = batch_hash(*list(made.values())[:7])
    sets = ", ".join(f"{name} = '\\x{made[name].hex()}'" for name in ("root", "previous", "hash"))
    return made, f"UPDATE audit_batch SET {sets} WHERE writer = '{writer}' AND number = {number}"


async def test_an_untouched_trail_is_intact(shared):
    """The honest twin of all that follows."""
    writer = await write_trail(shared)

    assert [] == await problems_of(shared, writer)


def edited(shared, writer, seq):
    """A record whose text says something else, with its new hash."""
    record = json.loads(row_of(shared, writer, seq)["record"]) | {"details": {"forged": True}}
    raw = canonical_json(record)
    return raw.decode(), leaf_hash(raw)


def edit_record(shared, writer):
    record, _ = edited(shared, writer, 4)
    return [f"UPDATE audit_event SET record = $r${record}$r$ WHERE writer = '{writer}' AND seq = 4"]


def edit_record_and_leaf(shared, writer):
    record, leaf = edited(shared, writer, 4)
    return [
        (
            f"UPDATE audit_event SET record = $r${record}$r$, leaf = '\\x{leaf.hex()}'"
            f" WHERE writer = '{writer}' AND seq = 4"
        )
    ]


def edit_record_leaf_and_root(shared, writer):
    record, leaf = edited(shared, writer, 4)
    leaves = [row_of(shared, writer, seq)["leaf"] for seq in range(2, 7)]
    leaves[2] = leaf
    _, statement = reseal(shared, writer, 2, root=merkle_root(leaves))
    return [
        (
            f"UPDATE audit_event SET record = $r${record}$r$, leaf = '\\x{leaf.hex()}'"
            f" WHERE writer = '{writer}' AND seq = 4"
        ),
        statement,
    ]


def edit_leaf(shared, writer):
    return [f"UPDATE audit_event SET leaf = sha256('x') WHERE writer = '{writer}' AND seq = 4"]


def edit_column(column, value):
    def statements(shared, writer):
        return [f"UPDATE audit_event SET {column} = {value} WHERE writer = '{writer}' AND seq = 4"]

    return statements


def delete(table, where):
    def statements(shared, writer):
        return [f"DELETE FROM {of(table, writer, where)}"]

    return statements


def insert_copy(seq):
    """The copy of a row, with another time, since the primary key has it."""
    same = "id, kind, outcome, actor_issuers, actors, targets, scopes, record, leaf"

    def statements(shared, writer):
        source = of("audit_event", writer, "seq = 4")
        return [
            (
                f"INSERT INTO audit_event (writer, seq, at, {same})"
                f" SELECT writer, {seq}, at + interval '1 ms', {same} FROM {source}"
            )
        ]

    return statements


def swap(one, other):
    def statements(shared, writer):
        return [
            f"UPDATE audit_event SET seq = {after} WHERE writer = '{writer}' AND seq = {before}"
            for before, after in ((one, 1000), (other, one), (1000, other))
        ]

    return statements


def edit_root(shared, writer):
    return [f"UPDATE audit_batch SET root = sha256('x') WHERE writer = '{writer}' AND number = 2"]


def edit_root_and_hash(shared, writer):
    return [reseal(shared, writer, 2, root=leaf_hash(b"x"))[1]]


def edit_time_of_batch(shared, writer):
    return [
        (
            "UPDATE audit_batch SET at = at + interval '1 day'"
            f" WHERE writer = '{writer}' AND number = 2"
        )
    ]


def endless_batch(shared, writer):
    return [f"UPDATE audit_batch SET at = 'infinity' WHERE writer = '{writer}' AND number = 2"]


def cut_the_middle(shared, writer):
    return [
        f"DELETE FROM {of('audit_event', writer, 'seq BETWEEN 2 AND 6')}",
        f"DELETE FROM {of('audit_batch', writer, 'number = 2')}",
    ]


def replace_by_garbage(shared, writer):
    leaf = leaf_hash(b"[]").hex()
    return [
        (
            f"UPDATE audit_event SET record = '[]', leaf = '\\x{leaf}'"
            f" WHERE writer = '{writer}' AND seq = 4"
        )
    ]


@pytest.mark.row("OP-02", "DRILL-14")
@pytest.mark.parametrize(
    ("statements", "found"),
    [
        pytest.param(edit_record, (Fault.RECORD, 2, 4, 4), id="record-edited"),
        pytest.param(edit_leaf, (Fault.RECORD, 2, 4, 4), id="leaf-edited"),
        pytest.param(
            edit_record_and_leaf, (Fault.ROOT, 2, 2, 6), id="record-edited-and-hashed-again"
        ),
        pytest.param(
            edit_record_leaf_and_root,
            (Fault.BATCH_UNLINKED, 3, 7, 9),
            id="record-edited-and-its-batch-sealed-again",
        ),
        pytest.param(
            edit_column("subject", "'mallory'"), (Fault.COLUMN, 2, 4, 4), id="column-edited"
        ),
        pytest.param(
            edit_column("at", "at + interval '1 s'"), (Fault.COLUMN, 2, 4, 4), id="time-edited"
        ),
        pytest.param(edit_column("targets", "'{x}'"), (Fault.COLUMN, 2, 4, 4), id="list-edited"),
        pytest.param(
            delete("audit_event", "seq = 4"), (Fault.ROWS_MISSING, 2, 4, 4), id="row-deleted"
        ),
        pytest.param(
            delete("audit_event", "seq IN (5, 6)"),
            (Fault.ROWS_MISSING, 2, 5, 6),
            id="tail-of-a-batch-cut",
        ),
        pytest.param(
            delete("audit_event", "seq = 1"), (Fault.ROWS_MISSING, 1, 1, 1), id="first-row-deleted"
        ),
        pytest.param(
            delete("audit_batch", "number = 2"), (Fault.BATCH_MISSING, 2, 2, 6), id="batch-deleted"
        ),
        pytest.param(
            delete("audit_batch", "number = 4"),
            (Fault.NOT_COVERED, None, 10, 10),
            id="last-batch-deleted",
        ),
        pytest.param(
            delete("audit_event", "seq = 10"),
            (Fault.ROWS_MISSING, 4, 10, 10),
            id="last-row-deleted",
        ),
        pytest.param(insert_copy(4), (Fault.ROW_ADDED, 2, 4, 4), id="row-added-within"),
        pytest.param(insert_copy(11), (Fault.NOT_COVERED, None, 11, 11), id="row-added-at-the-end"),
        pytest.param(insert_copy(0), (Fault.ROW_ADDED, 1, 0, 0), id="row-added-at-the-beginning"),
        pytest.param(swap(3, 5), (Fault.ROOT, 2, 2, 6), id="two-rows-swapped"),
        pytest.param(swap(3, 8), (Fault.ROOT, 2, 2, 6), id="swapped-across-batches"),
        pytest.param(edit_root, (Fault.BATCH_CHANGED, 2, 2, 6), id="root-edited"),
        pytest.param(edit_root_and_hash, (Fault.ROOT, 2, 2, 6), id="root-edited-and-hashed-again"),
        pytest.param(edit_time_of_batch, (Fault.BATCH_CHANGED, 2, 2, 6), id="batch-back-dated"),
        pytest.param(endless_batch, (Fault.BATCH_CHANGED, 2, 2, 6), id="batch-without-time"),
        pytest.param(cut_the_middle, (Fault.BATCH_MISSING, 2, 2, 6), id="whole-batch-cut-out"),
        pytest.param(replace_by_garbage, (Fault.COLUMN, 2, 4, 4), id="record-replaced"),
    ],
)
async def test_tampering_is_found_where_it_is(shared, statements, found):
    """Promises 2.2: the first thing that is reported of the writer is the first that is wrong."""
    writer = await write_trail(shared)
    tamper(shared, *statements(shared, writer))

    assert found == (await problems_of(shared, writer))[0]


@pytest.mark.row("DRILL-14")
async def test_a_writer_without_its_batches_is_found(shared):
    """Ours: rows that no batch covers were never committed by us."""
    writer = await write_trail(shared)
    tamper(shared, f"DELETE FROM audit_batch WHERE writer = '{writer}'")

    assert [(Fault.NOT_COVERED, None, 1, 10)] == await problems_of(shared, writer)


@pytest.mark.row("DRILL-14")
async def test_a_writer_without_its_rows_is_found(shared):
    """Ours: a batch without rows names how many there were."""
    writer = await write_trail(shared)
    tamper(shared, f"DELETE FROM audit_event WHERE writer = '{writer}'")

    assert (Fault.ROWS_MISSING, 1, 1, 1) == (await problems_of(shared, writer))[0]


@pytest.mark.row("DRILL-14")
async def test_rows_moved_to_another_writer_are_found(shared):
    """Ours: a batch's hash covers whose it is."""
    writer = await write_trail(shared)
    other = "00000000-0000-4000-8000-000000000000"
    tamper(
        shared,
        f"UPDATE audit_event SET writer = '{other}' WHERE writer = '{writer}'",
        f"UPDATE audit_batch SET writer = '{other}' WHERE writer = '{writer}'",
    )

    assert (Fault.BATCH_CHANGED, 1, 1, 1) == (await problems_of(shared, other))[0]


@pytest.mark.row("DRILL-14")
async def test_a_writer_whose_tail_was_cut_is_named_as_without_end(shared):
    """Promises 2.2: only a checkpoint kept elsewhere proves it; that the end is missing shows."""
    writer = await write_trail(shared)
    before = (await report_on(shared.auditor_url)).unended
    tamper(
        shared,
        f"DELETE FROM {of('audit_event', writer, 'seq = 10')}",
        f"DELETE FROM {of('audit_batch', writer, 'number = 4')}",
    )
    report = await report_on(shared.auditor_url)

    assert UUID(writer) not in before
    assert UUID(writer) in report.unended
    assert [] == [problem for problem in report.problems if problem.writer == UUID(writer)]


@pytest.mark.row("OP-02")
async def test_a_table_without_its_triggers_is_named(fresh):
    """Promises 2.3: a partition that was made by hand can be truncated, and nobody would know."""
    before = (await report_on(fresh.auditor_url)).unprotected
    execute(
        fresh.superuser_url,
        "CREATE TABLE by_hand PARTITION OF audit_event"
        " FOR VALUES FROM ('2200-01-01') TO ('2200-01-02')",
        "DO $$ DECLARE t text; BEGIN SELECT tgname INTO t FROM pg_trigger WHERE tgrelid ="
        " 'audit_batch'::regclass LIMIT 1; EXECUTE format('ALTER TABLE audit_batch ENABLE"
        " TRIGGER %I', t); END $$",
    )

    assert [] == before
    assert ["audit_batch", "by_hand"] == (await report_on(fresh.auditor_url)).unprotected


@pytest.mark.row("OP-02")
async def test_a_trail_is_verified_while_it_grows(fresh):
    """Ours: one snapshot, so rows that come meanwhile are neither there nor missing."""
    database = Database(fresh.app_url)
    ended = asyncio.Event()

    async def load(writer):
        while not ended.is_set():
            await writer.append(event())

    async with running(database) as writer:
        loads = [asyncio.create_task(load(writer)) for _ in range(32)]
        reports = [await report_on(fresh.auditor_url) for _ in range(5)]
        ended.set()
        await asyncio.gather(*loads)
    await database.aclose()
    rows = [report.rows for report in reports]

    assert all(report.intact for report in reports)
    assert sorted(set(rows)) == rows


async def test_progress_is_told(shared):
    """Ours: a trail of millions of rows is not read in silence."""
    await write_trail(shared)
    told = []
    database = Database(shared.auditor_url, timeout=None)
    report = await verify_trail(database, progress=lambda done, all_: told.append((done, all_)))
    await database.aclose()

    assert report.rows == told[-1][0]
    assert sorted(told) == told
