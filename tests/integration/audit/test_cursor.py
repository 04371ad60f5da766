"""The place that a follower keeps: durable, one process at a time, never moved back."""

import pytest

from broker.audit.cursor import CursorBusy, CursorLost, StoredCursor
from broker.audit.query import CannotRead
from broker.db.engine import Database
from tests.audit import new_id
from tests.between import between
from tests.fixtures.postgres import execute


@pytest.fixture
def name():
    """A name that nobody else has; the database is shared."""
    return f"test:{new_id()}"


async def test_a_place_is_there_after_its_keeper_has_gone(database, name):
    """Issue: a durable cursor."""
    first = StoredCursor(database, name)
    found = [await first.take()]
    await first.move(3)
    await first.move(7)
    await first.aclose()
    second = StoredCursor(database, name)
    found.append(await second.take())
    await second.aclose()

    assert [None, 7] == found


async def test_one_name_has_one_keeper_at_a_time(database, name):
    """Ours: two streams of one name do not both send; another name is another stream."""
    first, second = StoredCursor(database, name), StoredCursor(database, name)
    other = StoredCursor(database, f"{name}:other")
    await first.take()
    with pytest.raises(CursorBusy, match="another process"):
        await second.take()
    assert await other.take() is None
    await first.aclose()
    assert await second.take() is None
    for one in (second, other):
        await one.aclose()


async def test_whoever_was_overtaken_moves_nothing(database, postgres, name):
    """Ours: compare and set, whatever became of the lock."""
    cursor = StoredCursor(database, name)
    await cursor.take()
    await cursor.move(5)
    execute(postgres.app_url, f"UPDATE audit_cursor SET position = 9 WHERE name = '{name}'")
    with pytest.raises(CursorLost):
        await cursor.move(6)
    again = await cursor.take()
    await cursor.aclose()

    assert 9 == again


async def test_the_first_move_loses_to_another_first_one(database, postgres, name):
    """Ours: nor is a new name taken twice."""
    cursor = StoredCursor(database, name)
    await cursor.take()
    execute(postgres.app_url, f"INSERT INTO audit_cursor VALUES ('{name}', 4, now())")
    with pytest.raises(CursorLost):
        await cursor.move(1)
    await cursor.aclose()


async def test_a_place_is_not_moved_by_whoever_lost_the_connection(postgres, name):
    """Ours: the lock goes with the connection, and so does the right to move."""
    async with between(postgres.app_url) as network:
        database = Database(network.url)
        cursor = StoredCursor(database, name)
        await cursor.take()
        await cursor.move(1)
        network.cut()
        with pytest.raises(CannotRead):
            await cursor.move(2)
        with pytest.raises(CursorLost):
            await cursor.move(2)
        again = await cursor.take()
        await cursor.move(2)
        await cursor.aclose()
        await database.aclose()

    assert 1 == again


async def test_an_auditor_keeps_no_place_in_the_database(postgres, name):
    """Design §7: the auditor's role reads."""
    database = Database(postgres.auditor_url)
    cursor = StoredCursor(database, name)
    await cursor.take()
    with pytest.raises(CannotRead):
        await cursor.move(1)
    await cursor.aclose()
    await database.aclose()
