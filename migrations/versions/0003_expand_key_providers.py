"""Signing keys that are kept elsewhere: the row says by whom, and where.

Why: a private key on a PKCS#11 token never leaves it, so the row has a reference and no key.

Locks: ACCESS EXCLUSIVE on ``signing_key`` for the time it takes to add two columns to a table of a
few rows, whose defaults are constants.

Yesterday's code: writes no ``provider`` and so gets ``postgresql``, which is what it makes. A key
on a token has empty ciphertexts there, which do not open: it logs that and goes on with others.
Configure ``keys.provider: pkcs11`` after the last replica of it is gone.
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "ALTER TABLE signing_key"
        " ADD COLUMN provider text NOT NULL DEFAULT 'postgresql',"
        " ADD COLUMN reference text,"
        " ADD CONSTRAINT ck_signing_key_provider CHECK (provider IN ('postgresql', 'pkcs11'))"
    )


def downgrade() -> None:
    # Keys on a token stay there; without their references nobody here finds them again.
    op.execute("DELETE FROM signing_key WHERE provider <> 'postgresql'")
    op.execute("ALTER TABLE signing_key DROP COLUMN reference, DROP COLUMN provider")
