"""Connections to PostgreSQL: each checked for durability, each call bounded in time."""

from datetime import timedelta
from typing import Any

import asyncpg
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from broker.db.durability import DURABILITY_QUERY, assert_durable
from broker.errors import ConfigurationError

_DRIVER = "postgresql+asyncpg"
_ACCEPTED = frozenset({"postgres", "postgresql", _DRIVER})

# What a failing database looks like from here; whoever catches these answers 503.
DATABASE_ERRORS = (
    OSError,
    TimeoutError,
    SQLAlchemyError,  # around one of the following, where a statement went through the pool
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What the driver says if it is asked between the server's farewell and the end of the socket.
    asyncpg.InternalClientError,
)


def parse_url(url: str) -> URL:
    """Return ``url`` for the driver in use; ``postgresql://`` and ``sslmode`` as libpq has them.

    Raises ``ConfigurationError``; its text does not repeat the URL, which may hold a password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError("database.url: write postgresql://user@host/database") from None
    if parsed.drivername not in _ACCEPTED:
        raise ConfigurationError("database.url: only postgresql:// is supported")
    query = dict(parsed.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return parsed.set(drivername=_DRIVER, query=query)


class Database:
    """One PostgreSQL as one role.

    ``timeout`` bounds each statement, on this side and on the server's; None is for a reader
    that streams. ``connect_timeout`` bounds making a connection. With ``read_only`` the server
    refuses every statement that writes, whatever the role may do.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: timedelta | None = timedelta(seconds=5),
        connect_timeout: timedelta = timedelta(seconds=2),
        pool_size: int = 5,
        read_only: bool = False,
    ) -> None:
        self.url = parse_url(url)
        self._timeout = timeout
        self._read_only = read_only
        self._connect_timeout = connect_timeout.total_seconds()
        self.engine: AsyncEngine = create_async_engine(
            self.url,
            async_creator=self.connect,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=self._connect_timeout,
            # A pool outlives a restart of PostgreSQL; its dead connections are found before use.
            pool_pre_ping=True,
        )
        self._connections: set[asyncpg.Connection[Any]] = set()  # open, in the pool or not
        _, self._arguments = self.engine.dialect.create_connect_args(self.url)

    def __repr__(self) -> str:
        return f"Database({self.url.database!r})"

    async def connect(self, *_: object, **__: object) -> "asyncpg.Connection[Any]":
        """Return a new connection of the driver itself, outside of the pool.

        Raises ``NotDurable``, or one of ``DATABASE_ERRORS``.
        """
        settings = {"application_name": "broker", "idle_in_transaction_session_timeout": "10s"}
        seconds = None
        if self._timeout is not None:
            seconds = self._timeout.total_seconds()
            settings["statement_timeout"] = f"{int(seconds * 1000)}ms"
        if self._read_only:
            settings["default_transaction_read_only"] = "on"
        connection = await asyncpg.connect(
            **self._arguments,
            timeout=self._connect_timeout,
            command_timeout=seconds,
            server_settings=settings,
        )
        try:
            row = await connection.fetchrow(DURABILITY_QUERY, timeout=self._connect_timeout)
            assert_durable(dict(row or {}))
        except BaseException:
            connection.terminate()
            raise
        self._connections.add(connection)
        connection.add_termination_listener(self._connections.discard)
        return connection

    async def ping(self) -> None:
        """Return if the database answers; raises one of SQLAlchemy's errors if not."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def aclose(self) -> None:
        """Close every pooled connection, and end those that were made outside of the pool."""
        await self.engine.dispose()
        for connection in tuple(self._connections):
            connection.terminate()
