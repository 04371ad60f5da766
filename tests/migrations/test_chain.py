"""The chain of migrations: it makes the tables of the code, up and down, one run at a time."""

import ast
import asyncio
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database, parse_url
from broker.db.loop import run_apart
from broker.db.migrate import (
    DAYS_AHEAD,
    CannotMigrate,
    downgrade,
    migrate,
    partition_days_left,
    pending,
)
from broker.db.tables import metadata
from tests.audit import event, running
from tests.fixtures.postgres import execute

VERSIONS = Path(__file__).parents[2] / "migrations" / "versions"

# Everything that a table is, in PostgreSQL's own words; partitions are the same by construction.
SCHEMA = """
SELECT relname, 'column' AS what, attname AS name,
       concat_ws(' ', format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' END,
                 pg_get_expr(adbin, adrelid)) AS text
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
  AND attnum > 0 AND NOT attisdropped AND relname <> 'alembic_version'
UNION ALL
SELECT relname, 'constraint', conname, pg_get_constraintdef(pg_constraint.oid)
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE relnamespace = 'public'::regnamespace AND NOT relispartition AND contype <> 'n'
  AND relname <> 'alembic_version'
UNION ALL
SELECT tablename, 'index', indexname, indexdef
FROM pg_indexes JOIN pg_class ON pg_class.oid = (quote_ident(tablename))::regclass
WHERE schemaname = 'public' AND NOT relispartition AND tablename <> 'alembic_version'
UNION ALL
SELECT relname, 'partitioned', relname, pg_get_partkeydef(oid)
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'p'
ORDER BY 1, 2, 3
"""


def schema_of(url: str) -> list[tuple[str, ...]]:
    return [tuple(row) for row in execute(url, SCHEMA)]


def revisions() -> list[str]:
    return sorted(path.name.split("_")[0] for path in VERSIONS.glob("*.py"))


def test_empty_to_head_is_what_the_code_calls_its_tables(empty, migrated):
    """Columns, constraints, indexes and their names: migrations and MetaData make one schema."""

    async def create() -> None:
        engine = create_async_engine(parse_url(empty.owner_url))
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        await engine.dispose()

    run_apart(create)

    assert schema_of(empty.owner_url) == schema_of(migrated.owner_url)


def test_down_and_up_again_gives_the_same(empty):
    """Nothing is left behind by the way down, and the way up is not only for the first time."""
    migrate(empty.owner_url)
    first = schema_of(empty.owner_url)
    down = downgrade(empty.owner_url, "base")
    left = execute(
        empty.owner_url,
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relname !~ '^alembic_version' UNION ALL"
        " SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    )
    up = migrate(empty.owner_url)

    assert (revisions()[::-1], [], revisions()) == (down, left, up)
    assert first == schema_of(empty.owner_url)


def test_each_revision_is_named_and_documented_as_the_others():
    """NNNN_{expand|contract}_slug, linear, with why, locks and yesterday's code; no models."""
    previous = None
    for path in sorted(VERSIONS.glob("*.py")):
        tree = ast.parse(path.read_text())
        said = ast.get_docstring(tree) or ""
        assigned = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and node.targets[0].id.islower()
        }
        imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}

        assert re.fullmatch(r"\d{4}_(expand|contract)_[a-z0-9_]+", path.stem)
        assert (path.stem[:4], previous) == (assigned["revision"], assigned["down_revision"])
        assert ["Why:", "Locks:", "Yesterday's code:"] == re.findall(
            r"^(Why:|Locks:|Yesterday's code:)", said, re.MULTILINE
        )
        assert not any(name.startswith("broker") for name in imported)
        previous = path.stem[:4]


def test_migrating_again_changes_nothing(migrated):
    """Every start of a deployment runs it."""
    assert [] == migrate(migrated.owner_url)


def test_of_two_that_migrate_at_once_one_works(empty):
    """Two replicas that are deployed together: both succeed, the schema is made once."""
    script = "import sys; from broker.db.migrate import migrate; print(migrate(sys.argv[1]))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, empty.owner_url], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = sorted(process.communicate()[0].strip() for process in processes)

    assert [0, 0] == [process.returncode for process in processes]
    assert sorted(["[]", str(revisions())]) == outputs


async def test_what_is_pending_is_known_to_the_broker_s_own_role(empty):
    """``broker doctor`` asks as the broker does, before and after."""
    database = Database(empty.app_url)
    try:
        before = await pending(database)
        migrate(empty.owner_url)
        after = await pending(database)
    finally:
        await database.aclose()

    assert (revisions(), []) == (before, after)


async def test_an_older_version_runs_on_a_newer_schema(fresh):
    """A roll-back deploys yesterday's code: it finds nothing to do, and does not fail."""
    execute(fresh.owner_url, "UPDATE alembic_version SET version_num = '9999'")
    database = Database(fresh.app_url)
    try:
        assert [] == await pending(database)
    finally:
        await database.aclose()
    assert [] == migrate(fresh.owner_url)


def test_whoever_migrates_the_owner_owns(empty):
    """An administrator may run it; the tables are ``broker_owner``'s all the same."""
    migrate(empty.superuser_url)
    owners = execute(
        empty.superuser_url,
        "SELECT DISTINCT tableowner::text FROM pg_tables WHERE schemaname = 'public'",
    )

    assert [("broker_owner",)] == [tuple(row) for row in owners]


@pytest.mark.parametrize("role", ["app_url", "auditor_url"])
def test_a_role_that_must_not_own_the_tables_cannot_migrate(empty, role):
    """What runs the broker could change what it recorded; the message says what to set."""
    with pytest.raises(CannotMigrate, match=r"connect as broker_owner: set database\.owner_url"):
        migrate(getattr(empty, role))

    assert [] == schema_of(empty.owner_url)


def test_missing_roles_are_named_with_the_statements_that_make_them(tmp_path):
    """A database that nobody prepared: an administrator can paste the answer."""
    with EmbeddedPostgres(tmp_path) as server:
        execute(
            server.superuser_url,
            *(f"DROP OWNED BY {role}" for role in ("broker_app", "broker_auditor")),
            *(f"DROP ROLE {role}" for role in ("broker_app", "broker_auditor")),
        )
        with pytest.raises(CannotMigrate) as caught:
            migrate(server.owner_url)

        assert "lacks broker_app and broker_auditor" in str(caught.value)
        assert "CREATE ROLE broker_app LOGIN" in str(caught.value)


def test_a_database_that_is_down_is_said_so(tmp_path):
    """Not a traceback."""
    with pytest.raises(CannotMigrate, match="cannot be reached"):
        migrate(f"postgresql://broker_owner@/broker?host={tmp_path}")


def test_it_does_not_wait_long_for_a_lock_that_traffic_holds(fresh):
    """Whatever waits for a lock makes all later statements wait: it gives up and says so."""
    day = datetime.now(UTC).date() + timedelta(days=DAYS_AHEAD)
    execute(fresh.owner_url, f"DROP TABLE audit_event_p{day:%Y%m%d}")

    async def attempt() -> None:
        reader = await asyncpg.connect(fresh.auditor_url)
        try:
            async with reader.transaction():
                await reader.fetch("SELECT * FROM audit_event")
                with pytest.raises(CannotMigrate, match="a lock was not free in time"):
                    migrate(fresh.owner_url)
        finally:
            await reader.close()

    run_apart(attempt)
    migrate(fresh.owner_url)

    assert execute(fresh.owner_url, f"SELECT to_regclass('audit_event_p{day:%Y%m%d}')")[0][0]


async def test_days_are_made_ahead_and_counted(fresh):
    """Ninety of them; a gap ends the count, for what comes after it does not help."""
    today = datetime.now(UTC).date()
    database = Database(fresh.app_url)
    try:
        full = await partition_days_left(database)
        execute(fresh.owner_url, f"DROP TABLE audit_event_p{today + timedelta(days=3):%Y%m%d}")
        gap = await partition_days_left(database)
    finally:
        await database.aclose()

    assert (DAYS_AHEAD, 2) == (full, gap)


async def test_without_a_schema_no_day_is_ready(empty):
    """Asked before the first migration it is zero, and no error."""
    database = Database(empty.app_url)
    try:
        assert 0 == await partition_days_left(database)
    finally:
        await database.aclose()


def test_a_partition_is_one_day_of_utc(fresh):
    """Whatever time zone the server or the session has."""
    execute(
        fresh.owner_url,
        "SET timezone = 'Asia/Kathmandu'",
        "SELECT audit_event_partition('2031-02-03')",
    )
    bound = execute(
        fresh.owner_url,
        "SET timezone = 'UTC'",
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class"
        " WHERE relname = 'audit_event_p20310203'",
    )

    assert "FOR VALUES FROM ('2031-02-03 00:00:00+00') TO ('2031-02-04 00:00:00+00')" == bound[0][0]


INDEXED = """
SELECT parent.relname, count(part.indexrelid) FILTER (WHERE part.indisvalid) AS parts,
       bool_and(whole.indisvalid) AS valid
FROM pg_index AS whole JOIN pg_class AS parent ON parent.oid = whole.indexrelid
LEFT JOIN pg_inherits ON inhparent = whole.indexrelid
LEFT JOIN pg_index AS part ON part.indexrelid = inhrelid
WHERE whole.indrelid = 'audit_event'::regclass
GROUP BY 1 ORDER BY 1
"""


async def write_row(url: str) -> None:
    database = Database(url)
    async with running(database) as writer:
        await writer.append(event("test"))
    await database.aclose()


def test_a_trail_with_rows_gets_its_indexes_beside_the_traffic(fresh):
    """Every partition has each of them, and what an interrupted run left is made anew."""
    expected = [tuple(row) for row in execute(fresh.owner_url, INDEXED)]
    downgrade(fresh.owner_url, "0006")
    run_apart(lambda: write_row(fresh.app_url))
    today = f"audit_event_p{datetime.now(UTC):%Y%m%d}"
    # As an index that was being made when its connection was lost.
    execute(
        fresh.superuser_url,
        f"CREATE INDEX ix_{today}_txn ON {today} (txn) WHERE txn IS NOT NULL",
        f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_{today}_txn'::regclass",
        "CREATE INDEX ix_audit_event_newest ON ONLY audit_event (at DESC, writer, seq DESC)",
    )

    migrate(fresh.owner_url)

    assert expected == [tuple(row) for row in execute(fresh.owner_url, INDEXED)]
    assert 10 == len(expected)
    assert {True} == {valid for _, _, valid in expected}


BUILDING = """
SELECT query FROM pg_stat_activity
WHERE datname = $1 AND wait_event = 'virtualxid' AND query LIKE 'CREATE INDEX CONCURRENTLY%'
  AND now() - query_start > interval '3.2 s'
"""


async def test_indexes_wait_for_whoever_reads_the_trail(fresh):
    """An export takes longer than a lock may be waited for; nothing of the traffic waits here."""
    downgrade(fresh.owner_url, "0006")
    await write_row(fresh.app_url)
    reader = await asyncpg.connect(fresh.auditor_url)
    watcher = await asyncpg.connect(fresh.superuser_url)
    reading = reader.transaction(isolation="repeatable_read")
    await reading.start()
    await reader.fetchval("SELECT count(*) FROM audit_event")
    migrating = asyncio.create_task(asyncio.to_thread(migrate, fresh.owner_url))
    while not migrating.done() and not await watcher.fetch(  # noqa: ASYNC110 — it has no event
        BUILDING, fresh.name
    ):
        await asyncio.sleep(0.05)
    await write_row(fresh.app_url)
    await reading.rollback()
    applied = await migrating
    await reader.close()
    await watcher.close()

    assert "0007" == applied[0]


def test_no_record_is_compressed_whenever_its_day_was_made(fresh):
    """Ciphertext does not get smaller, and trying costs a quarter of what a row costs."""
    execute(fresh.owner_url, "SELECT audit_event_partition('2031-01-01')")
    stored = execute(
        fresh.owner_url,
        "SELECT attrelid::regclass::text AS name, attstorage FROM pg_attribute"
        " JOIN pg_inherits ON inhrelid = attrelid"
        " WHERE inhparent = 'audit_event'::regclass AND attname = 'record'",
    )

    assert "audit_event_p20310101" in {row["name"] for row in stored}
    assert {b"e"} == {row["attstorage"] for row in stored}
