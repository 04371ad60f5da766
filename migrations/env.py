"""How a migration runs: one at a time, and never waiting long for a lock that traffic holds.

``broker.db.migrate`` hands the connection over; there is no other way in, so that nothing is
migrated without the lock.
"""

import time

from alembic import context
from alembic.runtime.migration import MigrationInfo
from sqlalchemy import Connection, text

# Held by this session until it ends: of two that migrate at once, the second finds nothing to do.
_LOCK = 0x6D696772  # "migr"
_PATIENCE = 60  # seconds

connection: Connection = context.config.attributes["connection"]
applied: list[str] = context.config.attributes["applied"]


def note(*, step: MigrationInfo, **_: object) -> None:
    """Note each revision as it is applied, or undone."""
    applied.append(step.up_revision_id)


def lock() -> bool:
    """Whether nobody else migrates, now that we do."""
    with connection.begin():
        taken = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK})
        return bool(taken.scalar_one())


# Asked again and again, each time in a transaction of its own: whoever waited in one would hold up
# an index that is made beside the traffic, which waits for every older transaction to end.
began = time.monotonic()
while not lock():
    # Whoever migrates before us may take its time, and then we still wait no longer than this.
    if time.monotonic() - began > _PATIENCE:
        raise TimeoutError("another one migrates")
    time.sleep(0.05)
with connection.begin():
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
