"""Who looks at the trail is in it: before anything is shown, once, and for good."""

import asyncio
import json
from contextlib import asynccontextmanager

import asyncpg
import pytest
from typer.testing import CliRunner

from broker.audit.access import NAMED
from broker.audit.commit import AuditTrail
from broker.audit.lift import Lifter
from broker.cli.audit import app
from broker.db.engine import Database
from broker.errors import CommitRejected, Reason
from tests import builders
from tests.audit import VAULT, event, new_id, new_vault, now, open_records, running
from tests.configuration import write_keys
from tests.fixtures.postgres import execute


@pytest.fixture
async def database(fresh):
    """A trail with a row, as the broker's own role reaches it."""
    opened = Database(fresh.app_url)
    async with running(opened) as writer:
        await writer.append(event("test"))
    yield opened
    await opened.aclose()


@pytest.fixture
def key_file(tmp_path):
    write_keys(tmp_path)
    return tmp_path / "audit.key"


def audit(url, *arguments):
    return CliRunner().invoke(app, [*arguments, "--database-url", url], env={"COLUMNS": "110"})


def looks(fresh):
    """What waits to be lifted."""
    rows = execute(fresh.app_url, "SELECT * FROM audit_access ORDER BY at, id")
    return [dict(row) | {"details": json.loads(row["details"])} for row in rows]


def lifted(fresh):
    """What of it is in the trail."""
    rows = execute(fresh.auditor_url, "SELECT record FROM audit_event WHERE action LIKE 'audit.%'")
    return open_records(fresh.auditor_url, [row["record"] for row in rows])


@asynccontextmanager
async def running_trail(database):
    """A trail that a broker writes."""
    async with running(database) as writer:
        yield AuditTrail(
            writer, issuer=builders.BROKER, vault=new_vault(), clock=now, build_id=new_id
        )


@pytest.mark.parametrize(
    ("arguments", "action", "details"),
    [
        pytest.param(
            ("query", "--client", "svc-a", "--format", "jsonl"),
            "audit.query",
            {"client": "svc-a", "format": "jsonl", "names": False},
            id="query",
        ),
        pytest.param(
            ("show", "019a2b3c-4d5e-7f60-8a9b-0c1d2e3f4a5b"),
            "audit.show",
            {"row": "019a2b3c-4d5e-7f60-8a9b-0c1d2e3f4a5b", "names": False},
            id="show",
        ),
        pytest.param(
            ("export", "--format", "csv", "--since", "2026-01-01", "--out", "-"),
            "audit.export",
            {"since": "2026-01-01T00:00:00.000000Z", "format": "csv", "names": False},
            id="export",
        ),
    ],
)
async def test_whoever_looks_is_on_record(database, fresh, arguments, action, details):
    """As whom and when is the database's word, and what was looked for is there."""
    await asyncio.to_thread(audit, fresh.auditor_url, *arguments)
    (look,) = looks(fresh)

    assert (action, details) == (look["action"], look["details"])
    assert "broker_auditor" == look["role"]
    assert look["by"].startswith("operator ")


async def test_who_was_looked_for_is_not_named_where_the_trail_does_not(database, fresh, key_file):
    """A pseudonym with the audit key; without one, that it was somebody."""
    with_key = ("query", "--subject", "alice", "--key-file", str(key_file))
    for arguments in (with_key, ("query", "--actor", "alice"), ("query", "--subject", "hmac:x")):
        await asyncio.to_thread(audit, fresh.auditor_url, *arguments)
    found = [look["details"] for look in looks(fresh)]

    assert VAULT.pseudonym("alice") == found[0]["subject"]
    assert NAMED == found[1]["actor"]
    assert "hmac:x" == found[2]["subject"]


@pytest.mark.parametrize(
    "arguments",
    [("query", "--format", "jsonl"), ("export", "--format", "csv", "--out", "-")],
    ids=["query", "export"],
)
async def test_nothing_is_shown_that_cannot_be_recorded(database, fresh, arguments):
    """Exit code 2, and not a row of it."""
    execute(fresh.owner_url, "REVOKE INSERT ON audit_access FROM broker_auditor")
    execute(
        fresh.owner_url,
        "REVOKE INSERT (id, by, action, details) ON audit_access FROM broker_auditor",
    )

    answer = await asyncio.to_thread(audit, fresh.auditor_url, *arguments)

    assert 2 == answer.exit_code
    assert "" == answer.stdout
    assert "who looks at the trail is on record, and that failed" in answer.stderr


async def test_a_broker_brings_it_into_the_trail_once(database, fresh):
    """Under the id that it had, with the role and the time that the database gave it."""
    await asyncio.to_thread(audit, fresh.auditor_url, "query", "--client", "svc-a")
    (look,) = looks(fresh)

    async with running_trail(database) as trail:
        counts = [await Lifter(database, trail.record).lift() for _ in range(2)]

    (row,) = await asyncio.to_thread(lifted, fresh)
    assert [1, 0] == counts
    assert [] == looks(fresh)
    assert (str(look["id"]), "audit.query", "broker_auditor") == (
        row["id"],
        row["action"],
        row["details"]["role"],
    )
    assert look["by"] == row["personal"]["by"]
    assert "svc-a" == row["details"]["client"]


async def test_what_was_interrupted_after_the_row_is_not_there_twice(database, fresh):
    """A broker that dies between the row and its removal leaves it to the next."""
    for _ in range(3):
        await asyncio.to_thread(audit, fresh.auditor_url, "query")

    async with running_trail(database) as trail:
        done = 0

        async def dying(action, details, *, by, id):  # noqa: A002 — as the trail has it
            nonlocal done
            await trail.record(action, details, by=by, id=id)
            done += 1
            if done == 2:
                raise CommitRejected(Reason.AUDIT_UNAVAILABLE)

        with pytest.raises(CommitRejected):
            await Lifter(database, dying).lift()
        assert 3 == len(looks(fresh))
        await Lifter(database, trail.record).lift()

    assert 3 == len(await asyncio.to_thread(lifted, fresh))
    assert [] == looks(fresh)


async def test_of_several_brokers_one_lifts(database, fresh):
    """None waits for another, and none lifts what another does."""
    for _ in range(3):
        await asyncio.to_thread(audit, fresh.auditor_url, "query")

    async with running_trail(database) as trail:
        await asyncio.gather(*(Lifter(database, trail.record).lift() for _ in range(4)))

    assert 3 == len(await asyncio.to_thread(lifted, fresh))


async def test_an_auditor_changes_nothing_of_it(database, fresh):
    """Neither what was done nor who, when and as whom; nor does it see what others did."""
    await asyncio.to_thread(audit, fresh.auditor_url, "query")
    for statement in (
        "SELECT * FROM audit_access",
        "DELETE FROM audit_access",
        "UPDATE audit_access SET by = 'nobody'",
        "INSERT INTO audit_access (id, by, action, details, role) VALUES (NULL, '', '', '', '')",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncio.to_thread(execute, fresh.auditor_url, statement)

    assert 1 == len(looks(fresh))
