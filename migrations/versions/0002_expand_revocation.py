"""What was revoked, and the reference tokens.

Why: a revocation must be known to every replica and outlive each of them, and an opaque token says
nothing, so what it stands for has to be stored.

Locks: none that anybody could wait for, the tables are new.

Yesterday's code: knows neither table and needs neither. It honours no revocation, so revoke after
the last replica of it is gone.

``revocation`` is append-only like the audit trail, by the same triggers. Its numbers are given by a
trigger, under a lock that is held until the transaction ends. So they follow the order of commits
and have no gap, whoever writes: a reader that asks for what came after a number misses nothing.
``NOTIFY`` wakes the readers; none relies on it.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

REVOCATION = """
CREATE TABLE revocation (
    seq bigint NOT NULL,
    scope text NOT NULL,
    issuer text NOT NULL,
    key text NOT NULL,
    not_before timestamptz,
    reason text NOT NULL,
    by text NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_revocation PRIMARY KEY (seq),
    CONSTRAINT ck_revocation_scope CHECK (
        scope IN ('subject', 'actor', 'client', 'issuer', 'kid', 'txn', 'jti', 'all')
    ),
    CONSTRAINT ck_revocation_issuer CHECK (
        (scope IN ('subject', 'actor', 'issuer', 'kid', 'jti')) = (issuer <> '')
    ),
    CONSTRAINT ck_revocation_key CHECK ((scope IN ('issuer', 'all')) = (key = '')),
    CONSTRAINT ck_revocation_not_before CHECK (
        (scope IN ('kid', 'txn', 'jti')) = (not_before IS NULL)
    ),
    CONSTRAINT ck_revocation_size CHECK (
        octet_length(issuer) <= 2048 AND octet_length(key) <= 2048
        AND octet_length(reason) <= 1024 AND octet_length(by) <= 1024
    )
)
"""

REFERENCES = """
CREATE TABLE reference_token (
    hash bytea NOT NULL,
    jti uuid NOT NULL,
    claims text NOT NULL,
    kid text NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT pk_reference_token PRIMARY KEY (hash),
    CONSTRAINT ck_reference_token_hash CHECK (octet_length(hash) = 32)
)
"""

INDEX = "CREATE INDEX ix_reference_token_expires_at ON reference_token (expires_at)"

# The lock comes first, and the next statement sees what its last holder committed. Whoever reads at
# an older snapshot (REPEATABLE READ) finds the number taken and fails, which is safe.
NUMBER = """
CREATE FUNCTION revocation_number() RETURNS trigger
LANGUAGE plpgsql SECURITY INVOKER SET search_path = public, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('broker.revocation', 0));
    SELECT coalesce(max(seq), 0) + 1 INTO NEW.seq FROM revocation;
    PERFORM pg_notify('revocation', '');
    RETURN NEW;
END
$$
"""

TRIGGER = """
CREATE TRIGGER revocation_number BEFORE INSERT ON revocation
FOR EACH ROW EXECUTE FUNCTION revocation_number()
"""

GRANTS = (
    "GRANT SELECT, INSERT ON revocation TO broker_app",
    "GRANT SELECT, INSERT, DELETE ON reference_token TO broker_app",
    "GRANT SELECT ON revocation TO broker_auditor",
)


def upgrade() -> None:
    for statement in (REVOCATION, REFERENCES, INDEX, NUMBER, TRIGGER, *GRANTS):
        op.execute(statement)
    op.execute("SELECT audit_protect('revocation')")


def downgrade() -> None:
    # Every revocation goes with it: what was revoked and has not expired is accepted again.
    for table in ("reference_token", "revocation"):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION revocation_number()")
