"""Which policy is in force, which is tried beside it, and the bundles of both.

Why: every process has to follow one decision on that, also after a restart, and a way back must
not need the network that the bundle came over.

Locks: none that anybody waits for; the tables are new.

Yesterday's code: knows none of them and decides by ``policy.path``; activate after the last
replica of it is gone.

``policy_activation`` is append-only like the audit trail, by the same triggers, and numbered like
``revocation``: under a lock that is held until the transaction ends. ``NOTIFY`` wakes the readers;
none relies on it. A bundle is written once and deleted when nothing goes back to it any more.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BUNDLE = """
CREATE TABLE policy_bundle (
    revision text NOT NULL,
    archive bytea NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_policy_bundle PRIMARY KEY (revision),
    CONSTRAINT ck_policy_bundle_revision CHECK (revision ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_policy_bundle_archive CHECK (octet_length(archive) <= 33554432)
)
"""

ACTIVATION = """
CREATE TABLE policy_activation (
    seq bigint NOT NULL,
    action text NOT NULL,
    mode text NOT NULL,
    revision text NOT NULL,
    percent bigint NOT NULL,
    clients text[] NOT NULL,
    by text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_policy_activation PRIMARY KEY (seq),
    CONSTRAINT ck_policy_activation_action CHECK (action IN ('activate', 'rollback')),
    CONSTRAINT ck_policy_activation_mode CHECK (mode IN ('enforce', 'observe', 'canary')),
    CONSTRAINT ck_policy_activation_revision CHECK (
        revision ~ '^[0-9a-f]{64}$' OR (revision = '' AND action = 'rollback')
    ),
    CONSTRAINT ck_policy_activation_percent CHECK (percent BETWEEN 0 AND 100),
    CONSTRAINT ck_policy_activation_clients CHECK (cardinality(clients) <= 1000),
    CONSTRAINT ck_policy_activation_canary CHECK (
        (mode = 'canary') = (percent > 0 OR cardinality(clients) > 0)
    ),
    CONSTRAINT ck_policy_activation_size CHECK (
        octet_length(by) <= 1024 AND octet_length(reason) <= 1024
    )
)
"""

REPLICA = """
CREATE TABLE policy_replica (
    writer uuid NOT NULL,
    place text NOT NULL,
    seq bigint NOT NULL,
    revision text NOT NULL,
    candidate text NOT NULL,
    mode text NOT NULL,
    fault text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_policy_replica PRIMARY KEY (writer),
    CONSTRAINT ck_policy_replica_size CHECK (
        octet_length(place) <= 1024 AND octet_length(fault) <= 4096
    )
)
"""

# See ``revocation_number`` of 0002.
NUMBER = """
CREATE FUNCTION policy_activation_number() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('broker.policy_activation', 0));
    SELECT coalesce(max(seq), 0) + 1 INTO NEW.seq FROM policy_activation;
    PERFORM pg_notify('policy_activation', '');
    RETURN NEW;
END
$$
"""

TRIGGER = """
CREATE TRIGGER policy_activation_number BEFORE INSERT ON policy_activation
FOR EACH ROW EXECUTE FUNCTION policy_activation_number()
"""

GRANTS = (
    "GRANT SELECT, INSERT ON policy_activation TO broker_app",
    "GRANT SELECT, INSERT, DELETE ON policy_bundle TO broker_app",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON policy_replica TO broker_app",
    "GRANT SELECT ON policy_activation, policy_bundle, policy_replica TO broker_auditor",
)


def upgrade() -> None:
    for statement in (BUNDLE, ACTIVATION, REPLICA, NUMBER, TRIGGER, *GRANTS):
        op.execute(statement)
    op.execute("SELECT audit_protect('policy_activation')")


def downgrade() -> None:
    # What was activated goes with it: ``policy.path`` decides again.
    for table in ("policy_replica", "policy_activation", "policy_bundle"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION policy_activation_number()")
