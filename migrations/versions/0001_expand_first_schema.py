"""The first schema: the audit trail, claimed ids, signing keys, and who may do what with them.

Why: everything that processes share stands here (docs: decisions 0004 and 0005).

Locks: none that anybody could wait for, the tables are new.

Yesterday's code: there is none.

The audit trail is append-only three times over. ``broker_app`` has no right to change a row.
Triggers refuse it for everybody else, and are ``ENABLE ALWAYS``, because a superuser who says
``session_replication_role = replica`` passes the others. PostgreSQL clones row triggers to
partitions and statement triggers not, so each partition gets its own against TRUNCATE: partitions
are made only by ``audit_event_partition``.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

AUDIT_EVENT = """
CREATE TABLE audit_event (
    writer uuid NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    outcome text NOT NULL,
    reason text,
    request_id text,
    client text,
    subject_issuer text,
    subject text,
    actor_issuers text[] NOT NULL,
    actors text[] NOT NULL,
    targets text[] NOT NULL,
    scopes text[] NOT NULL,
    txn text,
    parent text,
    kid text,
    policy_revision text,
    action text,
    record text NOT NULL,
    leaf bytea NOT NULL,
    CONSTRAINT pk_audit_event PRIMARY KEY (writer, seq, at),
    CONSTRAINT ck_audit_event_kind
        CHECK (kind IN ('exchange', 'refusals', 'administration', 'writer')),
    CONSTRAINT ck_audit_event_outcome CHECK (outcome IN ('issued', 'refused', 'done')),
    CONSTRAINT ck_audit_event_leaf CHECK (octet_length(leaf) = 32)
) PARTITION BY RANGE (at)
"""

AUDIT_BATCH = """
CREATE TABLE audit_batch (
    writer uuid NOT NULL,
    number bigint NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    at timestamptz NOT NULL,
    root bytea NOT NULL,
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT pk_audit_batch PRIMARY KEY (writer, number),
    CONSTRAINT ck_audit_batch_range
        CHECK (number >= 1 AND first_seq >= 1 AND last_seq >= first_seq),
    CONSTRAINT ck_audit_batch_digests CHECK (
        octet_length(root) = 32 AND octet_length(previous) = 32 AND octet_length(hash) = 32
    )
)
"""

REPLAY_CLAIM = """
CREATE TABLE replay_claim (
    key bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT pk_replay_claim PRIMARY KEY (key),
    CONSTRAINT ck_replay_claim_key CHECK (octet_length(key) = 32)
)
"""

SIGNING_KEY = """
CREATE TABLE signing_key (
    kid text NOT NULL,
    algorithm text NOT NULL,
    state text NOT NULL,
    generation bigint NOT NULL,
    public_jwk jsonb NOT NULL,
    wrapped_key bytea NOT NULL,
    wrapped_dek bytea NOT NULL,
    created_at timestamptz NOT NULL,
    activated_at timestamptz,
    retiring_at timestamptz,
    retired_at timestamptz,
    CONSTRAINT pk_signing_key PRIMARY KEY (kid),
    CONSTRAINT ck_signing_key_state
        CHECK (state IN ('prepared', 'active', 'retiring', 'retired'))
)
"""

KEY_GENERATION = """
CREATE TABLE key_generation (
    algorithm text NOT NULL,
    generation bigint NOT NULL,
    CONSTRAINT pk_key_generation PRIMARY KEY (algorithm)
)
"""

INDEXES = (
    "CREATE INDEX ix_audit_event_id ON audit_event (id)",
    "CREATE INDEX ix_audit_event_at ON audit_event USING brin (at)",
    "CREATE INDEX ix_replay_claim_expires_at ON replay_claim (expires_at)",
    "CREATE UNIQUE INDEX uq_signing_key_active ON signing_key (algorithm) WHERE state = 'active'",
)

REFUSE_CHANGE = """
CREATE FUNCTION audit_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the audit trail is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$
"""

# The one maker of partitions. SECURITY INVOKER: only the owner of the table gets anywhere with it.
# Days are UTC's. A day whose rows are in the default partition already stays there: moving them
# would be the change that nobody may make.
PARTITION = """
CREATE FUNCTION audit_event_partition(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY INVOKER SET search_path = public, pg_temp
AS $$
DECLARE
    partition text := 'audit_event_p' || to_char(day, 'YYYYMMDD');
BEGIN
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format(
        'CREATE TABLE %I PARTITION OF audit_event FOR VALUES FROM (%L) TO (%L)',
        partition, day::text || ' 00:00:00+00', (day + 1)::text || ' 00:00:00+00'
    );
    PERFORM audit_protect(partition);
    RETURN true;
EXCEPTION WHEN check_violation THEN
    RETURN false;
END
$$
"""

# Row triggers come with being a partition; how they are enabled is said again all the same.
PROTECT = """
CREATE FUNCTION audit_protect(name text) RETURNS void
LANGUAGE plpgsql SECURITY INVOKER SET search_path = public, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_trigger
        WHERE tgrelid = name::regclass AND tgname = 'audit_refuse_row_change'
    ) THEN
        EXECUTE format(
            'CREATE TRIGGER audit_refuse_row_change BEFORE UPDATE OR DELETE ON %I'
            ' FOR EACH ROW EXECUTE FUNCTION audit_refuse_change()', name
        );
    END IF;
    EXECUTE format(
        'CREATE TRIGGER audit_refuse_truncate BEFORE TRUNCATE ON %I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()', name
    );
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER audit_refuse_row_change', name);
    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER audit_refuse_truncate', name);
END
$$
"""

GRANTS = (
    "GRANT SELECT, INSERT ON audit_event, audit_batch TO broker_app",
    "GRANT SELECT, INSERT, DELETE ON replay_claim TO broker_app",
    "GRANT SELECT, INSERT, UPDATE ON signing_key, key_generation TO broker_app",
    "GRANT SELECT ON alembic_version TO broker_app, broker_auditor",
    "GRANT SELECT ON audit_event, audit_batch TO broker_auditor",
    "REVOKE EXECUTE ON FUNCTION audit_event_partition(date), audit_protect(text) FROM PUBLIC",
)


def upgrade() -> None:
    for statement in (AUDIT_EVENT, AUDIT_BATCH, REPLAY_CLAIM, SIGNING_KEY, KEY_GENERATION):
        op.execute(statement)
    for statement in INDEXES:
        op.execute(statement)
    for statement in (REFUSE_CHANGE, PROTECT, PARTITION):
        op.execute(statement)
    op.execute("SELECT audit_protect('audit_event')")
    op.execute("SELECT audit_protect('audit_batch')")
    # The net under the daily ones: a row of a day that nobody prepared is kept, and is as safe.
    op.execute("CREATE TABLE audit_event_default PARTITION OF audit_event DEFAULT")
    op.execute("SELECT audit_protect('audit_event_default')")
    for statement in GRANTS:
        op.execute(statement)


def downgrade() -> None:
    # Everything that was recorded goes with it; that is what going back to nothing means.
    for table in ("key_generation", "signing_key", "replay_claim", "audit_batch", "audit_event"):
        op.execute(f"DROP TABLE {table}")
    for function in ("audit_event_partition(date)", "audit_protect(text)", "audit_refuse_change()"):
        op.execute(f"DROP FUNCTION {function}")
