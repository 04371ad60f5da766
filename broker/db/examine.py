"""What can be learnt of a database by asking it: who we are there, and what we could do.

For ``broker doctor``. Nothing is changed.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

# What the broker does with each table, and what it must not be able to do.
_NEEDED: Final = {
    "audit_event": ("SELECT", "INSERT"),
    "audit_batch": ("SELECT", "INSERT"),
    "replay_claim": ("SELECT", "INSERT", "DELETE"),
    "signing_key": ("SELECT", "INSERT", "UPDATE"),
    "key_generation": ("SELECT", "INSERT", "UPDATE"),
}
_FORBIDDEN: Final = dict.fromkeys(
    ("audit_event", "audit_batch"), ("UPDATE", "DELETE", "TRUNCATE", "TRIGGER")
)
_ROLE: Final = """
SELECT current_user AS name,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_superuser,
       EXISTS (SELECT FROM pg_class
               WHERE relname = 'audit_event' AND relkind = 'p'
                 AND pg_has_role(current_user, relowner, 'USAGE')) AS is_owner
"""
_HAS: Final = "SELECT has_table_privilege(current_user, $1, $2)"


class CannotEnter(Exception):  # noqa: N818 — an answer to the operator
    """There is no connection; says why and what to do, and nothing of the password."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Server:
    """What answers there."""

    where: str
    version: int  # of PostgreSQL
    skew: timedelta  # of its clock against ours; positive: it is ahead


@dataclass(frozen=True, slots=True)
class Role:
    """Who we are there, and how our rights differ from those that the broker should have."""

    name: str
    is_superuser: bool
    is_owner: bool  # of the audit tables, or of whoever owns them
    lacking: tuple[str, ...]
    excessive: tuple[str, ...]


async def examine_server(database: Database) -> Server:
    """Return what answers, on a connection whose commits are durable. Raises ``CannotEnter``."""
    where = _where(database)
    try:
        connection = await database.connect()
    except NotDurable as error:
        raise CannotEnter(str(error), "set it in postgresql.conf, or for the role") from None
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
        raise CannotEnter(
            f"{where} refuses this role or its password", "check both in database.url"
        ) from None
    except asyncpg.InvalidCatalogNameError:
        raise CannotEnter(
            f"{where} does not exist", "create it, then run: broker migrate"
        ) from None
    except socket.gaierror:
        raise CannotEnter(
            f"{where}: the host has no address", "check the host in database.url"
        ) from None
    except DATABASE_ERRORS as error:
        raise CannotEnter(
            f"{where} does not answer ({type(error).__name__})",
            "check host and port in database.url, that PostgreSQL runs, and the firewall",
        ) from None
    try:
        before = datetime.now(UTC)
        theirs = await connection.fetchval("SELECT clock_timestamp()")
        after = datetime.now(UTC)
        version = connection.get_server_version().major
    finally:
        await connection.close()
    # It was read between the two, so it is compared with the middle.
    return Server(where, version, theirs - (before + (after - before) / 2))


async def examine_role(database: Database) -> Role:
    """Return who we are there; the schema must be this version's."""
    connection = await database.connect()
    try:
        role = dict(await connection.fetchrow(_ROLE) or {})
        return Role(
            **role,
            lacking=await _rights(connection, _NEEDED, held=False),
            excessive=await _rights(connection, _FORBIDDEN, held=True),
        )
    finally:
        await connection.close()


async def _rights(
    connection: "asyncpg.Connection[Any]", rights: Mapping[str, tuple[str, ...]], *, held: bool
) -> tuple[str, ...]:
    """Return those of the rights that are held, or those that are not."""
    return tuple(
        [
            f"{privilege} on {table}"
            for table, privileges in rights.items()
            for privilege in privileges
            if await connection.fetchval(_HAS, table, privilege) is held
        ]
    )


def _where(database: Database) -> str:
    host = database.url.host or database.url.query.get("host", "?")
    return f"{host}/{database.url.database}"
