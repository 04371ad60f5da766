"""A trail of many batches that nobody changes, and certificates of receivers."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database
from tests.fixtures.postgres import OneDatabase, one_more
from tests.sealing import seal_now, write_rows


async def _write(made: OneDatabase) -> None:
    database = Database(made.app_url)
    try:
        for rows in (3, 1, 7):
            await asyncio.gather(*(write_rows(database, rows) for _ in range(2)))
            await seal_now(database)
        await write_rows(database, 2)  # not sealed
    finally:
        await database.aclose()


@pytest.fixture(scope="module")
def many(postgres: EmbeddedPostgres, template: OneDatabase) -> Iterator[OneDatabase]:
    """The trail: 34 rows are sealed."""
    with one_more(postgres, template.name) as made:
        asyncio.run(_write(made))
        yield made


@pytest.fixture
async def trail(many: OneDatabase) -> AsyncIterator[Database]:
    """The same as the broker's role reaches it."""
    database = Database(many.app_url)
    yield database
    await database.aclose()
