"""Trails that tests of an explorer look at."""

import pytest

from broker.db.embedded import EmbeddedPostgres
from broker.db.loop import run_apart
from tests.browser.story import Told, tell
from tests.exploring import exploring
from tests.fixtures.postgres import OneDatabase, make_database


@pytest.fixture(scope="module")
def told(postgres: EmbeddedPostgres, template: OneDatabase) -> Told:
    """A sealed trail that these tests look at."""
    database = make_database(postgres, template.name)
    return run_apart(lambda: tell(database))


@pytest.fixture
async def visitor(told: Told):
    async with exploring(told.database) as client:
        yield client


@pytest.fixture
async def own(postgres: EmbeddedPostgres, template: OneDatabase):
    """A trail that a test may change, or lose."""
    database = make_database(postgres, template.name)
    return await tell(database)


@pytest.fixture(scope="module")
def bare(postgres: EmbeddedPostgres, template: OneDatabase) -> OneDatabase:
    """A trail with nothing in it but who looked."""
    return make_database(postgres, template.name)
