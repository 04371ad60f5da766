"""The sealer's transaction: whoever is stopped inside one keeps the others for a moment only."""

from contextlib import suppress

import pytest

from broker.audit.seal_store import HeadLost, SealStore, SealUnavailable
from broker.db.engine import Database
from tests.fixtures.postgres import OneDatabase
from tests.sealing import build_sealer, read_log, write_rows
from tests.server import eventually


@pytest.fixture
async def trail(base: OneDatabase):
    """A log that is empty, as the broker's role reaches it."""
    database = Database(base.app_url)
    yield database
    await database.aclose()


async def test_one_that_sleeps_in_its_transaction_loses_it(trail):
    """Issue, liveness: a stopped process holds the lock until PostgreSQL ends its transaction."""
    await write_rows(trail)
    asleep = SealStore(trail)
    sealer = build_sealer(trail)

    async def sealed():
        with suppress(HeadLost):
            return await sealer.seal()

    async def sleep():
        async with asleep.turn() as turn:
            assert turn.alone
            # For the test a moment; a broker's connections have ten seconds.
            await turn._connection.execute("SET idle_in_transaction_session_timeout = '300ms'")
            with pytest.raises(HeadLost):
                await sealer.seal()
            await eventually(sealed)
            await turn.checkpoint(1, 0, bytes(32), "of a fork", 0)

    with pytest.raises(SealUnavailable):
        await sleep()
    await sealer.aclose()

    assert [3] == [head.size for head in (await read_log(trail)).checkpoints]


async def test_a_turn_that_fails_leaves_nothing(trail):
    """Ours: what was appended before an error is gone, and the next turn begins anew."""
    store = SealStore(trail)

    async def fail():
        async with store.turn() as turn:
            await turn.checkpoint(1, 0, bytes(32), "of a turn that fails", 0)
            raise RuntimeError("anything")

    with pytest.raises(RuntimeError):
        await fail()
    async with store.turn() as turn:
        assert turn.alone
        assert turn.head is None
    await store.aclose()


async def test_a_connection_is_as_durable_as_the_writer_s(trail):
    """Promises §2.1: a head that leaves must not be lost by a crash of the database."""
    store = SealStore(trail)
    async with store.turn() as turn:
        assert "on" == await turn._connection.fetchval("SHOW synchronous_commit")
        assert "10s" == await turn._connection.fetchval("SHOW idle_in_transaction_session_timeout")
    await store.aclose()
