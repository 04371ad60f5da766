"""How many rows fit, counted and estimated, in a real database."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from broker.audit.counts import Count, count_rows, find_first
from broker.audit.query import CannotRead, Filter
from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database
from broker.db.loop import run_apart
from tests.audit import VAULT
from tests.browser.story import EVERYDAY, Told, tell
from tests.fixtures.postgres import OneDatabase, make_database

ORIGIN = datetime(2020, 1, 1, tzinfo=UTC)
DECADES = timedelta(days=36500)
PATIENT = {"step": DECADES, "origin": ORIGIN, "patience": timedelta(seconds=5)}


@pytest.fixture(scope="module")
def told(postgres: EmbeddedPostgres, template: OneDatabase) -> Told:
    return run_apart(lambda: tell(make_database(postgres, template.name)))


@pytest.fixture
async def auditor(told: Told):
    database = Database(told.database.auditor_url, read_only=True)
    yield database
    await database.aclose()


@pytest.mark.parametrize(
    ("wanted", "issued", "refused"),
    [
        pytest.param(Filter(kind="exchange"), EVERYDAY + 2, 1, id="all"),
        pytest.param(Filter(client="inventory"), 1, 1, id="client"),
        pytest.param(Filter(subject="robot-7"), 1, 0, id="person"),
        pytest.param(Filter(actor="checkout", actor_issuer="https://broker.test"), 2, 1, id="pair"),
        pytest.param(Filter(client="nobody"), 0, 0, id="nobody"),
        pytest.param(Filter(until=ORIGIN), 0, 0, id="before"),
    ],
)
async def test_what_is_quickly_counted_is_counted(auditor, wanted, issued, refused):
    """By outcome, with the same filters as a search."""
    counts = await count_rows(auditor, wanted, pseudonym=VAULT.pseudonym, **PATIENT)

    expected = {"issued": issued, "refused": refused}
    assert 1.0 == counts.share
    assert {name: count for name, count in expected.items() if count} == {
        one.outcome: one.rows for one in counts.counts
    }


async def test_rows_are_counted_by_stretch(auditor):
    """Each where it begins, from the origin on."""
    first = await find_first(auditor)
    assert first is not None
    # Found by its id, and of rows of one millisecond any may be the first by that.
    origin = first - timedelta(days=3, seconds=1)
    counts = await count_rows(
        *(auditor, Filter(client="inventory")),
        step=timedelta(days=1),
        origin=origin,
        patience=timedelta(seconds=5),
    )

    start = origin + timedelta(days=3)
    assert {Count(start, "issued", 1), Count(start, "refused", 1)} == set(counts.counts)


@pytest.mark.parametrize("wanted", [Filter(), Filter(client="batch"), Filter(actor="batch")])
async def test_what_is_dear_is_estimated_and_says_so(auditor, wanted):
    """From a share of the table that is less than all of it, the same each time."""
    once = await count_rows(auditor, wanted, bearable=0.5, **PATIENT)
    again = await count_rows(auditor, wanted, bearable=0.5, **PATIENT)

    assert 0 < once.share < 1
    assert once == again


async def test_whoever_cannot_wait_is_told(auditor, told):
    """The statement ends in the database, too, here behind a lock that nobody gives back."""
    connection = await asyncpg.connect(told.database.superuser_url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE audit_event")
            with pytest.raises(CannotRead):
                await count_rows(auditor, Filter(), **PATIENT | {"patience": timedelta(0)})
    finally:
        await connection.close()


async def test_an_empty_trail_has_no_first_row(migrated: OneDatabase):
    """And counts to nothing."""
    database = Database(migrated.auditor_url)
    try:
        assert None is await find_first(database)
        assert [] == (await count_rows(database, Filter(), **PATIENT)).counts
    finally:
        await database.aclose()
