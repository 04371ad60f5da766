"""Append-only in PostgreSQL: who can change a row that was recorded. Promises §2.3."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from broker.db.loop import run_apart
from broker.db.migrate import migrate
from tests.fixtures.postgres import execute, one_more

WRITER = UUID("01890000-0000-7000-8000-000000000001")
INSERT_EVENT = """
INSERT INTO {table} (writer, seq, at, id, kind, outcome, actor_issuers, actors, targets, scopes,
                     record, leaf)
VALUES ('{writer}', {seq}, '{at}', gen_random_uuid(), 'exchange', 'issued', '{{}}', '{{}}', '{{}}',
        '{{}}', '{{}}', sha256('a row'))
"""
INSERT_BATCH = f"""
INSERT INTO audit_batch (writer, number, first_seq, last_seq, at, root, previous, hash)
VALUES ('{WRITER}', 1, 1, 1, now(), sha256('a'), sha256('b'), sha256('c'))
"""
INSERT_SEAL = (
    "INSERT INTO audit_tree VALUES (0, gen_random_uuid(), 1, ARRAY[sha256('')])",
    "INSERT INTO audit_checkpoint VALUES (1, 0, sha256(''), now(), 'note', 0)",
    "INSERT INTO audit_cosignature VALUES (1, 'witness', 'line', now())",
)
INSERT_REVOCATION = """
INSERT INTO revocation (scope, issuer, key, not_before, reason, by, at)
VALUES ('client', '', 'checkout', now(), 'a test', 'a test', now())
"""
INSERT_ACTIVATION = """
INSERT INTO policy_activation (action, mode, revision, percent, clients, by, reason, at)
VALUES ('rollback', 'enforce', '', 0, '{}', 'a test', 'a test', now())
"""
PARTITIONS = """
SELECT inhrelid::regclass::text AS name, pg_get_expr(relpartbound, relid) AS bound
FROM pg_inherits JOIN pg_class ON oid = inhrelid CROSS JOIN LATERAL (SELECT oid AS relid) AS r
WHERE inhparent = 'audit_event'::regclass ORDER BY 1
"""
CHANGES = {
    "update": "UPDATE {table} SET {column} = {column}",
    "delete": "DELETE FROM {table}",
    "truncate": "TRUNCATE {table}",
}


def insert_event(at: object, *, seq: int = 1, table: str = "audit_event") -> str:
    return INSERT_EVENT.format(table=table, writer=WRITER, seq=seq, at=at)


def tables_of(database) -> list[str]:
    partitions = execute(database.owner_url, PARTITIONS)
    tables = ("event", "batch", "tree", "checkpoint", "cosignature")
    named = [f"audit_{name}" for name in tables]
    return [*named, "policy_activation", "revocation", *(row["name"] for row in partitions)]


@pytest.fixture(scope="module")
def trail(postgres, template):
    """A database with a batch, and a row in each partition."""
    with one_more(postgres, template.name) as made:
        statements = [
            INSERT_BATCH,
            INSERT_REVOCATION,
            INSERT_ACTIVATION,
            *INSERT_SEAL,
            insert_event("1999-12-31 00:00+00"),
        ]
        for number, row in enumerate(execute(made.owner_url, PARTITIONS), 2):
            if row["bound"] != "DEFAULT":
                statements.append(insert_event(row["bound"].split("'")[1], seq=number))
        execute(made.app_url, *statements)
        yield made


async def attempts(url: str, tables: list[str], *first: str) -> dict[tuple[str, str], str | None]:
    """Try every change on every table; return the SQLSTATE of each refusal, None if it went."""
    connection = await asyncpg.connect(url)
    outcomes: dict[tuple[str, str], str | None] = {}
    try:
        for statement in first:
            await connection.execute(statement)
        for table in tables:
            for name, change in CHANGES.items():
                transaction = connection.transaction()
                await transaction.start()
                try:
                    column = "position" if table == "audit_tree" else "at"
                    await connection.execute(change.format(table=table, column=column))
                    outcomes[table, name] = None
                except asyncpg.PostgresError as error:
                    outcomes[table, name] = error.sqlstate
                await transaction.rollback()
    finally:
        await connection.close()
    return outcomes


@pytest.mark.row("INV-8", "OP-02")
@pytest.mark.parametrize(
    ("role", "first", "sqlstate"),
    [
        pytest.param("app_url", (), "42501", id="the-broker-has-no-right"),
        pytest.param("auditor_url", (), "42501", id="an-auditor-has-no-right"),
        pytest.param("owner_url", (), "23001", id="the-owner-meets-a-trigger"),
        pytest.param("superuser_url", (), "23001", id="a-superuser-meets-it"),
        pytest.param(
            "superuser_url",
            ("SET session_replication_role = replica",),
            "23001",
            id="a-superuser-as-a-replica-meets-it-still",
        ),
    ],
)
def test_no_row_is_changed_or_removed(trail, role, first, sqlstate):
    """UPDATE, DELETE and TRUNCATE, on the parent, on each partition, and on the batches."""
    tables = tables_of(trail)
    outcomes = run_apart(lambda: attempts(getattr(trail, role), tables, *first))

    assert 90 < len(tables)
    assert dict.fromkeys(outcomes, sqlstate) == outcomes


@pytest.mark.row("INV-8")
def test_each_table_of_the_trail_has_both_triggers_always_enabled(fresh):
    """Statement triggers are not cloned to partitions: whoever makes one adds it."""
    execute(fresh.owner_url, "SELECT audit_event_partition('2031-02-03')")
    lacking = execute(
        fresh.owner_url,
        "SELECT pg_class.oid::regclass::text, wanted FROM pg_class"
        " CROSS JOIN unnest(ARRAY['audit_refuse_row_change', 'audit_refuse_truncate']) AS wanted"
        " LEFT JOIN pg_trigger ON tgrelid = pg_class.oid AND tgname = wanted AND tgenabled = 'A'"
        " WHERE relname ~ '^(audit_(event|batch|tree|checkpoint|cosignature)|revocation$)'"
        " AND relkind IN ('r', 'p')"
        " AND pg_trigger.oid IS NULL",
    )

    assert [] == lacking


@pytest.mark.row("INV-8")
def test_the_broker_has_exactly_the_rights_that_it_uses(trail):
    """Whoever takes it over can add to the trail and read it; an auditor reads, and only that."""
    rights = execute(
        trail.owner_url,
        "SELECT grantee::text, table_name::text, string_agg(privilege_type, ' ' ORDER BY"
        " privilege_type) AS rights FROM information_schema.role_table_grants"
        " WHERE table_schema = 'public' AND grantee <> 'broker_owner'"
        " GROUP BY 1, 2 ORDER BY 1, 2",
    )

    assert [
        ("broker_app", "alembic_version", "SELECT"),
        ("broker_app", "audit_access", "DELETE SELECT"),
        ("broker_app", "audit_batch", "INSERT SELECT"),
        ("broker_app", "audit_checkpoint", "INSERT SELECT"),
        ("broker_app", "audit_cosignature", "INSERT SELECT"),
        ("broker_app", "audit_cursor", "INSERT SELECT UPDATE"),
        ("broker_app", "audit_event", "INSERT SELECT"),
        ("broker_app", "audit_memory", "DELETE INSERT SELECT"),
        ("broker_app", "audit_person_key", "DELETE INSERT SELECT"),
        ("broker_app", "audit_tree", "INSERT SELECT"),
        ("broker_app", "key_generation", "INSERT SELECT UPDATE"),
        ("broker_app", "policy_activation", "INSERT SELECT"),
        ("broker_app", "policy_bundle", "DELETE INSERT SELECT"),
        ("broker_app", "policy_replica", "DELETE INSERT SELECT UPDATE"),
        ("broker_app", "reference_token", "DELETE INSERT SELECT"),
        ("broker_app", "replay_claim", "DELETE INSERT SELECT"),
        ("broker_app", "revocation", "INSERT SELECT"),
        ("broker_app", "signing_key", "INSERT SELECT UPDATE"),
        ("broker_auditor", "alembic_version", "SELECT"),
        ("broker_auditor", "audit_batch", "SELECT"),
        ("broker_auditor", "audit_checkpoint", "SELECT"),
        ("broker_auditor", "audit_cosignature", "SELECT"),
        ("broker_auditor", "audit_cursor", "SELECT"),
        ("broker_auditor", "audit_event", "SELECT"),
        ("broker_auditor", "audit_person_key", "SELECT"),
        ("broker_auditor", "audit_tree", "SELECT"),
        ("broker_auditor", "policy_activation", "SELECT"),
        ("broker_auditor", "policy_bundle", "SELECT"),
        ("broker_auditor", "policy_replica", "SELECT"),
        ("broker_auditor", "revocation", "SELECT"),
    ] == [tuple(row) for row in rights]


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("CREATE TABLE mine (n int)", id="create-a-table"),
        pytest.param("SELECT audit_event_partition('2031-02-03')", id="make-a-partition"),
        pytest.param("ALTER TABLE audit_event DISABLE TRIGGER ALL", id="disable-triggers"),
        pytest.param("DROP TABLE audit_event_default", id="drop-a-partition"),
        pytest.param(
            "ALTER TABLE audit_event DETACH PARTITION audit_event_default", id="detach-one"
        ),
        pytest.param("SET session_replication_role = replica", id="act-as-a-replica"),
        pytest.param("SET ROLE broker_owner", id="become-the-owner"),
    ],
)
def test_the_broker_cannot_get_around_it(trail, statement):
    """It owns nothing, and is a member of nobody."""
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        execute(trail.app_url, statement)


def test_a_row_of_a_day_that_nobody_prepared_is_kept(fresh):
    """The default partition is the net; its day is then left there, for nothing is moved."""
    day = datetime.now(UTC).date() + timedelta(days=7)
    execute(fresh.owner_url, f"DROP TABLE audit_event_p{day:%Y%m%d}")
    execute(fresh.app_url, insert_event(f"{day} 12:00+00"))
    migrate(fresh.owner_url)
    place = execute(fresh.auditor_url, "SELECT tableoid::regclass::text FROM audit_event")

    assert [("audit_event_default",)] == [tuple(row) for row in place]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("kind = 'other'", id="unknown-kind"),
        pytest.param("outcome = 'maybe'", id="unknown-outcome"),
        pytest.param("leaf = '\\x00'", id="leaf-of-another-length"),
        pytest.param("record = NULL", id="no-record"),
    ],
)
def test_a_row_that_could_not_be_verified_is_not_taken(trail, change):
    """Closed sets are closed in the database as well."""
    column, value = change.split(" = ")
    select = insert_event("2031-02-03 12:00+00").split("VALUES")[1]
    columns = [
        *("writer", "seq", "at", "id", "kind", "outcome", "actor_issuers", "actors"),
        *("targets", "scopes", "record", "leaf"),
    ]
    picked = ", ".join(value if name == column else f"v.{name}" for name in columns)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        execute(
            trail.app_url,
            "CREATE TEMP TABLE v AS SELECT * FROM audit_event LIMIT 0",
            f"INSERT INTO v ({', '.join(columns)}) VALUES {select}",
            f"INSERT INTO audit_event ({', '.join(columns)}) SELECT {picked} FROM v",
        )
