"""Detection over a real trail: each alert on record once, whoever is interrupted, and when."""

import asyncio
import json
from datetime import timedelta
from itertools import pairwise

import pytest

from broker.audit.detect.engine import Engine
from broker.audit.detect.past import find_unseen
from broker.db.engine import Database
from broker.errors import CommitRejected, Reason
from tests.audit import attempt
from tests.detecting import Heard, alerts, build_detection, look, replay
from tests.fixtures.postgres import execute
from tests.looking import running_trail
from tests.sealing import seal_now, write_rows


@pytest.fixture
async def database(fresh):
    """A trail that is sealed and was looked through, as the broker's own role reaches it."""
    opened = Database(fresh.app_url)
    await write_rows(opened)
    await seal_now(opened)
    await look(opened)
    yield opened
    await opened.aclose()


async def test_an_alert_is_a_row_of_the_trail(database, fresh):
    """It names the rule, the numbers and the rows, and no person."""
    await replay(database)

    assert [("replay", False)] == await look(database)
    ((id_, action, client, record),) = await asyncio.to_thread(alerts, fresh)
    refused = execute(
        fresh.auditor_url, "SELECT id FROM audit_event WHERE outcome = 'refused' ORDER BY seq"
    )
    assert (id_, "replay", attempt().client.id) == (record["id"], action, client)
    assert ("high", 3, 3) == (
        record["severity"],
        record["details"]["observed"],
        record["details"]["threshold"],
    )
    assert [str(row["id"]) for row in refused] == record["details"]["evidence"]
    assert "alice" not in json.dumps(record)


async def test_what_was_told_is_not_told_again(database, fresh):
    """However often it is looked for, and though what is usual is read anew each time."""
    await replay(database)
    told = [await look(database) for _ in range(2)]
    await replay(database)
    told.append(await look(database))

    assert [[("replay", False)], [], []] == told
    assert 1 == len(await asyncio.to_thread(alerts, fresh))


async def test_who_dies_after_the_row_does_not_leave_it_twice(database, fresh):
    """The place is moved later; whoever goes on finds the row."""
    await replay(database)
    async with running_trail(database) as trail:

        async def dying(alert):
            await trail.record_alert(alert)
            raise CommitRejected(Reason.AUDIT_UNAVAILABLE)

        with pytest.raises(CommitRejected):
            await build_detection(database, dying).watch(asyncio.Event(), once=True)

    assert [] == await look(database)
    assert 1 == len(await asyncio.to_thread(alerts, fresh))


async def test_who_dies_before_the_row_leaves_it_to_the_next(database, fresh):
    """No alert is lost: the place is moved once it is on record."""
    await replay(database)

    async def dying(alert):
        raise CommitRejected(Reason.AUDIT_UNAVAILABLE)

    with pytest.raises(CommitRejected):
        await build_detection(database, dying).watch(asyncio.Event(), once=True)

    assert [("replay", False)] == await look(database)
    assert 1 == len(await asyncio.to_thread(alerts, fresh))


async def test_what_is_suppressed_is_counted_and_not_written(database, fresh):
    """And whoever looks is told of it."""
    await replay(database)
    until = {"until": "2999-01-01T00:00:00Z", "why": "known"}
    entry = {"rule": "replay", "client": attempt().client.id} | until

    assert [("replay", True)] == await look(database, suppress=[entry])
    assert [] == await asyncio.to_thread(alerts, fresh)


async def test_nobody_is_woken_for_what_was_before(fresh):
    """A trail that nobody has looked through begins now."""
    opened = Database(fresh.app_url)
    try:
        await replay(opened)

        assert [] == await look(opened)
    finally:
        await opened.aclose()


async def test_of_several_brokers_one_looks(database, fresh):
    """The others wait, and a stop ends all of them."""
    stop, told = asyncio.Event(), asyncio.Event()
    heard = [Heard(told=told), Heard(told=told)]
    async with running_trail(database) as trail, asyncio.TaskGroup() as group:
        for one in heard:
            group.create_task(build_detection(database, trail.record_alert, heard=one).run(stop))
        waits = [asyncio.create_task(one.waited.wait()) for one in heard]
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in pending:
            one.cancel()
        await replay(database)
        await told.wait()
        stop.set()

    assert [0, 1] == sorted(len(one.found_) for one in heard)
    assert 1 == len(await asyncio.to_thread(alerts, fresh))


async def test_a_failure_is_told_and_ends_nothing(database):
    """Once it can be recorded again, it is."""
    await replay(database)
    stop, told = asyncio.Event(), asyncio.Event()
    heard = Heard(told=told)
    async with running_trail(database) as trail, asyncio.TaskGroup() as group:

        async def failing(alert):
            if not heard.faults:
                raise CommitRejected(Reason.AUDIT_UNAVAILABLE)
            await trail.record_alert(alert)

        group.create_task(build_detection(database, failing, heard=heard).run(stop))
        await told.wait()
        stop.set()

    assert 1 == len(heard.faults)
    assert 1 == len(heard.found_)


async def test_what_nobody_has_seen_is_told_by_its_age(database):
    """So that ``broker doctor`` says when nobody looks."""
    before = await find_unseen(database)
    await replay(database)
    unseen = await find_unseen(database)
    await look(database)

    assert (None, None) == (before, await find_unseen(database))
    assert unseen is not None
    assert timedelta() < unseen < timedelta(minutes=5)


async def test_between_a_few_rows_others_have_their_turn(database):
    """An exchange that comes meanwhile does not wait for all rows of a chunk."""
    turns, fed, stop = [0], [], asyncio.Event()

    class Watched(Engine):
        def feed(self, rows):
            fed.append((len(rows), turns[0]))
            return super().feed(rows)

    async def others():
        while not stop.is_set():
            turns[0] += 1
            await asyncio.sleep(0)

    await write_rows(database, 40)
    await seal_now(database)
    waiting = asyncio.create_task(others())
    async with running_trail(database) as trail:
        made = build_detection(database, trail.record_alert, most=64, build_engine=Watched)
        await made.watch(asyncio.Event(), once=True)
    stop.set()
    await waiting

    assert 40 <= sum(rows for rows, _ in fed)
    assert max(rows for rows, _ in fed) <= 8
    assert all(before < after for (_, before), (_, after) in pairwise(fed))
