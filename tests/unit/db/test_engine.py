"""Where the database is: URLs as libpq has them, and nothing of them in a message."""

import pytest

from broker.db.engine import Database, parse_url
from broker.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "query"),
    [
        pytest.param("postgres://app@db/broker", {}, id="postgres"),
        pytest.param("postgresql://app@db/broker", {}, id="postgresql"),
        pytest.param("postgresql+asyncpg://app@db/broker", {}, id="with-its-driver"),
        pytest.param("postgresql://app@db/broker?sslmode=require", {"ssl": "require"}, id="tls"),
        pytest.param("postgresql://app@/broker?host=/run/pg", {"host": "/run/pg"}, id="socket"),
        pytest.param(
            "postgresql://app@db/broker?passfile=/run/secrets/pgpass",
            {"passfile": "/run/secrets/pgpass"},
            id="passfile",
        ),
    ],
)
def test_urls_are_written_as_for_libpq(url, query):
    """One driver serves them all."""
    parsed = parse_url(url)

    assert ("postgresql+asyncpg", "app", "broker", query) == (
        parsed.drivername,
        parsed.username,
        parsed.database,
        dict(parsed.query),
    )


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("mysql://app:hunter2@db/broker", id="mysql"),
        pytest.param("sqlite:///hunter2.db", id="sqlite"),
        pytest.param("hunter2", id="no-url"),
        pytest.param("", id="empty"),
    ],
)
def test_another_database_is_refused_without_repeating_its_url(url):
    """It may hold a password."""
    with pytest.raises(ConfigurationError, match=r"^database\.url: ") as caught:
        parse_url(url)

    assert "hunter2" not in str(caught.value)


def test_its_repr_holds_no_password():
    """A traceback or a log line may show it."""
    assert "Database('broker')" == repr(Database("postgresql://app:hunter2@db/broker"))
