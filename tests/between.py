"""What stands between a program and PostgreSQL: a proxy on loopback with a network's faults."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, unquote, urlsplit

from tests.faults import Proxy, standing, to_socket


class Between(Proxy):
    """The proxy to the database of ``url``, which names a Unix socket."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        super().__init__(to_socket(f"{unquote(parse_qs(parts.query)['host'][0])}/.s.PGSQL.5432"))
        self._user, self._database = parts.username, parts.path

    @property
    def url(self) -> str:
        """Where PostgreSQL seems to be."""
        return f"postgresql://{self._user}@127.0.0.1:{self.port}{self._database}?sslmode=disable"


@asynccontextmanager
async def between(url: str) -> AsyncIterator[Between]:
    """A proxy to the database of ``url``, which names a Unix socket."""
    async with standing(Between(url)) as proxy:
        yield proxy
