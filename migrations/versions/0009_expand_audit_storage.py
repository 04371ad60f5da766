"""Records are stored as they are: nothing tries to compress what is encrypted.

Why: the record of an exchange is 3.4 KB, most of it ciphertext. PostgreSQL tried to compress each,
in vain: a quarter of the processor time that it takes to write a row.

Locks: ``audit_event`` and its partitions, ACCESS EXCLUSIVE, for as long as it takes to write the
catalogue; exchanges wait that long. Rows that are there stay as they are.

Yesterday's code: writes and reads as before.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Partitions have it of their parent, also those that are made later.
    op.execute("ALTER TABLE audit_event ALTER COLUMN record SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.execute("ALTER TABLE audit_event ALTER COLUMN record SET STORAGE EXTENDED")
