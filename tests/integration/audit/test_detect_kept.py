"""What detection remembers is kept: a restart goes on with it, and no alert depends on it."""

import asyncio

import pytest

from broker.db.engine import Database
from tests.detecting import Heard, alerts, build_detection, replay
from tests.fixtures.postgres import execute
from tests.looking import running_trail
from tests.sealing import seal_now, write_rows


@pytest.fixture
async def database(fresh):
    """A trail with two replays; the next one is an alert."""
    opened = Database(fresh.app_url)
    await write_rows(opened)
    await seal_now(opened)
    await look(opened)
    await replay(opened, 2)
    await look(opened)
    yield opened
    await opened.aclose()


async def look(database, keep=3600):
    """Look through what is sealed now, as a broker that has started anew; what it heard."""
    heard = Heard()
    async with running_trail(database) as trail:
        made = build_detection(database, trail.record_alert, heard=heard, keep=keep)
        await made.watch(asyncio.Event(), once=True)
    return heard


async def told(fresh):
    """How often it was told, and of how many rows."""
    made = await asyncio.to_thread(alerts, fresh)
    return [record["details"]["observed"] for *_, record in made]


async def test_a_restart_goes_on_with_what_was_remembered(database, fresh):
    """It reads nothing anew, and knows of the two before."""
    await replay(database, 1)
    heard = await look(database)

    assert (0, []) == (heard.primed, heard.unkept_)
    assert [3] == await told(fresh)


@pytest.mark.parametrize(
    ("statement", "unkept"),
    [
        pytest.param("DELETE FROM audit_memory", 0, id="gone"),
        pytest.param("DELETE FROM audit_memory WHERE part = 'replay'", 1, id="a-piece-gone"),
        pytest.param("DELETE FROM audit_memory WHERE part = 'end'", 1, id="the-end-gone"),
        pytest.param(
            "UPDATE audit_memory SET content = '[' WHERE part = 'replay'", 1, id="no-json"
        ),
        pytest.param("UPDATE audit_memory SET content = '[7]'", 1, id="other-values"),
        pytest.param(
            "UPDATE audit_memory SET part = 'x' WHERE part = 'replay'", 1, id="an-unknown-part"
        ),
        pytest.param("UPDATE audit_memory SET format = 0", 0, id="another-format"),
        pytest.param("UPDATE audit_memory SET position = 999999", 0, id="a-place-to-come"),
    ],
)
async def test_what_cannot_be_used_is_read_anew(database, fresh, statement, unkept):
    """The alert is the same."""
    execute(fresh.owner_url, statement)
    await replay(database, 1)
    heard = await look(database)

    assert unkept == len(heard.unkept_)
    assert 0 < heard.primed
    assert [3] == await told(fresh)


async def test_who_cannot_keep_it_looks_all_the_same(database, fresh):
    """And says so."""
    execute(fresh.owner_url, "REVOKE INSERT ON audit_memory FROM broker_app")
    await replay(database, 1)
    heard = await look(database, keep=0)

    assert ["PostgreSQL cannot be asked (InsufficientPrivilegeError)"] == [*{*heard.unkept_}]
    assert [3] == await told(fresh)


async def test_it_is_kept_whole_or_not_at_all(database, fresh):
    """All pieces are of one place, whoever is interrupted while they are written."""
    await replay(database, 1)
    await look(database, keep=0)
    kept = execute(fresh.app_url, "SELECT DISTINCT name, position FROM audit_memory")
    (size,) = execute(fresh.app_url, "SELECT max(size) AS size FROM audit_checkpoint")

    assert [("detect", size["size"])] == [(row["name"], row["position"]) for row in kept]
