"""Whoever looks is on record, and changes nothing."""

import json

import pytest

from broker.db.engine import Database
from tests.exploring import exploring, rows_of, text_of
from tests.fixtures.postgres import execute

ACCESS = "SELECT role, by, action, details FROM audit_access ORDER BY id"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/?client=inventory", ("audit.explore", {"client": "inventory"})),
        (
            "/?target=ledger&tz=Asia/Tokyo",
            ("audit.explore", {"target": "ledger", "tz": "Asia/Tokyo"}),
        ),
        ("/timeline?outcome=issued", ("audit.explore", {"outcome": "issued"})),
        ("/rows/{id}", ("audit.explore", {"row": "{id}"})),
        ("/rows/{id}/transaction", ("audit.explore", {"transaction": "{id}"})),
        ("/rows/{id}/proof", ("audit.prove", {"row": "{id}"})),
        ("/rows/{id}/record", ("audit.export", {"row": "{id}", "format": "record"})),
        (
            "/export.csv?client=a&names=yes",
            ("audit.export", {"client": "a", "format": "csv", "names": True}),
        ),
        (
            "/export.jsonl?client=a",
            ("audit.export", {"client": "a", "format": "jsonl", "names": False}),
        ),
        ("/trail", ("audit.explore", {"page": "trail"})),
        ("/trail/verify?since=2020-01-01", ("audit.verify", {"since": "2020-01-01"})),
    ],
)
async def test_whoever_looks_is_on_record(own, path, expected):
    """One row for each look, with the role as the database knows it; none for a style sheet."""
    action, details = expected
    async with exploring(own.database) as client:
        await client.get("/static/style.css")
        await client.get("/?outcome=nonsense")
        response = await client.get(path.format(id=own.second))
    rows = execute(own.database.superuser_url, ACCESS)

    assert 200 == response.status_code
    assert [("broker_auditor", "an auditor", action)] == [
        (row["role"], row["by"], row["action"]) for row in rows
    ]
    assert {
        name: value.format(id=own.second) if isinstance(value, str) else value
        for name, value in details.items()
    } == json.loads(rows[0]["details"])


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/timeline", "/rows/{id}", "/rows/{id}/transaction", "/rows/{id}/proof"),
        *("/rows/{id}/record", "/export.csv", "/export.jsonl", "/trail", "/trail/verify"),
    ],
)
async def test_nothing_is_shown_that_cannot_be_recorded(own, path):
    """Fail closed: the same pages with the table away are a page that says so."""
    execute(own.database.superuser_url, "REVOKE INSERT ON audit_access FROM broker_auditor")
    execute(
        own.database.superuser_url,
        "REVOKE INSERT (id, by, action, details) ON audit_access FROM broker_auditor",
    )
    async with exploring(own.database) as client:
        page = await client.get(path.format(id=own.second))

    assert 503 == page.status_code
    assert "Nothing is shown that cannot be recorded" in text_of(page)
    assert [] == rows_of(page)


async def test_the_database_keeps_it_from_writing(own):
    """Even to a role that may write: its connections are read only by the server's word."""
    async with exploring(own.database, vault=None) as client:
        assert 200 == (await client.get("/")).status_code
    reading = Database(own.database.owner_url, read_only=True)
    try:
        connection = await reading.connect()
        with pytest.raises(Exception, match="read-only transaction"):
            await connection.execute("DELETE FROM audit_person_key")
    finally:
        await reading.aclose()
