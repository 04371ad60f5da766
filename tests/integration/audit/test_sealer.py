"""One log over all writers, whoever seals and whatever happens meanwhile."""

import asyncio
from datetime import timedelta

import pytest

from broker.audit.checkpoint_key import derive_keys
from broker.audit.seal_store import HeadLost, SealStore, SealUnavailable, Turn
from broker.audit.sealer import Progress, Sealer, SealRefused
from broker.db.engine import Database
from tests.audit import event, running
from tests.fixtures.postgres import OneDatabase, execute
from tests.sealing import KEYS, ORIGIN, as_superuser, build_sealer, read_log, seal_now, write_rows
from tests.server import eventually

EVERY = timedelta(seconds=10)


@pytest.fixture
async def trail(base: OneDatabase):
    """A log that is empty, as the broker's role reaches it."""
    database = Database(base.app_url)
    yield database
    await database.aclose()


async def test_every_batch_of_every_writer_is_under_the_head(trail):
    """Issue: one log; each batch once, in its writer's order, under a head that verifies."""
    await asyncio.gather(*(write_rows(trail, 5) for _ in range(3)))

    head = await seal_now(trail)

    log = await read_log(trail)
    assert 3 * 7 == head.size
    assert [head] == log.checkpoints
    assert 0 == log.unsealed


async def test_the_log_goes_on_from_its_head_in_another_process(trail):
    """Ours: what it takes to go on is read back, by keys, and everything fits."""
    sizes = []
    for rows in (0, 1, 4, 2):
        await write_rows(trail, rows)
        sizes.append((await seal_now(trail)).size)

    log = await read_log(trail)
    assert [2, 5, 11, 15] == sizes == [head.size for head in log.checkpoints]


async def test_nothing_new_is_no_new_head(trail):
    """Ours: an idle broker signs nothing."""
    await write_rows(trail)
    first = await seal_now(trail)

    assert first == await seal_now(trail)
    assert [first] == (await read_log(trail)).checkpoints


async def test_there_is_no_head_of_nothing(trail):
    """Ours: a log that never had a batch has no checkpoint."""
    progress = await build_sealer(trail).seal()

    assert (0, None) == (progress.size, progress.note)
    assert [] == (await read_log(trail)).checkpoints


async def test_more_than_a_page_is_sealed_page_by_page(trail):
    """Ours: a transaction is of bounded size, however much waits; the first time and later."""
    sealer = build_sealer(trail, page=100)
    for expected in (252, 504):
        await write_rows(trail, 250)
        assert expected == (await sealer.seal()).size

    log = await read_log(trail)
    assert 0 == log.unsealed
    assert 4 < len(log.checkpoints)


async def test_a_batch_that_commits_late_is_not_missed(trail, base):
    """Promises §2.1: ids are older than commits; what was running when one looked comes later."""
    async with running(trail) as writer:
        await writer.append(event())
        sealer = build_sealer(trail)
        await sealer.seal()
        late = await trail.connect()
        transaction = late.transaction()
        await transaction.start()
        # The id is taken now, before those of the batches that are sealed meanwhile.
        await late.fetchval(COPY_OF_A_BATCH)
        await writer.append(event())
        between = await sealer.seal()
        await writer.append(event())
        await sealer.seal()
        await transaction.commit()
        await late.close()
        after = await sealer.seal()

    assert 3 == between.size
    assert 5 == after.size
    assert 1 == after.added


COPY_OF_A_BATCH = """
INSERT INTO audit_batch (writer, number, first_seq, last_seq, at, root, previous, hash)
SELECT gen_random_uuid(), 1, 1, 1, at, root, previous, hash FROM audit_batch LIMIT 1
RETURNING number
"""


async def test_a_batch_that_commits_late_is_found_after_a_restart(trail):
    """Ours: the horizon is the oldest transaction that ran, so another process finds it too."""
    await write_rows(trail)
    late = await trail.connect()
    transaction = late.transaction()
    await transaction.start()
    await late.fetchval(COPY_OF_A_BATCH)
    await write_rows(trail)
    assert 6 == (await build_sealer(trail).seal()).size
    await transaction.commit()
    await late.close()

    assert 7 == (await build_sealer(trail).seal()).size


async def test_rows_of_before_the_log_are_sealed_too(trail, base):
    """Migration 0005: batches that were written without a transaction's id are found once."""
    await write_rows(trail, 150)
    as_superuser(base, ["audit_batch"], "UPDATE audit_batch SET tx = NULL")

    assert 152 == (await seal_now(trail, page=100)).size
    assert 0 == (await read_log(trail)).unsealed


async def test_a_database_that_was_restored_into_another_cluster_is_looked_at_in_full(trail, base):
    """Ours: ids of another cluster say nothing here, whether they are larger or smaller."""
    await write_rows(trail)
    await seal_now(trail)
    await write_rows(trail)
    as_superuser(
        base,
        ["audit_batch"],
        "UPDATE audit_batch SET tx = CASE WHEN number = 1 THEN 1 ELSE 1000000000000 + number END",
        "UPDATE audit_cursor SET name = 'seal:1', position = 900000000000",
    )

    assert 6 == (await seal_now(trail)).size
    await write_rows(trail)
    assert 9 == (await seal_now(trail)).size
    assert 0 == (await read_log(trail)).unsealed


async def test_of_several_that_seal_at_once_none_forks(trail, base):
    """Issue: never two writers on one head; each batch enters once, whoever is faster."""
    databases = [Database(base.app_url) for _ in range(4)]
    stop = asyncio.Event()

    async def seal_on(database):
        sealer = build_sealer(database, page=3)
        while not stop.is_set():
            try:
                await sealer.seal()
            except HeadLost:
                await asyncio.sleep(0)

    sealers = [asyncio.create_task(seal_on(database)) for database in databases]
    await asyncio.gather(*(write_rows(trail, 20) for _ in range(3)))
    stop.set()
    await asyncio.gather(*sealers)
    for database in databases:
        await database.aclose()

    head = await seal_now(trail)
    log = await read_log(trail)
    assert 66 == head.size
    assert 0 == log.unsealed


async def test_without_the_lock_the_constraints_keep_one_history(trail, base):
    """Issue: the lock is for liveness only; of two on one head, one fails and adds nothing."""
    await write_rows(trail, 3)
    slow = SealStore(trail)
    other = Database(base.app_url)

    async def append_late():
        async with slow.turn() as turn:
            # It was asked whether it is alone, and sleeps; another one seals past its lock.
            assert turn.alone
            assert 5 == (await _Reckless(SealStore(other), KEYS, every=EVERY).seal()).size
            await turn.checkpoint(1, 0, bytes(32), "of a fork", 0)

    with pytest.raises(HeadLost):
        await append_late()

    await slow.aclose()
    await other.aclose()
    assert [5] == [head.size for head in (await read_log(trail)).checkpoints]


class _Reckless(Sealer):
    """One that does not care for the lock."""

    async def _take(self, turn: Turn, *, due: bool) -> Progress:
        turn.alone = True
        return await super()._take(turn, due=due)


async def test_a_tree_that_lacks_the_root_of_its_head_is_not_built_upon(trail, base):
    """Ours: a signature over a stored tree that was changed would make the change true."""
    await write_rows(trail, 3)
    await seal_now(trail)
    as_superuser(
        base,
        ["audit_tree"],
        "UPDATE audit_tree SET hashes[1] = decode(repeat('00', 32), 'hex') WHERE position = 4",
    )
    await write_rows(trail)

    with pytest.raises(SealRefused, match="has not the root"):
        await seal_now(trail)


async def test_a_log_keeps_its_name(trail):
    """Ours: an issuer may move; to a verifier, a log with another name would be another log."""
    await write_rows(trail)
    await seal_now(trail)
    await write_rows(trail)

    progress = await build_sealer(trail, keys=derive_keys(b"c" * 32, "moved.test/audit")).seal()

    assert "broker.test/audit\n6\n" == progress.note[:20]
    await read_log(trail)


async def test_a_stranger_s_log_is_not_gone_on_with(trail):
    """Ours: neither the name nor the key is that of the log: this is another one's database."""
    await write_rows(trail)
    await seal_now(trail)

    with pytest.raises(SealRefused, match="which another key has signed"):
        await seal_now(trail, keys=derive_keys(b"d" * 32, "moved.test/audit"))


async def test_a_key_can_be_replaced(trail, caplog):
    """Ours: the log goes on under the new key, and says so; verifiers need both."""
    other = derive_keys(b"d" * 32, ORIGIN)
    await write_rows(trail)
    await seal_now(trail)
    await write_rows(trail)

    assert 6 == (await seal_now(trail, keys=other)).size
    assert "signed by another key" in caplog.text


async def test_a_batch_that_was_deleted_does_not_end_sealing(trail, base, caplog):
    """Ours: an attacker with the database cannot stop it; the gap is told, loudly, and located."""
    async with running(trail) as writer:
        for _ in range(4):
            await writer.append(event())
        as_superuser(base, ["audit_batch"], "DELETE FROM audit_batch WHERE number = 3")
        assert 4 == (await seal_now(trail)).size
        await writer.append(event())
        assert 5 == (await seal_now(trail)).size

    told = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert [("missing", 4)] == [(record.fault, record.number) for record in told]


async def test_a_batch_that_is_found_before_one_that_was_overlooked_waits_for_it(trail, base):
    """Ours: whatever hid a batch, everything is looked at before one behind it may enter."""
    await write_rows(trail, 3)
    sealer = build_sealer(trail)
    await sealer.seal()
    async with running(trail) as writer:
        for _ in range(3):
            await writer.append(event())
        hidden = f"UPDATE audit_batch SET tx = 1 WHERE number = 2 AND writer = '{writer.writer}'"
        as_superuser(base, ["audit_batch"], hidden)
        assert 9 == (await sealer.seal()).size

    await seal_now(trail)
    assert 0 == (await read_log(trail)).unsealed


async def test_it_runs_until_it_is_told_to_stop(trail):
    """Issue: a checkpoint within ``every`` of any batch, without being asked."""
    stop = asyncio.Event()
    heads = []
    sealer = build_sealer(trail, every=timedelta(milliseconds=100))
    task = asyncio.create_task(sealer.run(stop, lambda: heads.append(1)))

    async def caught_up():
        return 6 == sum(len(log.batches) for log in [await read_log(trail)])

    await write_rows(trail)
    await write_rows(trail)
    await eventually(caught_up)
    stop.set()
    await task

    assert heads
    assert sealer.refusal is None


async def test_it_outlives_the_database(trail, base, caplog):
    """Issue: an outage ends nothing; it is told once, and sealing goes on by itself."""
    await write_rows(trail)
    stop = asyncio.Event()
    sealer = build_sealer(trail, every=timedelta(milliseconds=100))
    task = asyncio.create_task(sealer.run(stop))

    async def sealed(count):
        return count == len((await read_log(trail)).batches)

    await eventually(lambda: sealed(3))
    execute(
        base.superuser_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    await write_rows(trail)
    await eventually(lambda: sealed(6))
    stop.set()
    await task


async def test_what_cannot_be_reached_is_told(base):
    """Ours: for a command, an error in a line; no driver's text, which may quote values."""
    database = Database(base.app_url.replace(base.name, "nowhere"))

    with pytest.raises(SealUnavailable, match="the trail cannot be sealed") as caught:
        await build_sealer(database).seal()

    assert "nowhere" not in str(caught.value)
    await database.aclose()


async def test_replicas_take_turns_without_being_told(trail, base):
    """Issue: one sealer at a time; the others find that nothing is due, and one takes over."""
    others = [Database(base.app_url) for _ in range(2)]
    stops = [asyncio.Event() for _ in others]
    sealed: list[int] = []
    tasks = [
        asyncio.create_task(
            build_sealer(each, every=timedelta(milliseconds=500)).run(
                stop, lambda number=number: sealed.append(number)
            )
        )
        for number, (each, stop) in enumerate(zip(others, stops, strict=True))
    ]

    async def sealed_by(*numbers):
        return sealed and set(numbers) <= set(sealed)

    await write_rows(trail)
    await eventually(sealed_by)
    first = sealed[0]
    stops[first].set()
    await tasks[first]
    await write_rows(trail)
    await eventually(lambda: sealed_by(1 - first))
    stops[1 - first].set()
    await asyncio.gather(*tasks)
    for each in others:
        await each.aclose()

    await read_log(trail)


async def test_nothing_is_sealed_while_what_is_outside_contradicts(trail):
    """Issue: a restored backup is not gone on with; when the outside is mended, sealing goes on."""
    contradiction = ["the file is ahead"]

    async def examine():
        if contradiction:
            raise SealRefused(contradiction[0])

    await write_rows(trail)
    stop = asyncio.Event()
    sealer = build_sealer(trail, every=timedelta(milliseconds=100), examine=examine)
    task = asyncio.create_task(sealer.run(stop))

    async def refused():
        return sealer.refusal == "the file is ahead"

    await eventually(refused)
    assert [] == (await read_log(trail)).batches
    contradiction.clear()

    async def sealed():
        return 3 == len((await read_log(trail)).batches)

    await eventually(sealed)
    stop.set()
    await task
    assert sealer.refusal is None
