"""What detection remembers of the last days, so that a restart does not read them all anew.

Why: two weeks of a busy trail take hours to read; alerts would begin after that.

Locks: none that anybody waits for; the table is new.

Yesterday's code: does not know it.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MEMORY = """
CREATE TABLE audit_memory (
    name text NOT NULL,
    piece bigint NOT NULL,
    position bigint NOT NULL,
    format bigint NOT NULL,
    part text NOT NULL,
    content bytea NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT pk_audit_memory PRIMARY KEY (name, piece),
    CONSTRAINT ck_audit_memory_position CHECK (position >= 0)
)
"""


def upgrade() -> None:
    op.execute(MEMORY)
    op.execute("GRANT SELECT, INSERT, DELETE ON audit_memory TO broker_app")


def downgrade() -> None:
    # What is lost is read anew from the trail.
    op.execute("DROP TABLE audit_memory")
