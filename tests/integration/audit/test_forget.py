"""Keys of persons of whom no row is left: destroyed on record, and never too early."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from broker.audit.forget import forget_persons
from broker.audit.query import CannotRead
from broker.db.engine import Database
from broker.errors import CommitRejected, Reason
from tests.fixtures.postgres import execute
from tests.looking import running_trail

BEFORE = datetime(2025, 6, 1, tzinfo=UTC)
# Rows under a key may be as much later as a process uses it, and a day as clocks differ.
LATER = timedelta(days=1, minutes=5)
EARLY, LATE = BEFORE - LATER - timedelta(seconds=1), BEFORE - LATER + timedelta(seconds=1)


@pytest.fixture
async def database(fresh):
    """A trail of today, and keys of long ago."""
    for number, at in enumerate((EARLY, LATE)):
        execute(
            fresh.superuser_url,
            "INSERT INTO audit_person_key (id, issuer, person, wrapped, at)"
            f" VALUES (decode(repeat('0{number}', 16), 'hex'), 'i', '{number}', 'w', '{at}')",
        )
    opened = Database(fresh.app_url)
    yield opened
    await opened.aclose()


def left(made):
    """Whose keys are there, of those of long ago."""
    query = "SELECT person FROM audit_person_key WHERE issuer = 'i' ORDER BY person"
    return "".join(row["person"] for row in execute(made.app_url, query))


def told(made):
    """What the trail says of it."""
    rows = execute(made.app_url, "SELECT record FROM audit_event WHERE action = 'audit.forget'")
    return [json.loads(row["record"])["details"] for row in rows]


async def forget(database):
    async with running_trail(database) as trail:
        return await forget_persons(database, trail.record, before=BEFORE, by="operator carol")


async def test_a_key_goes_once_no_row_can_be_under_it(database, fresh):
    """A second before it could be needed it stays; the row says how many, and up to when."""
    assert (1, 0) == (await forget(database), await forget(database))

    assert "1" == left(fresh)
    assert [{"before": "2025-06-01T00:00:00.000000Z", "keys": 1}] == told(fresh)


async def test_no_key_goes_while_a_row_of_that_time_is_left(database, fresh):
    """Wherever it is, as in the default partition of a broker whose clock is wrong."""
    async with running_trail(database) as trail:
        await trail.record("test", {})
    execute(
        fresh.superuser_url,
        'INSERT INTO audit_event SELECT (json_populate_record(x, \'{"at": "2025-05-31"}\')).*'
        " FROM audit_event AS x WHERE action = 'test'",
    )
    with pytest.raises(CannotRead, match="there are rows of before 2025-06-01"):
        await forget(database)

    assert ("01", []) == (left(fresh), told(fresh))


async def test_no_key_goes_for_a_row_that_comes_meanwhile(database, fresh):
    """It is looked for once more by the statement that destroys."""

    async def record(action, details, *, by):
        async with running_trail(database) as trail:
            await trail.record(action, details, by=by)
        await asyncio.to_thread(
            execute,
            fresh.superuser_url,
            "INSERT INTO audit_event SELECT (json_populate_record(x,"
            " '{\"at\": \"2025-05-31\"}')).* FROM audit_event AS x WHERE action = 'audit.forget'",
        )

    with pytest.raises(CannotRead, match="there are rows"):
        await forget_persons(database, record, before=BEFORE, by="operator carol")

    assert "01" == left(fresh)


async def test_what_cannot_be_recorded_is_not_done(database, fresh):
    """No key goes without the row that says so."""

    async def refusing(action, details, *, by):
        raise CommitRejected(Reason.AUDIT_UNAVAILABLE)

    with pytest.raises(CommitRejected):
        await forget_persons(database, refusing, before=BEFORE, by="operator carol")

    assert "01" == left(fresh)


async def test_whoever_is_interrupted_runs_it_again(database, fresh):
    """The trail may say it twice, and never not at all."""
    execute(fresh.owner_url, "REVOKE DELETE ON audit_person_key FROM broker_app")
    with pytest.raises(CannotRead, match="run it again"):
        await forget(database)
    execute(fresh.owner_url, "GRANT DELETE ON audit_person_key TO broker_app")

    assert 1 == await forget(database)
    assert ("1", 2) == (left(fresh), len(told(fresh)))
