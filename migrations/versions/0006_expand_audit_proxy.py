"""Rows of the token proxy: what it fetched from upstreams, and how often that was used.

Why: a token that an upstream gave leaves after its row like one of ours, and what is served without
a call is counted in rows of its own.

Locks: ``audit_event`` and its partitions, ACCESS EXCLUSIVE, for as long as it takes to write the
catalogue; exchanges wait that long. The rows are looked at afterwards, under a lock that stops
nobody, and for as long as it takes: what was allowed is allowed still.

Yesterday's code: writes the kinds that it knows, and reads rows of any kind.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BEFORE = (
    "('exchange', 'introspection', 'revocation', 'refusals', 'administration', 'writer', 'alert')"
)
KINDS = (
    "('exchange', 'introspection', 'revocation', 'refusals', 'administration', 'writer', 'alert',"
    " 'proxy', 'hits')"
)


def upgrade() -> None:
    _allow(KINDS)
    # In a transaction of its own, so that the lock of the one before is gone.
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute("ALTER TABLE audit_event VALIDATE CONSTRAINT ck_audit_event_kind")
        op.execute("SET statement_timeout = '5s'")


def downgrade() -> None:
    # Not validated: rows of the newer kinds stay, for no row is ever deleted.
    _allow(BEFORE)


def _allow(kinds: str) -> None:
    op.execute(
        "ALTER TABLE audit_event DROP CONSTRAINT ck_audit_event_kind,"
        f" ADD CONSTRAINT ck_audit_event_kind CHECK (kind IN {kinds}) NOT VALID"
    )
