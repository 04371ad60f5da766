"""Connections to a real PostgreSQL: each durable, each bounded, none left behind."""

from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy import text

from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from tests.fixtures.postgres import execute


@pytest.mark.row("INV-8")
async def test_a_connection_whose_commits_could_be_lost_is_not_used(fresh):
    """Asserted on every new one, so a role that was changed meanwhile is noticed."""
    database = Database(fresh.app_url)
    await database.ping()
    execute(
        fresh.superuser_url,
        f"ALTER ROLE broker_app IN DATABASE {fresh.name} SET synchronous_commit = off",
    )
    with pytest.raises(NotDurable, match="synchronous_commit=off"):
        await database.connect()
    await database.aclose()


async def test_a_statement_ends_in_its_time(clean):
    """On this side and on the server's, where it would hold its locks on."""
    database = Database(clean.app_url, timeout=timedelta(milliseconds=200))
    connection = await database.connect()
    limit = await connection.fetchval("SHOW statement_timeout")
    with pytest.raises(DATABASE_ERRORS):
        await connection.fetchval("SELECT pg_sleep(30)")
    await database.aclose()

    assert "200ms" == limit


async def test_the_pool_outlives_a_restart_of_the_database(clean):
    """A connection that was cut is found before it is used."""
    database = Database(clean.app_url)
    await database.ping()
    execute(
        clean.superuser_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    await database.ping()
    await database.aclose()


async def test_closing_ends_what_was_connected_outside_of_the_pool_too(clean):
    """The audit writer and the claims have connections of their own."""
    database = Database(clean.app_url)
    connection = await database.connect()
    async with database.engine.connect() as pooled:
        await pooled.execute(text("SELECT 1"))
    await database.aclose()

    assert connection.is_closed()


async def test_a_row_is_read_by_the_role_of_the_url(clean):
    """``?host=`` and the user are passed on to the driver as they are."""
    database = Database(clean.auditor_url)
    connection = await database.connect()
    role = await connection.fetchval("SELECT current_user")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute("DELETE FROM replay_claim")
    await database.aclose()

    assert "broker_auditor" == role
