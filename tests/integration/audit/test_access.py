"""Who looks at the trail is on record: before anything is shown, and for good."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from broker.audit.access import NAMED, NotRecorded, record_access
from broker.db.engine import Database
from tests.audit import VAULT, event, running
from tests.configuration import write_keys
from tests.fixtures.postgres import execute
from tests.looking import audit, looks


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


@pytest.mark.parametrize(
    ("arguments", "action", "details"),
    [
        pytest.param(
            ("query", "--client", "svc-a", "--format", "jsonl"),
            "audit.query",
            {"client": "svc-a", "format": "jsonl", "names": False, "most": None},
            id="query",
        ),
        pytest.param(
            ("query", "--limit", "7"),
            "audit.query",
            {"format": "table", "names": False, "most": 7},
            id="query-of-some",
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
        pytest.param(
            ("prove", "019a2b3c-4d5e-7f60-8a9b-0c1d2e3f4a5b", "--with-record"),
            "audit.prove",
            {"row": "019a2b3c-4d5e-7f60-8a9b-0c1d2e3f4a5b", "record": True},
            id="prove",
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
    known = VAULT.pseudonym("bob")
    for arguments in (
        with_key,
        ("query", "--actor", "alice"),
        ("query", "--subject", known),
        ("query", "--subject", "hmac:alice"),
    ):
        await asyncio.to_thread(audit, fresh.auditor_url, *arguments)
    found = [look["details"] for look in looks(fresh)]

    assert VAULT.pseudonym("alice") == found[0]["subject"]
    assert NAMED == found[1]["actor"]
    assert known == found[2]["subject"]
    assert NAMED == found[3]["subject"]


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


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        pytest.param("DROP TABLE audit_access", "run broker migrate", id="no-table"),
        pytest.param(
            "REVOKE INSERT (id, by, action, details) ON audit_access FROM broker_auditor",
            "this role may not add to audit_access",
            id="no-right",
        ),
        pytest.param(
            "ALTER ROLE broker_auditor IN DATABASE {} SET default_transaction_read_only = on",
            "ask the primary",
            id="read-only",
        ),
    ],
)
async def test_what_cannot_be_recorded_says_what_to_do(database, fresh, statement, remedy):
    """A database of before, one whose rights were changed, and a standby."""
    execute(fresh.superuser_url, statement.format(fresh.name))
    answer = await asyncio.to_thread(audit, fresh.auditor_url, "query", "--format", "jsonl")

    assert (2, "") == (answer.exit_code, answer.stdout)
    assert remedy in " ".join(answer.stderr.split())


async def test_a_token_that_is_looked_for_stands_there_as_its_digest(database, fresh):
    """Whoever pastes one has not put it into the trail."""
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2ln"
    await asyncio.to_thread(audit, fresh.auditor_url, "query", "--parent", token)
    (look,) = looks(fresh)

    assert look["details"]["parent"].startswith("sha256:")


@pytest.mark.parametrize(
    "details",
    [
        pytest.param({"client": "\udcff"}, id="bytes-of-a-command-line"),
        pytest.param({"subject": "\udcff"}, id="as-a-name"),
        pytest.param({"client": ["a"]}, id="no-text"),
        pytest.param({f"a{'b' * n}": "\U0001f600" * 1024 for n in range(5)}, id="too-long"),
        pytest.param({"Not a name": "a"}, id="a-strange-member"),
    ],
)
async def test_nothing_stands_there_that_the_trail_could_not_hold(database, fresh, details):
    """It is refused, and so nothing is shown."""
    with pytest.raises(NotRecorded, match="cannot be recorded"):
        await record_access(
            database, "audit.query", details, by="operator eve", pseudonym=VAULT.pseudonym
        )

    assert [] == looks(fresh)


async def test_a_database_that_is_gone_shows_nothing(fresh):
    """Nor does one that would lose what is recorded."""
    gone = Database("postgresql://broker_auditor@127.0.0.1:1/broker", timeout=timedelta(seconds=1))
    with pytest.raises(NotRecorded, match="that failed"):
        await record_access(gone, "audit.show", {}, by="operator eve", pseudonym=None)
    await gone.aclose()


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
