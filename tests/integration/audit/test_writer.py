"""Group commit on a real PostgreSQL: order, numbers, bounds, and whom a bad row takes with it."""

import asyncio
from datetime import timedelta

import pytest

from broker.audit.batch import NOTHING_BEFORE, batch_hash
from broker.audit.merkle import leaf_hash, merkle_root
from broker.audit.queue import MAX_BATCH_ROWS, AuditUnavailable
from broker.audit.verify import verify_trail
from broker.audit.writer import AuditWriter
from broker.db.engine import Database
from tests.audit import event, now, running
from tests.fixtures.postgres import execute


@pytest.fixture
async def own(fresh):
    """A database of the test's own, as the broker reaches it."""
    database = Database(fresh.app_url)
    yield database
    await database.aclose()


@pytest.fixture
async def auditor(fresh):
    """The same as the auditor reads it."""
    database = Database(fresh.auditor_url, timeout=None)
    yield database
    await database.aclose()


def rows_of(fresh, where="true"):
    return execute(
        fresh.auditor_url, f"SELECT * FROM audit_event WHERE {where} ORDER BY writer, seq"
    )


async def outcome(waiting):
    try:
        await waiting
    except AuditUnavailable:
        return "unavailable"
    return "durable"


@pytest.mark.row("INV-8", "OP-01")
async def test_a_row_is_there_when_append_returns(fresh, own):
    """Invariant 8: not soon, but now, for every other connection."""
    async with running(own) as writer:
        made = event()
        await writer.append(made)
        (row,) = rows_of(fresh, f"id = '{made.id}'")

    assert made.record.decode() == row["record"]
    assert made.leaf == row["leaf"] == leaf_hash(made.record)
    assert "test" == row["action"]


@pytest.mark.row("OP-01")
async def test_of_a_thousand_at_once_each_has_exactly_one_row(fresh, own, auditor):
    """OP-01: and ``seq`` has no gap, in the order in which they were appended."""
    events = [event(f"n{number}") for number in range(1000)]
    async with running(own) as writer:
        await asyncio.gather(*(writer.append(made) for made in events))
    rows = rows_of(fresh)
    report = await verify_trail(auditor)

    assert ["start", *(f"n{number}" for number in range(1000)), "stop"] == [
        row["action"] for row in rows
    ]
    assert list(range(1, 1003)) == [row["seq"] for row in rows]
    assert report.intact
    assert [] == report.unended
    # They were gathered: a commit for each would be a thousand.
    assert report.batches < 100


async def test_a_batch_is_chained_to_the_one_before(fresh, own):
    """Promises 2.1: number, range, root, previous hash; all recomputed here from the rows."""
    async with running(own) as writer:
        await writer.append(event())
        await asyncio.gather(*(writer.append(event()) for _ in range(5)))
    rows = rows_of(fresh)
    batches = execute(fresh.auditor_url, "SELECT * FROM audit_batch ORDER BY number")
    previous = NOTHING_BEFORE
    for number, batch in enumerate(batches, 1):
        leaves = [
            row["leaf"] for row in rows if batch["first_seq"] <= row["seq"] <= batch["last_seq"]
        ]

        assert number == batch["number"]
        assert previous == batch["previous"]
        assert merkle_root(leaves) == batch["root"]
        previous = batch["hash"]
        assert previous == batch_hash(*list(batch.values())[:7])


async def test_every_start_is_another_writer(fresh, own):
    """Promises 2.1: two processes can never continue the same sequence."""
    for _ in range(2):
        async with running(own) as writer:
            await writer.append(event())
    writers = {row["writer"] for row in rows_of(fresh)}

    assert 2 == len(writers)


async def test_two_writers_at_once_are_two_intact_sequences(own, auditor):
    """Promises 2.1: replicas share the tables and nothing else."""
    async with running(own) as one, running(own) as other:
        await asyncio.gather(*(w.append(event()) for _ in range(200) for w in (one, other)))
    report = await verify_trail(auditor)

    assert (True, 2, 404) == (report.intact, report.writers, report.rows)


@pytest.mark.row("OP-02")
async def test_without_a_flusher_nobody_waits_longer_than_the_deadline(own):
    """Promises 2.1: 1 s from queueing, then 503 and no token; here less."""
    writer = AuditWriter(own, deadline=timedelta(milliseconds=50), clock=now)
    outcomes = await asyncio.gather(*(outcome(writer.append(event())) for _ in range(20)))

    assert ["unavailable"] * 20 == outcomes
    assert not writer.available


@pytest.mark.row("OP-02", "DRILL-3")
async def test_a_full_queue_says_so_at_once(own):
    """Promises 2.1: bounded, and waiting for room would only be a longer queue."""
    writer = AuditWriter(own, deadline=timedelta(seconds=30), clock=now, max_queue=4)
    waiting = [asyncio.create_task(writer.append(event())) for _ in range(4)]
    await asyncio.sleep(0)

    assert "unavailable" == await outcome(writer.append(event()))
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_rows_that_were_given_up_make_room(own):
    """Ours: a queue full of what nobody waits for is not full."""
    writer = AuditWriter(own, deadline=timedelta(milliseconds=10), clock=now, max_queue=4)
    await asyncio.gather(*(outcome(writer.append(event())) for _ in range(4)))
    waiting = asyncio.create_task(outcome(writer.append(event())))
    await asyncio.sleep(0)

    assert 1 == len(writer._backlog)
    await waiting


async def test_more_than_a_batch_holds_goes_in_several(own, auditor):
    """Ours: no statement is larger than the bound, and verification knows it."""
    async with running(own, deadline=timedelta(seconds=30)) as writer:
        count = MAX_BATCH_ROWS + 500
        await asyncio.gather(*(writer.append(event()) for _ in range(count)))
    report = await verify_trail(auditor)

    assert (True, count + 2) == (report.intact, report.rows)
    assert report.batches >= 4


@pytest.mark.row("OP-02")
async def test_a_row_that_postgresql_refuses_takes_no_other_with_it(fresh, own, auditor):
    """Ours: its waiter is told, the others have their rows, and the sequence has no gap."""
    bad = event("no\0text")
    async with running(own) as writer:
        outcomes = await asyncio.gather(
            *(
                outcome(writer.append(bad if number == 17 else event(f"n{number}")))
                for number in range(40)
            )
        )
        await writer.append(event("after"))

        assert writer.available
    report = await verify_trail(auditor)

    assert ["unavailable"] == [told for told in outcomes if told != "durable"]
    assert "unavailable" == outcomes[17]
    assert 39 == len(rows_of(fresh, "action LIKE 'n%'"))
    assert report.intact


async def test_what_is_quoted_and_escaped_arrives_as_it_is(fresh, own, auditor):
    """ATK-LOG-01: neither SQL nor an array nor a JSON breaker means anything on its way."""
    hostile = '\'); DROP TABLE audit_event; -- {"a",NULL,\\}\r\n\x1b[31m\u202e'
    async with running(own) as writer:
        await writer.append(event(hostile, text=hostile))
    (row,) = rows_of(fresh, "kind = 'administration'")

    assert hostile == row["action"]
    assert (await verify_trail(auditor)).intact


async def test_a_waiter_that_is_cancelled_disturbs_nobody(own, auditor):
    """Ours: its row may be there or not; everybody else's is."""
    async with running(own) as writer:
        given_up = [asyncio.create_task(writer.append(event())) for _ in range(20)]
        kept = [asyncio.create_task(writer.append(event())) for _ in range(20)]
        await asyncio.sleep(0)
        for task in given_up:
            task.cancel()
        await asyncio.gather(*kept)
        await asyncio.gather(*given_up, return_exceptions=True)

    assert (await verify_trail(auditor)).intact


async def test_at_the_end_everything_that_waits_is_written(fresh, own):
    """Promises 2.4: and the last row says that this was the end."""
    async with running(own) as writer:
        waiting = [asyncio.create_task(writer.append(event("late"))) for _ in range(100)]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    rows = rows_of(fresh)

    assert 100 == sum(row["action"] == "late" for row in rows)
    assert ("writer", "stop") == (rows[-1]["kind"], rows[-1]["action"])


async def test_after_the_end_nothing_is_accepted(own):
    """Ours: fail closed, and at once."""
    async with running(own) as writer:
        await writer.append(event())

    assert "unavailable" == await outcome(writer.append(event()))
    assert not writer.available
