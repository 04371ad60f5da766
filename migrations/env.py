"""How a migration runs: one at a time, and never waiting long for a lock that traffic holds.

``broker.db.migrate`` hands the connection over; there is no other way in, so that nothing is
migrated without the lock.
"""

from alembic import context
from alembic.runtime.migration import MigrationInfo
from sqlalchemy import Connection, text

# Held by this session until it ends: of two that migrate at once, the second finds nothing to do.
_ADVISORY_LOCK = 0x6D696772  # "migr"

connection: Connection = context.config.attributes["connection"]
applied: list[str] = context.config.attributes["applied"]


def note(*, step: MigrationInfo, **_: object) -> None:
    """Note each revision as it is applied, or undone."""
    applied.append(step.up_revision_id)


with connection.begin():
    # Whoever migrates before us may take its time, and then we still wait no longer than this.
    connection.execute(text("SET lock_timeout = '60s'"))
    connection.execute(text("SET statement_timeout = '60s'"))
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
    # A statement that waits for a lock makes all later ones of the broker wait behind it: give up
    # soon and let somebody try again. A migration that needs longer says so itself, and why.
    connection.execute(text("SET lock_timeout = '3s'"))
    connection.execute(text("SET statement_timeout = '5s'"))

context.configure(
    connection=connection,
    transaction_per_migration=True,
    on_version_apply=note,
)
with context.begin_transaction():
    context.run_migrations()
