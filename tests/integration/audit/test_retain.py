"""Retention: what goes, what has to hold before it goes, and what is left of it."""

import asyncio
import json

import pytest

from broker.audit.checkpoint_key import derive_keys
from broker.audit.merkle import leaf_hash
from broker.audit.proof_source import NotSealed
from broker.audit.query import CannotRead
from broker.audit.removed import Removed
from broker.audit.retain_store import CannotRetain, PartitionStore
from broker.audit.survey import Suspicious
from broker.audit.tombstone import tombstones_of
from broker.audit.tombstone_note import verify_tombstone
from broker.db.engine import Database
from tests.fixtures.postgres import execute, one_more
from tests.retaining import (
    FIRST,
    MIDNIGHT,
    ROWS,
    SECOND,
    TABLES,
    days_left,
    retention,
    write_days,
)
from tests.sealing import KEYS, ORIGIN


@pytest.fixture(scope="module")
def written(postgres, template):
    """The two old days, to copy; nobody is connected to it."""
    with one_more(postgres, template.name) as made:
        asyncio.run(write_days(made))
        yield made


@pytest.fixture
def old(postgres, written):
    """The two old days in a database of the test's own."""
    with one_more(postgres, written.name) as made:
        yield made


def rows_of(made, day):
    """Leaf by writer and ``seq``, and whole batches, as the database has them."""
    rows = execute(made.owner_url, f"SELECT writer, seq, record FROM {TABLES[day]}")
    return {(str(row["writer"]), row["seq"]): leaf_hash(row["record"].encode()) for row in rows}


def tombstones(made):
    rows = execute(
        made.auditor_url, "SELECT record FROM audit_event WHERE action = 'audit.retain' ORDER BY at"
    )
    return list(tombstones_of(json.loads(row["record"]) for row in rows))


async def test_old_days_go_and_leave_their_files_and_tombstones(old, tmp_path):
    """Exported, verified, buried and dropped; the rest of the trail stays as it is."""
    before = {day: rows_of(old, day) for day in TABLES}
    kept = execute(old.owner_url, "SELECT count(*) FROM audit_batch")
    async with retention(old, tmp_path) as work:
        gone = [await work.retain(day) for day in TABLES]

    assert [] == days_left(old)
    assert list(ROWS.values()) == [len(before[day]) for day in TABLES] == [g.rows for g in gone]
    assert [tmp_path / f"audit-{day}.jsonl" for day in TABLES] == [one.file for one in gone]
    assert kept[0][0] <= execute(old.owner_url, "SELECT count(*) FROM audit_batch")[0][0]
    assert [FIRST, SECOND] == [one.day for one in tombstones(old)]


async def test_a_tombstone_covers_exactly_what_was_dropped(old, tmp_path):
    """And for the batch that midnight cut it has the leaves, so its root can be recomputed."""
    before = rows_of(old, FIRST)
    async with retention(old, tmp_path) as work:
        await work.retain(FIRST)
    removed = Removed()
    for tombstone in tombstones(old):
        verify_tombstone(tombstone, KEYS.public)
        removed.add(tombstone)
    (entry,) = tombstone.removed
    (cut,) = entry.cuts

    assert len(before) == removed.rows
    assert {
        (str(entry.writer), seq) for first, last in entry.spans for seq in range(first, last + 1)
    } == set(before)
    assert {before[str(entry.writer), seq]: seq for seq in cut.leaves} == {
        leaf: seq for seq, leaf in cut.leaves.items()
    }
    assert 5 == len(cut.leaves)


async def test_the_second_half_of_a_cut_batch_is_verified_with_the_tombstone_of_the_first(
    old, tmp_path
):
    """Day by day, in another run each: what is no longer there is taken from the trail itself."""
    for day in TABLES:
        async with retention(old, tmp_path) as work:
            await work.retain(day)

    assert [] == days_left(old)


@pytest.mark.parametrize(
    "tampering",
    [
        pytest.param("UPDATE {} SET record = record || ' '", id="record"),
        pytest.param("UPDATE {} SET client = 'somebody else'", id="column"),
        pytest.param("UPDATE {} SET leaf = sha256(leaf)", id="leaf"),
        pytest.param("DELETE FROM {} WHERE action = 'test'", id="rows-deleted"),
        pytest.param("UPDATE {} SET seq = 1000 + seq WHERE seq = 5", id="row-moved"),
        pytest.param(
            "INSERT INTO {0} SELECT (json_populate_record(x, '{{\"seq\": 999}}')).* FROM {0} AS x"
            " WHERE seq = 5",
            id="row-added",
        ),
        pytest.param(
            'INSERT INTO {0} SELECT (json_populate_record(x, \'{{"at": "2025-01-01"}}\')).*'
            " FROM {0} AS x WHERE seq = 5",
            id="row-twice",
        ),
        pytest.param("UPDATE audit_batch SET root = sha256(root)", id="batch-root"),
        pytest.param("UPDATE audit_batch SET at = at + interval '1s'", id="batch-time"),
        pytest.param("DELETE FROM audit_batch", id="batches-deleted"),
        pytest.param("UPDATE audit_tree SET hashes = ARRAY[sha256('x')]", id="log"),
        pytest.param("UPDATE audit_checkpoint SET note = replace(note, '1', '2')", id="checkpoint"),
    ],
)
async def test_a_day_that_was_tampered_with_stays(old, tmp_path, tampering):
    """Evidence is never dropped: no file, no tombstone, and rows may be added as before."""
    execute(
        old.superuser_url,
        "ALTER TABLE audit_event DISABLE TRIGGER ALL",
        *(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in TABLES.values()),
        *(
            f"ALTER TABLE {table} DISABLE TRIGGER ALL"
            for table in ("audit_batch", "audit_tree", "audit_checkpoint")
        ),
        tampering.format(TABLES[FIRST]),
    )
    async with retention(old, tmp_path) as work:
        with pytest.raises((Suspicious, CannotRead)):
            await work.retain(FIRST)

    assert ([], []) == (tombstones(old), list(tmp_path.iterdir()))
    assert [FIRST, SECOND] == days_left(old)
    assert not retired(old)


def retired(made):
    return execute(
        made.owner_url, "SELECT 1 FROM pg_constraint WHERE conname = 'ck_audit_event_retired'"
    )


async def test_a_checkpoint_of_another_key_is_not_believed(old, tmp_path):
    """Whoever replaced the whole log cannot have it dropped in good order either."""
    stranger = derive_keys(b"s" * 32, ORIGIN)
    async with retention(old, tmp_path, keys=stranger) as work:
        with pytest.raises(Suspicious, match="checkpoint is not to be trusted"):
            await work.retain(FIRST)


async def test_what_is_not_sealed_stays(postgres, template, tmp_path):
    """A day of a trail that nobody seals is no evidence yet, however old it is."""
    with one_more(postgres, template.name) as made:
        execute(made.owner_url, f"SELECT audit_event_partition('{FIRST}')")
        async with retention(made, tmp_path) as work:
            with pytest.raises(NotSealed):
                await work.retain(FIRST)


async def test_nothing_is_added_to_a_day_that_was_read(old, tmp_path):
    """Between the reading and the drop a row would vanish without a tombstone."""
    store = await PartitionStore.open(database := Database(old.owner_url))
    since = await store.retire(FIRST)
    copy = f"INSERT INTO audit_event SELECT * FROM audit_event WHERE at < '{SECOND}' LIMIT 1"
    with pytest.raises(Exception, match="ck_audit_event_retired"):
        execute(old.app_url, copy)

    assert since == await store.retire(FIRST)
    await store.aclose()
    await database.aclose()


async def test_a_day_is_dropped_only_if_it_was_retired(old):
    """Nobody drops a day by a shorter way."""
    store = await PartitionStore.open(database := Database(old.owner_url))
    with pytest.raises(CannotRetain, match="takes rows again"):
        await store.drop(FIRST)
    await store.aclose()
    await database.aclose()

    assert [FIRST, SECOND] == days_left(old)


async def test_only_one_retention_runs(old, tmp_path):
    """Of two the second says so, and touches nothing."""
    async with retention(old, tmp_path):
        with pytest.raises(CannotRetain, match="another retention runs"):
            async with retention(old, tmp_path):
                pass


async def test_only_the_owner_drops(old):
    """The broker's role cannot, and the error names the setting."""
    database = Database(old.app_url)
    with pytest.raises(CannotRetain, match=r"database\.owner_url: broker_app may not drop"):
        await PartitionStore.open(database)
    await database.aclose()


async def test_partitions_are_those_that_are_wholly_older(old):
    """A day that was not over by then stays, whatever its rows are."""
    store = await PartitionStore.open(database := Database(old.owner_url))
    found = [one.day for one in await store.partitions(MIDNIGHT)]
    content = await store.content(FIRST)
    await store.aclose()
    await database.aclose()

    assert [FIRST] == found
    assert ROWS[FIRST] == content.rows
    assert content.oldest < content.newest < MIDNIGHT
