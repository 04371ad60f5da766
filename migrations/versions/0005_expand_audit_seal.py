"""The sealed log over the batches, the keys of persons, and what auditors did.

Why: batches of all writers stand in one RFC 6962 tree whose heads are signed and leave the
database; what identifies a person is encrypted under a key that can be destroyed; who reads the
trail is on record; whoever follows the trail goes on where it stopped.

Locks: ``audit_batch`` for as long as it takes to write the catalogue (its new column has no value
in rows of before), and ``audit_event`` likewise for the new kind. The index on ``tx`` is made
beside the traffic.

Yesterday's code: writes batches with the default of ``tx``, and records of version 1; both are
sealed and verified like any other.

``audit_tree`` and ``audit_checkpoint`` are append-only like the trail, by the same triggers. Their
unique constraints are the compare-and-set of the sealer: of two that seal on one head, one fails.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BEFORE = "('exchange', 'introspection', 'revocation', 'refusals', 'administration', 'writer')"
KINDS = (
    "('exchange', 'introspection', 'revocation', 'refusals', 'administration', 'writer', 'alert')"
)

TREE = """
CREATE TABLE audit_tree (
    position bigint NOT NULL,
    writer uuid NOT NULL,
    number bigint NOT NULL,
    hashes bytea[] NOT NULL,
    CONSTRAINT pk_audit_tree PRIMARY KEY (position),
    CONSTRAINT uq_audit_tree_writer UNIQUE (writer, number),
    CONSTRAINT ck_audit_tree_position CHECK (position >= 0),
    CONSTRAINT ck_audit_tree_hashes CHECK (cardinality(hashes) >= 1)
)
"""

CHECKPOINT = """
CREATE TABLE audit_checkpoint (
    size bigint NOT NULL,
    previous bigint NOT NULL,
    root bytea NOT NULL,
    at timestamptz NOT NULL,
    note text NOT NULL,
    horizon bigint NOT NULL,
    CONSTRAINT pk_audit_checkpoint PRIMARY KEY (size),
    CONSTRAINT uq_audit_checkpoint_previous UNIQUE (previous),
    CONSTRAINT ck_audit_checkpoint_size CHECK (previous >= 0 AND size > previous),
    CONSTRAINT ck_audit_checkpoint_root CHECK (octet_length(root) = 32)
)
"""

COSIGNATURE = """
CREATE TABLE audit_cosignature (
    size bigint NOT NULL,
    name text NOT NULL,
    line text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_audit_cosignature PRIMARY KEY (size, name),
    CONSTRAINT ck_audit_cosignature_line CHECK (octet_length(line) <= 8192)
)
"""

CURSOR = """
CREATE TABLE audit_cursor (
    name text NOT NULL,
    position bigint NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_audit_cursor PRIMARY KEY (name),
    CONSTRAINT ck_audit_cursor_position CHECK (position >= 0)
)
"""

PERSON_KEY = """
CREATE TABLE audit_person_key (
    id bytea NOT NULL,
    issuer text NOT NULL,
    person text NOT NULL,
    wrapped bytea NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_audit_person_key PRIMARY KEY (id),
    CONSTRAINT ck_audit_person_key_id CHECK (octet_length(id) = 16)
)
"""

ACCESS = """
CREATE TABLE audit_access (
    id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    role text NOT NULL DEFAULT SESSION_USER,
    by text NOT NULL,
    action text NOT NULL,
    details text NOT NULL,
    CONSTRAINT pk_audit_access PRIMARY KEY (id),
    CONSTRAINT ck_audit_access_action CHECK (action ~ '^audit[.][a-z-]{1,32}$'),
    CONSTRAINT ck_audit_access_size
        CHECK (octet_length(by) <= 1024 AND octet_length(details) <= 16384)
)
"""

GRANTS = (
    "GRANT SELECT, INSERT ON audit_tree, audit_checkpoint, audit_cosignature TO broker_app",
    "GRANT SELECT ON audit_tree, audit_checkpoint, audit_cosignature TO broker_auditor",
    "GRANT SELECT, INSERT, UPDATE ON audit_cursor TO broker_app",
    "GRANT SELECT ON audit_cursor TO broker_auditor",
    "GRANT SELECT, INSERT, DELETE ON audit_person_key TO broker_app",
    "GRANT SELECT ON audit_person_key TO broker_auditor",
    # Who and when are the database's to say.
    "GRANT INSERT (id, by, action, details) ON audit_access TO broker_app, broker_auditor",
    "GRANT SELECT, DELETE ON audit_access TO broker_app",
)

TABLES = (
    "audit_access",
    "audit_person_key",
    "audit_cursor",
    "audit_cosignature",
    "audit_checkpoint",
    "audit_tree",
)


def upgrade() -> None:
    for statement in (TREE, CHECKPOINT, COSIGNATURE, CURSOR, PERSON_KEY, ACCESS):
        op.execute(statement)
    op.execute("CREATE INDEX ix_audit_person_key_person ON audit_person_key (person)")
    for statement in GRANTS:
        op.execute(statement)
    for table in ("audit_tree", "audit_checkpoint", "audit_cosignature"):
        op.execute(f"SELECT audit_protect('{table}')")
    # In two steps: a default that is given with the column would rewrite every row of before.
    op.execute("ALTER TABLE audit_batch ADD COLUMN tx bigint")
    op.execute(
        "ALTER TABLE audit_batch ALTER COLUMN tx SET DEFAULT ((pg_current_xact_id())::text)::bigint"
    )
    _allow(KINDS)
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("ALTER TABLE audit_event VALIDATE CONSTRAINT ck_audit_event_kind")
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_audit_batch_tx ON audit_batch (tx)")
        op.execute("SET statement_timeout = '5s'")


def downgrade() -> None:
    # Checkpoints that left the database stay where they are; the tree can be made again, in
    # another order, so they will not fit it. Keys of persons go, and what they opened with them.
    op.execute("DROP INDEX ix_audit_batch_tx")
    op.execute("ALTER TABLE audit_batch DROP COLUMN tx")
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
    _allow(BEFORE)


def _allow(kinds: str) -> None:
    op.execute(
        "ALTER TABLE audit_event DROP CONSTRAINT ck_audit_event_kind,"
        f" ADD CONSTRAINT ck_audit_event_kind CHECK (kind IN {kinds}) NOT VALID"
    )
