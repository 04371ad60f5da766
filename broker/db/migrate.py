"""Bringing a database to this version's schema, and making the audit trail's days ahead of time."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

import broker
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.loop import run_apart
from broker.errors import ConfigurationError

_log = logging.getLogger(__name__)

DAYS_AHEAD: Final = 90
_OWNER: Final = "broker_owner"
_ROLES: Final = {
    _OWNER: "migrates and owns the tables",
    "broker_app": "runs the broker",
    "broker_auditor": "reads the audit trail",
}


class CannotMigrate(ConfigurationError):  # noqa: N818 — an answer to the operator
    """Nothing half done is left; ``str()`` says what to mend."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far a database is from what this version needs."""

    pending: list[str]  # revisions, the next one first
    days_left: int  # after today, for which a partition of the audit trail stands ready


def migrate(url: str) -> list[str]:
    """Bring the database to this version's schema; return the revisions that were applied.

    Also makes the audit trail's daily partitions for the next 90 days. Of several that run at
    once, one works and the others wait for it. Blocks. Raises ``CannotMigrate``.
    """
    return run_apart(lambda: _run(url, "head"))


def downgrade(url: str, revision: str) -> list[str]:
    """Go back to that revision, or to ``base``, and lose what came after; return what was undone.

    Blocks. Raises ``CannotMigrate``.
    """
    return run_apart(lambda: _run(url, revision, down=True))


def survey(url: str) -> Readiness:
    """Return how far the database is, and change nothing. Blocks. Raises ``CannotMigrate``."""

    async def look() -> Readiness:
        database = Database(url, pool_size=1)
        try:
            return Readiness(await pending(database), await partition_days_left(database))
        except (NotDurable, *DATABASE_ERRORS) as error:
            raise CannotMigrate(_explain(error)) from error
        finally:
            await database.aclose()

    return run_apart(look)


async def pending(database: Database) -> list[str]:
    """Return the revisions that are not applied, the next one first.

    None if the database is ahead of this version: what a newer one has added is not ours to miss.
    """
    async with database.engine.connect() as connection:
        current = await _current(connection)
    if _is_ahead(current):
        return []
    revisions = list(_script().iterate_revisions("head", current or "base"))
    return [revision.revision for revision in reversed(revisions)]


async def partition_days_left(database: Database) -> int:
    """Return for how many days after today a partition stands ready, without a gap."""
    async with database.engine.connect() as connection:
        today, days = await _partitions(connection)
    left = 0
    while today + timedelta(days=left + 1) in days:
        left += 1
    return left


async def _run(url: str, revision: str, *, down: bool = False) -> list[str]:
    # The limits on time are set in env.py, where a migration can raise them.
    database = Database(url, timeout=None, pool_size=1)
    try:
        async with database.engine.connect() as connection:
            await _become_owner(connection)
            applied: list[str] = []
            if _is_ahead(await _current(connection)):
                # An older version is deployed again on the newer schema, made to carry it.
                _log.warning("the database is ahead of this version; nothing was migrated")
            else:
                await connection.run_sync(_walk, revision, applied, down)
            if not down:
                await _make_partitions(connection)
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotMigrate(_explain(error)) from error
    finally:
        await database.aclose()
    return applied


def _walk(connection: Connection, revision: str, applied: list[str], down: bool) -> None:  # noqa: FBT001 — run_sync passes positions
    config = _config({"connection": connection, "applied": applied})
    (command.downgrade if down else command.upgrade)(config, revision)


async def _become_owner(connection: AsyncConnection) -> None:
    """Make everything that follows belong to ``broker_owner``, whoever was let in."""
    query = text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:names)")
    found = {row.rolname for row in await connection.execute(query, {"names": list(_ROLES)})}
    missing = [name for name in _ROLES if name not in found]
    if missing:
        statements = "\n".join(
            f"    CREATE ROLE {name} LOGIN PASSWORD '…'; -- {_ROLES[name]}" for name in missing
        )
        raise CannotMigrate(
            f"database: this PostgreSQL lacks {' and '.join(missing)};"
            f" an administrator creates them with:\n{statements}\n"
            f"    ALTER DATABASE {connection.engine.url.database} OWNER TO {_OWNER};\n"
            f"    ALTER SCHEMA public OWNER TO {_OWNER};"
        )
    member = text("SELECT current_user AS name, pg_has_role(current_user, :owner, 'MEMBER') AS may")
    row = (await connection.execute(member, {"owner": _OWNER})).one()
    # The role that runs the broker must not own what it records.
    if not row.may:
        raise CannotMigrate(
            f"database: {row.name} may not change the schema; connect as {_OWNER}:"
            " set database.owner_url"
        )
    await connection.execute(text(f"SET ROLE {_OWNER}"))
    await connection.commit()


async def _current(connection: AsyncConnection) -> str | None:
    table = await connection.execute(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
    version = None
    if table.scalar_one():
        rows = await connection.execute(text("SELECT version_num FROM alembic_version"))
        version = rows.scalar_one_or_none()
    await connection.commit()
    return version


async def _make_partitions(connection: AsyncConnection) -> None:
    today, days = await _partitions(connection)
    # Yesterday's too: a row is written up to a second after its time, and clocks differ.
    wanted = [today + timedelta(days=number) for number in range(-1, DAYS_AHEAD + 1)]
    make = text("SELECT audit_event_partition(:day)")
    for day in wanted:
        if day in days:
            continue
        made = (await connection.execute(make, {"day": day})).scalar_one()
        # One commit for each: a lock on the default partition must not outlive a day's making.
        await connection.commit()
        if not made:
            _log.warning(
                "rows of a day are in the default partition, and stay there",
                extra={"day": day.isoformat()},
            )


async def _partitions(connection: AsyncConnection) -> tuple[date, set[date]]:
    """Return today, as the database has it in UTC, and the days that have a partition."""
    query = text(
        "SELECT (now() AT TIME ZONE 'UTC')::date AS today, array("
        "  SELECT to_date(substring(relname FROM '^audit_event_p(\\d{8})$'), 'YYYYMMDD')"
        "  FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        "  WHERE inhparent = to_regclass('audit_event') AND relname ~ '^audit_event_p\\d{8}$'"
        ") AS days"
    )
    row = (await connection.execute(query)).one()
    await connection.commit()
    return row.today, set(row.days)


def _explain(error: BaseException) -> str:
    cause = getattr(error, "orig", None) or error
    cause = cause.__cause__ or cause
    match cause:
        case asyncpg.LockNotAvailableError() | asyncpg.QueryCanceledError():
            said = (
                "a lock was not free in time: another one migrates, or traffic is heavy; try again"
            )
        case asyncpg.InsufficientPrivilegeError():
            said = f"PostgreSQL refuses it ({cause}): {_OWNER} must own the database and its schema"
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            said = "PostgreSQL does not accept this role or its password"
        case NotDurable():
            said = str(cause)
        case TimeoutError() if str(cause) == "another one migrates":
            said = "another one migrates, and has for a minute; try again"
        case OSError() | TimeoutError():
            said = f"PostgreSQL cannot be reached: {cause or 'no answer in time'}"
        case _:
            said = f"PostgreSQL refused it: {cause}"
    return f"database: {said}"


def _is_ahead(current: str | None) -> bool:
    known = {revision.revision for revision in _script().walk_revisions()}
    return current is not None and current not in known


def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _config(attributes: Mapping[str, Any] | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    config.attributes.update(attributes or {})
    return config


def _folder() -> Path:
    """Return where the migrations are: in the wheel, or beside the package in a checkout."""
    package = Path(broker.__file__).parent
    candidates: Sequence[Path] = (package / "_migrations", package.parent / "migrations")
    return next(folder for folder in candidates if (folder / "env.py").exists())
