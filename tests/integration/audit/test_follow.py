"""Following the trail: every sealed row once, in the order of the log, wherever one stops."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.audit.follow import Follower, Gap, OtherLog
from broker.audit.query import CannotRead
from broker.db.engine import Database
from tests.audit import now, running
from tests.between import between
from tests.fixtures.postgres import OneDatabase, execute, one_more
from tests.retaining import (
    FIRST,
    MIDNIGHT,
    ROWS,
    SECOND,
    at_midnight,
    retention,
    write_days,
)
from tests.sealing import as_superuser, seal_now, write_rows

IN_ORDER = (
    "SELECT e.writer, e.seq, e.record FROM audit_tree AS t JOIN audit_batch AS b"
    " USING (writer, number) JOIN audit_event AS e ON e.writer = b.writer"
    " AND e.seq BETWEEN b.first_seq AND b.last_seq ORDER BY t.position, e.seq"
)


async def at_once() -> bool:
    """Do not wait for more."""
    return False


async def follow(database, position=0, **options):
    """All chunks there are from a place on."""
    follower = Follower(database, **options)
    try:
        return [found async for found in follower.follow(position, at_once)]
    finally:
        await follower.aclose()


def rows_of(chunks):
    return [(row["writer"], row["seq"], row["record"]) for one in chunks for row in one.rows]


def in_order(made):
    return [tuple(row) for row in execute(made.owner_url, IN_ORDER)]


async def write_many(made):
    """Three writers whose batches alternate, and single rows."""
    database = Database(made.app_url)
    try:
        for rows in (3, 1, 7):
            await asyncio.gather(*(write_rows(database, rows) for _ in range(3)))
            await seal_now(database)
        await write_rows(database, 2)  # not sealed
    finally:
        await database.aclose()


@pytest.fixture(scope="module")
def many(postgres, template):
    """A trail of many batches that nobody changes."""
    with one_more(postgres, template.name) as made:
        asyncio.run(write_many(made))
        yield made


@pytest.fixture
async def reader(many):
    """The same as an auditor reaches it."""
    database = Database(many.auditor_url)
    yield database
    await database.aclose()


async def test_every_sealed_row_comes_once_in_the_order_of_the_log(many, reader):
    """Issue: what is followed is the log, and nothing that no checkpoint covers."""
    chunks = await follow(reader)

    assert in_order(many) == rows_of(chunks)
    assert [()] == list({one.gaps for one in chunks})
    assert chunks[-1].size == chunks[-1].next_position


async def test_a_chunk_is_bounded_and_has_whole_batches(many, reader):
    """Ours: memory does not grow with what waits."""
    chunks = await follow(reader, most=4)

    assert in_order(many) == rows_of(chunks)
    assert 4 == max(len(one.rows) for one in chunks)
    places = [(one.position, one.next_position) for one in chunks]
    assert places[1:] == [(end, after) for (_, end), (_, after) in pairwise(places)]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(most=st.integers(1, 30), stops=st.lists(st.integers(0, 4), max_size=12))
def test_whoever_is_interrupted_anywhere_goes_on_without_gap_or_repetition(many, most, stops):
    """Issue: durable place, every row exactly once for whoever keeps it; property."""

    async def run():
        database = Database(many.auditor_url)
        position, seen = 0, []
        try:
            for chunks in [*stops, 10_000]:
                follower = Follower(database, most=most)
                going = follower.follow(position, at_once)
                for _ in range(chunks):
                    found = await anext(going, None)
                    if found is None:
                        break
                    seen += rows_of([found])
                    position = found.next_position
                await going.aclose()
                await follower.aclose()
        finally:
            await database.aclose()
        return seen

    assert in_order(many) == asyncio.run(run())


async def test_it_waits_for_the_next_checkpoint_and_goes_on(log):
    """Ours: rows come once they are sealed."""
    waits = 0

    async def pause() -> bool:
        nonlocal waits
        waits += 1
        if waits == 1:
            await write_rows(log)
        if waits == 2:
            await seal_now(log)
        return waits < 3

    follower = Follower(log)
    ends = [found.next_position async for found in follower.follow(0, pause)]
    await follower.aclose()

    assert [9, 12] == ends


async def test_a_place_beyond_the_log_is_refused(log):
    """Issue: a cursor of another log is a clear error."""
    with pytest.raises(OtherLog, match="position 10, and the log has 9"):
        await follow(log, 10)


async def test_a_place_is_found_by_time(log, base):
    """Ours: from then on nothing is left out, and what was sealed before is not repeated."""
    (at,) = execute(base.owner_url, "SELECT at FROM audit_checkpoint WHERE size = 6")
    follower = Follower(log)
    moments = (at["at"] - timedelta(days=1), at["at"], now() + timedelta(days=1))
    found = [await follower.place_of(one) for one in moments]
    size = await follower.size()
    await follower.aclose()

    assert [0, 3, 9] == found
    assert 9 == size


async def test_removed_rows_are_passed_over_under_their_tombstone(postgres, template, tmp_path):
    """Issue: a hole under a tombstone is none; what is left of a cut batch comes."""
    with one_more(postgres, template.name) as made:
        await write_days(made)
        before = len(in_order(made))
        async with retention(made, tmp_path) as work:
            await work.retain(FIRST)
        database = Database(made.app_url)
        await seal_now(database)
        chunks = await follow(database)
        await database.aclose()
        rows = in_order(made)

    assert rows == rows_of(chunks)
    assert before - ROWS[FIRST] < len(rows)
    assert ROWS[SECOND] == sum(
        1
        for one in chunks
        for row in one.rows
        if MIDNIGHT <= row["at"] < MIDNIGHT + timedelta(days=1)
    )
    assert [] == [gap for one in chunks for gap in one.gaps]


async def test_a_row_that_is_far_older_than_its_batch_comes(log, base):
    """Ours: most rows are looked for where their batch is in time, and all are found."""
    async with running(log) as writer:
        await writer.append(at_midnight(0))
    await seal_now(log)

    chunks = await follow(log)

    assert in_order(base) == rows_of(chunks)
    assert MIDNIGHT in {row["at"] for one in chunks for row in one.rows}
    assert [] == [gap for one in chunks for gap in one.gaps]


async def test_rows_that_are_missing_are_named_and_the_others_come(log, base: OneDatabase):
    """Ours: who deletes a row must not silence whoever watches."""
    rows = in_order(base)
    writer, seq, _ = rows[4]
    as_superuser(
        base,
        ["audit_event"],
        f"DELETE FROM audit_event WHERE writer = '{writer}' AND seq = {seq}",
    )
    chunks = await follow(log)

    assert [row for row in rows if row[:2] != (writer, seq)] == rows_of(chunks)
    assert [Gap(4, writer, (seq, seq))] == [gap for one in chunks for gap in one.gaps]


@pytest.mark.parametrize(
    ("statement", "gap"),
    [
        pytest.param("DELETE FROM audit_tree WHERE position = 4", "position 4 of", id="place"),
        pytest.param("DELETE FROM audit_tree WHERE position >= 4", "position 4 of", id="tail"),
        pytest.param(
            "DELETE FROM audit_batch WHERE (writer, number) IN"
            " (SELECT writer, number FROM audit_tree WHERE position = 4)",
            "the batch at position 4 of",
            id="batch",
        ),
        pytest.param(
            "UPDATE audit_batch SET last_seq = 1000000 WHERE (writer, number) IN"
            " (SELECT writer, number FROM audit_tree WHERE position = 4)",
            "the batch at position 4 of",
            id="endless-batch",
        ),
    ],
)
async def test_what_is_missing_of_the_log_is_named(log, base, statement, gap):
    """Ours: nothing that a superuser takes away ends it, or passes in silence."""
    as_superuser(base, ["audit_tree", "audit_batch"], statement)

    chunks = await follow(log)

    assert [True] == [str(one).startswith(gap) for chunk in chunks for one in chunk.gaps]
    assert 9 == chunks[-1].next_position


async def test_it_goes_on_after_the_database_was_away(log, base):
    """Ours: an outage is an error, and the next try goes on where it was."""
    async with between(base.app_url) as network:
        database = Database(network.url)
        follower = Follower(database, most=1)
        first = await follower.read(0)
        network.cut()
        with pytest.raises(CannotRead):
            await follower.read(1)
        network.forward()
        second = await follower.read(1)
        await follower.aclose()
        await database.aclose()

    assert first is not None
    assert second is not None
    assert in_order(base)[:2] == rows_of([first, second])
