"""Drills 1 to 4 for the writer alone: PostgreSQL slow, silent, cut off, killed, and back.

Whatever happens, four things are compared at the end: whoever was told "durable" has exactly one
row, the sequence has no gap, the chain verifies, and each row is there with the keys that open it.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from hashlib import sha256
from weakref import WeakKeyDictionary

import pytest

from broker.audit.outcome import build_administration
from broker.audit.queue import AuditUnavailable
from broker.audit.vault import Vault
from broker.audit.verify import verify_trail
from broker.audit.writer import AuditWriter
from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database
from broker.db.migrate import migrate
from tests.audit import new_id, new_vault, now, open_records, running
from tests.between import between
from tests.fixtures.postgres import execute

SHORT = timedelta(milliseconds=300)
LONG = timedelta(seconds=20)
_vaults: WeakKeyDictionary[AuditWriter, Vault] = WeakKeyDictionary()


@asynccontextmanager
async def through(proxy, **settings) -> AsyncIterator:
    """A writer that reaches PostgreSQL through the proxy, and has written its first row."""
    database = Database(proxy.url)
    try:
        async with running(database, **settings) as writer:
            await resumed(writer, "first")
            yield writer
    finally:
        await database.aclose()


async def told(writer, action, claims=()) -> str | None:
    """Return the action if its waiter was told that it is durable."""
    # As in a process: one vault, in which few persons come again and again.
    vault = _vaults.setdefault(writer, new_vault())
    row = {"id": new_id(), "at": now(), "by": f"operator {len(action)}", "vault": vault}
    try:
        await writer.append(build_administration(action, {}, **row), claims)
    except AuditUnavailable:
        return None
    return action


async def assert_whole(url: str, durable: set[str]) -> None:
    """Every acknowledged row is there once, without a gap, and the chain verifies."""
    database = Database(url, timeout=None)
    try:
        report = await verify_trail(database)
    finally:
        await database.aclose()
    rows = execute(url, "SELECT action, seq, record FROM audit_event ORDER BY seq")
    actions = [row["action"] for row in rows]
    opened = await asyncio.to_thread(open_records, url, [row["record"] for row in rows])
    closed = [one["action"] for one in opened if "by" not in one.get("personal", {"by": None})]

    assert [] == report.problems
    assert [] == closed
    assert len(set(actions)) == len(actions)
    assert set() == durable - set(actions)
    assert list(range(1, len(rows) + 1)) == [row["seq"] for row in rows]


async def resumed(writer, action="again") -> str:
    """Return once a row is durable, however often it takes."""
    async with asyncio.timeout(20):
        number = 0
        while (done := await told(writer, f"{action}{number}")) is None:
            number += 1
    return done


async def until(question) -> None:
    """Return once the answer is not empty."""
    async with asyncio.timeout(20):
        while not await question():  # noqa: ASYNC110 — what is waited for is in PostgreSQL
            await asyncio.sleep(0.005)


async def visible(fresh, action) -> None:
    """Return once the row can be seen, though nobody was told."""
    query = f"SELECT FROM audit_event WHERE action = '{action}'"
    await until(lambda: asyncio.to_thread(execute, fresh.superuser_url, query))


@pytest.mark.row("OP-02", "DRILL-3", "INV-8")
async def test_a_black_hole_keeps_nobody_waiting_beyond_the_deadline(fresh):
    """Drill 3: refused within the deadline, and it resumes alone when packets flow again."""
    async with between(fresh.app_url) as proxy, through(proxy, deadline=SHORT) as writer:
        proxy.black_hole()
        async with asyncio.timeout(10):
            outcomes = await asyncio.gather(*(told(writer, f"lost{n}") for n in range(50)))

        assert {None} == set(outcomes)
        assert len(writer._backlog) <= 50
        proxy.forward()
        proxy.cut()
        durable = {await resumed(writer)}
        assert writer.available
    await assert_whole(fresh.auditor_url, durable)


@pytest.mark.row("DRILL-3")
async def test_a_slow_database_is_no_failure(fresh):
    """Drill 3: half of the deadline for each answer, and everything that is told is there."""
    async with between(fresh.app_url) as proxy, through(proxy, deadline=LONG) as writer:
        proxy.delay = 0.1
        outcomes = await asyncio.gather(*(told(writer, f"slow{n}") for n in range(20)))
        proxy.delay = 0.0

    assert None not in outcomes
    await assert_whole(fresh.auditor_url, set(outcomes))


@pytest.mark.row("DRILL-2", "INV-8")
@pytest.mark.parametrize("claimed", [False, True], ids=["plain", "with-a-claim"])
async def test_a_commit_whose_answer_is_lost_counts_once(fresh, claimed):
    """Promises 2.1: the same batch is sent again, its key tells that it had arrived."""
    claims = [(sha256(b"k").digest(), now() + LONG)] if claimed else []
    async with between(fresh.app_url) as proxy, through(proxy, deadline=LONG) as writer:
        proxy.swallow_answers()
        waiting = asyncio.create_task(told(writer, "answer-lost", claims))
        if claimed:
            # BEGIN, the claim and the rows are each answered; only the last answer is kept back.
            proxy.forward()
            await _swallow_the_last(fresh, proxy, "answer-lost")
        await visible(fresh, "answer-lost")
        proxy.forward()
        proxy.cut()

        assert "answer-lost" == await waiting
        durable = {"answer-lost", await resumed(writer)}
    await assert_whole(fresh.auditor_url, durable)


async def _swallow_the_last(fresh, proxy, action) -> None:
    """Keep back whatever PostgreSQL answers from when the row is seen; it may be none any more."""
    query = f"SELECT FROM audit_event WHERE action = '{action}'"
    await until(lambda: asyncio.to_thread(execute, fresh.superuser_url, query))
    proxy.swallow_answers()


@pytest.mark.row("DRILL-2")
async def test_a_commit_that_never_arrived_is_made_after_all(fresh):
    """Promises 2.1: the twin of the above, and the row has the number that was meant for it."""
    async with between(fresh.app_url) as proxy, through(proxy, deadline=LONG) as writer:
        proxy.black_hole()
        waiting = asyncio.create_task(told(writer, "request-lost"))
        await asyncio.sleep(0.05)
        # What is in the proxy goes with the connection.
        proxy.cut()
        proxy.forward()

        assert "request-lost" == await waiting
        durable = {"request-lost", await resumed(writer)}
    await assert_whole(fresh.auditor_url, durable)


@pytest.mark.row("DRILL-2")
async def test_a_commit_that_arrives_late_is_not_made_twice(fresh):
    """Ours: the first connection is gone, its statement still waits for a lock, and then commits.

    The second attempt waits for the first at the primary key, and finds it done.
    """
    async with between(fresh.app_url) as proxy, through(proxy, deadline=LONG) as writer:
        superuser = Database(fresh.superuser_url)
        holder = await superuser.connect()
        transaction = holder.transaction()
        await transaction.start()
        await holder.execute("LOCK TABLE audit_batch IN SHARE MODE")
        waiting = asyncio.create_task(told(writer, "late"))
        blocked = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'audit_batch'::regclass"
        await until(lambda: holder.fetch(blocked))
        proxy.cut()
        await until(lambda: holder.fetch(f"{blocked} OFFSET 1"))
        await transaction.rollback()
        await holder.close()
        await superuser.aclose()

        assert "late" == await waiting
        durable = {"late", await resumed(writer)}
    await assert_whole(fresh.auditor_url, durable)


@pytest.mark.row("DRILL-2", "INV-8")
async def test_rows_that_were_given_up_leave_no_gap(fresh):
    """Promises 2.1: numbers are given to what is committed, not to what was tried."""
    async with between(fresh.app_url) as proxy, through(proxy, deadline=SHORT) as writer:
        proxy.refuses = True
        proxy.cut()

        assert {None} == {await told(writer, f"given-up{n}") for n in range(3)}
        assert not writer.available
        proxy.forward()
        durable = {await resumed(writer)}
    await assert_whole(fresh.auditor_url, durable)


@pytest.mark.row("DRILL-1", "DRILL-2", "INV-8")
async def test_twenty_cuts_under_load_lose_nothing_that_was_told(fresh):
    """Invariant 8: at whatever moment the connection breaks, in whichever direction."""
    chance = random.Random(20261124)
    durable: set[str] = set()
    async with between(fresh.app_url) as proxy, through(proxy, deadline=LONG) as writer:
        ended = asyncio.Event()

        async def load(number):
            count = 0
            while not ended.is_set():
                action = await told(writer, f"{number}-{count}")
                count += 1
                if action is not None:
                    durable.add(action)

        loads = [asyncio.create_task(load(number)) for number in range(16)]
        for _ in range(20):
            await asyncio.sleep(chance.uniform(0.005, 0.05))
            chance.choice((proxy.swallow_answers, proxy.black_hole, proxy.forward))()
            await asyncio.sleep(chance.uniform(0, 0.01))
            proxy.cut()
            proxy.forward()
            durable.add(await resumed(writer, f"cut{_}-"))
        ended.set()
        await asyncio.gather(*loads)

    assert len(durable) > 40
    await assert_whole(fresh.auditor_url, durable)


@pytest.mark.row("DRILL-4", "OP-02")
async def test_a_database_that_refuses_to_write_is_waited_out(fresh):
    """Drill 4: refused as when the disk is full, nothing told; it resumes alone."""
    database = Database(fresh.app_url)
    async with running(database, deadline=SHORT) as writer:
        await resumed(writer, "first")
        execute(
            fresh.superuser_url,
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$",
            "CREATE TRIGGER full_disk BEFORE INSERT ON audit_batch EXECUTE FUNCTION full_disk()",
        )

        assert {None} == set(
            await asyncio.gather(*(told(writer, f"refused{n}") for n in range(20)))
        )
        assert not writer.available
        execute(fresh.superuser_url, "DROP TRIGGER full_disk ON audit_batch")
        durable = {await resumed(writer)}
    await database.aclose()
    await assert_whole(fresh.auditor_url, durable)


@pytest.mark.row("DRILL-2", "OP-02", "INV-8")
async def test_a_killed_postgresql_loses_nothing_that_was_told(tmp_path):
    """Drill 2: SIGKILL under load, twice; it resumes without a restart of ours."""
    durable: set[str] = set()
    with EmbeddedPostgres(tmp_path) as server:
        migrate(server.owner_url)
        database = Database(server.app_url)
        async with running(database, deadline=timedelta(seconds=1)) as writer:
            ended = asyncio.Event()

            async def load(number):
                count = 0
                while not ended.is_set():
                    action = await told(writer, f"{number}-{count}")
                    count += 1
                    if action is not None:
                        durable.add(action)
                    else:
                        await asyncio.sleep(0.01)

            loads = [asyncio.create_task(load(number)) for number in range(32)]
            for kill in range(2):
                durable.add(await resumed(writer, f"before{kill}-"))
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                durable.add(await resumed(writer, f"after{kill}-"))
            ended.set()
            await asyncio.gather(*loads)
        await database.aclose()

        await assert_whole(server.auditor_url, durable)


@pytest.mark.row("DRILL-2", "OP-02")
async def test_it_starts_without_a_database_and_writes_when_there_is_one(fresh):
    """Ours: which of the two is started first does not matter."""
    async with between(fresh.app_url) as proxy:
        proxy.refuses = True
        database = Database(proxy.url)
        async with running(database, deadline=SHORT) as writer:
            assert await told(writer, "too-early") is None
            assert not writer.available
            proxy.forward()
            durable = {await resumed(writer)}
        await database.aclose()
    await assert_whole(fresh.auditor_url, durable)


@pytest.mark.row("DRILL-2", "OP-02")
async def test_a_connection_that_the_server_ends_is_replaced(fresh):
    """Drill 2: an operator's hand, while nothing happens and in the middle of something."""
    database = Database(fresh.app_url)
    end_all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'broker_app'"
    durable: set[str] = set()
    async with running(database, deadline=LONG) as writer:
        for number in range(10):
            waiting = [asyncio.create_task(told(writer, f"{number}-{n}")) for n in range(8)]
            await asyncio.to_thread(execute, fresh.superuser_url, end_all)
            durable |= {action for action in await asyncio.gather(*waiting) if action}
    await database.aclose()

    assert 80 == len(durable)
    await assert_whole(fresh.auditor_url, durable)
