"""Verification after retention: the hole is accepted, and nothing beside it."""

import asyncio
from uuid import UUID, uuid4

import pytest

from broker.audit.checkpoint_key import derive_keys
from broker.audit.merkle import leaf_hash
from broker.audit.outcome import build_administration
from broker.audit.removal import RemovalBuilder, build_tombstones
from broker.audit.tombstone import ACTION, Exported, render_tombstone
from broker.audit.tombstone_note import sign_tombstone
from broker.audit.verify import Fault, Question, verify_trail
from broker.db.engine import Database
from tests.audit import new_id, new_vault, now, running
from tests.fixtures.postgres import execute, one_more
from tests.retaining import AGE, FIRST, ROWS, SECOND, TABLES, retention, write_days
from tests.sealing import KEYS, ORIGIN, seal_now


async def write(made, folder):
    """Two days, of which the first is removed in good order."""
    await write_days(made)
    async with retention(made, folder) as work:
        await work.retain(FIRST)
    database = Database(made.app_url)
    await seal_now(database)
    await database.aclose()


@pytest.fixture(scope="module")
def removed(postgres, template, tmp_path_factory):
    """That trail, to copy; nobody is connected to it."""
    with one_more(postgres, template.name) as made:
        asyncio.run(write(made, tmp_path_factory.mktemp("kept")))
        yield made


@pytest.fixture
def old(postgres, removed):
    """The same in a database of the test's own."""
    with one_more(postgres, removed.name) as made:
        yield made


async def verify(made):
    database = Database(made.auditor_url, timeout=None)
    report = await verify_trail(database, Question(keys=KEYS.public))
    await database.aclose()
    return report


def tamper(made, *statements):
    """Run as the database's superuser, who may switch off every trigger."""
    tables = [row[0] for row in execute(made.owner_url, _PARTITIONS)]
    execute(
        made.superuser_url,
        *(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in ("audit_event", *tables)),
        *statements,
    )


_PARTITIONS = (
    "SELECT relname FROM pg_inherits JOIN pg_class ON oid = inhrelid"
    " WHERE inhparent = 'audit_event'::regclass"
)


async def forge(made, keys):
    """Say in the trail that the second day was removed too, and remove it."""
    builder = RemovalBuilder()
    batches = execute(
        made.owner_url,
        "SELECT b.writer, number, last_seq - first_seq + 1 AS size,"
        " array_agg(e.seq ORDER BY e.seq) AS seqs, array_agg(record ORDER BY e.seq) AS records"
        f" FROM {TABLES[SECOND]} AS e JOIN audit_batch AS b"
        " ON b.writer = e.writer AND e.seq BETWEEN first_seq AND last_seq"
        " GROUP BY b.writer, number, size ORDER BY b.writer, number",
    )
    for row in batches:
        leaves = [leaf_hash(record.encode()) for record in row["records"]]
        builder.add(
            UUID(int=row["writer"].int),
            row["number"],
            dict(zip(row["seqs"], leaves, strict=True)),
            whole=len(leaves) == row["size"],
        )
    (tombstone,) = build_tombstones(
        uuid4(), SECOND, builder.removals(), Exported("x", 1, "ab" * 32), older_than=AGE
    )
    details = render_tombstone(sign_tombstone(tombstone, keys))
    database = Database(made.app_url)
    async with running(database) as writer:
        event = build_administration(
            ACTION, details, id=new_id(), at=now(), by="somebody", vault=new_vault()
        )
        await writer.append(event)
    execute(made.superuser_url, f"DROP TABLE {TABLES[SECOND]}")
    # An honest sealer seals whatever stands there.
    await seal_now(database)
    await database.aclose()


async def test_a_trail_without_its_old_days_is_intact(removed):
    """Rows are missing and a tombstone says so; the batch that midnight cut has its root still."""
    report = await verify(removed)

    assert (True, ROWS[FIRST]) == (report.intact, report.removed)


async def test_one_more_row_that_is_missing_is_named(old):
    """Promises 2.5: a hole beside the tombstone is a hole, also in the batch that was cut."""
    (row,) = execute(
        old.owner_url, f"SELECT writer, seq FROM {TABLES[SECOND]} ORDER BY at, seq LIMIT 1 OFFSET 2"
    )
    where = f"writer = '{row['writer']}' AND seq = {row['seq']}"
    tamper(old, f"DELETE FROM {TABLES[SECOND]} WHERE {where}")
    report = await verify(old)
    (problem,) = report.problems

    assert (Fault.ROWS_MISSING, str(row["writer"])) == (problem.fault, str(problem.writer))
    assert (row["seq"], row["seq"]) == (problem.first_seq, problem.last_seq)
    assert ROWS[FIRST] == report.removed


async def test_a_tombstone_that_the_log_has_not_signed_is_named_and_covers_nothing(old):
    """Whoever may write into the database can't remove a day and have the sealer vouch for it."""
    await forge(old, derive_keys(b"s" * 32, ORIGIN))
    report = await verify(old)
    faults = [problem.fault for problem in report.problems]

    assert {Fault.TOMBSTONE, Fault.ROWS_MISSING} == set(faults)
    assert 1 == faults.count(Fault.TOMBSTONE)
    assert ROWS[FIRST] == report.removed


async def test_the_same_tombstone_with_the_key_of_the_log_is_believed(old):
    """The honest twin: nothing else is wrong with the one that was forged."""
    await forge(old, KEYS)
    report = await verify(old)

    assert (True, sum(ROWS.values())) == (report.intact, report.removed)


async def test_without_its_tombstone_the_hole_is_named(old):
    """Who removes the tombstone as well leaves two holes instead of one."""
    tamper(old, f"DELETE FROM audit_event WHERE action = '{ACTION}'")
    report = await verify(old)

    assert {Fault.ROWS_MISSING} == {problem.fault for problem in report.problems}
    assert 0 == report.removed


async def test_a_tombstone_whose_text_was_changed_is_named(old):
    """More rows in the record: neither its hash nor its signature fits."""
    tamper(
        old,
        "UPDATE audit_event SET record = replace(record, '\"rows\":17', '\"rows\":18')"
        f" WHERE action = '{ACTION}'",
    )
    faults = {problem.fault for problem in (await verify(old)).problems}

    assert {Fault.RECORD, Fault.TOMBSTONE, Fault.ROWS_MISSING} <= faults
