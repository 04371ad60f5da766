"""Indexes that questions about the trail go by: newest first, by parties, by transaction.

Why: a search of ten million rows reads pages of an index, and not every partition of 40 days.

Locks: an empty trail is given them in one transaction. In any other, the parent has its own without
rows for an instant (SHARE: writers wait), then each partition has it made beside the traffic, and
attached. Interrupted, it is run again and goes on: what was left unfinished is made anew.

Yesterday's code: writes and reads as before.
"""

from alembic import op
from sqlalchemy import text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_audit_event_newest": "(at DESC, writer, seq DESC)",
    "ix_audit_event_subject": "(subject, at DESC) WHERE subject IS NOT NULL",
    "ix_audit_event_client": "(client, at DESC) WHERE client IS NOT NULL",
    "ix_audit_event_txn": "(txn) WHERE txn IS NOT NULL",
    "ix_audit_event_parent": "(parent) WHERE parent IS NOT NULL",
    "ix_audit_event_parties": "USING gin (actors, targets)",
    "ix_audit_event_unissued": "(outcome, at DESC) WHERE outcome <> 'issued'",
}
PARTITIONS = """
SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = 'audit_event'::regclass ORDER BY 1
"""
# Partitions that have theirs, because it was attached or because they were made after it.
DONE = """
SELECT part.relname FROM pg_inherits
JOIN pg_index ON indexrelid = inhrelid JOIN pg_class AS part ON part.oid = indrelid
WHERE inhparent = to_regclass(:index) AND indisvalid
"""
UNFINISHED = """
SELECT indexrelid::regclass::text FROM pg_index
WHERE indexrelid = to_regclass(:index) AND NOT indisvalid
"""


def upgrade() -> None:
    connection = op.get_bind()
    if not connection.execute(text("SELECT EXISTS (SELECT FROM audit_event)")).scalar_one():
        for index, what in INDEXES.items():
            op.execute(f"CREATE INDEX {index} ON audit_event {what}")
        return
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        for index, what in INDEXES.items():
            op.execute(f"CREATE INDEX IF NOT EXISTS {index} ON ONLY audit_event {what}")
            _make_each(index, what)
        op.execute("SET statement_timeout = '5s'")


def _make_each(index: str, what: str) -> None:
    connection = op.get_bind()
    done = set(connection.execute(text(DONE), {"index": index}).scalars())
    for partition in connection.execute(text(PARTITIONS)).scalars().all():
        if partition in done:
            continue
        part = index.replace("ix_audit_event", f"ix_{partition}")
        if connection.execute(text(UNFINISHED), {"index": part}).first() is not None:
            op.execute(f"DROP INDEX CONCURRENTLY {part}")
        # It waits for whoever reads the trail since before, which may be for an export; nothing of
        # the traffic waits behind it.
        op.execute("SET lock_timeout = '15min'")
        op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {part} ON {partition} {what}")
        op.execute("SET lock_timeout = '3s'")
        op.execute(f"ALTER INDEX {index} ATTACH PARTITION {part}")


def downgrade() -> None:
    for index in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {index}")
