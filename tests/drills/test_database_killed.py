"""Drill 2: PostgreSQL is killed under load, twenty times, by SIGKILL to all of its processes."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from broker.db.embedded import EmbeddedPostgres
from broker.db.migrate import migrate
from tests.drills.conftest import Start
from tests.drills.load import (
    assert_whole,
    find_missing,
    is_ready,
    load,
    of_all_kinds,
    read_metrics,
)
from tests.server import eventually

pytestmark = pytest.mark.drill

KILLS = 20


@pytest.fixture
def own(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL that the test may kill."""
    with EmbeddedPostgres(tmp_path / "pg") as postgres:
        migrate(postgres.owner_url)
        yield postgres


@pytest.mark.row("DRILL-2", "INV-8", "OP-02", "OP-05", "TX-2.2.2-06")
@pytest.mark.timeout(300)
async def test_every_token_that_arrived_has_its_row_through_twenty_kills(
    own: EmbeddedPostgres, start: Start
) -> None:
    """Invariant 8: also then; each refusal is a 503 in time, and it resumes by itself."""
    process = start(own.app_url)
    process.wait_ready()

    asking = load(lambda: process.url, connections=12, request=of_all_kinds, pause=0.01)
    async with asking as seen:
        for number in range(KILLS):
            # By itself: nothing but the database is started again.
            await seen.more(200, 20)
            await asyncio.sleep(random.uniform(0, 0.1))
            await asyncio.to_thread(own.kill)
            if number % 2:  # back at once, or after somebody has waited in vain
                await seen.more(503)
            await asyncio.to_thread(own.start)
        await seen.more(200, 100)
        await eventually(lambda: is_ready(process))

    assert process.process.poll() is None
    assert [] == seen.broken
    seen.assert_refused_in_time()
    assert KILLS * 20 <= seen.statuses[200]
    assert KILLS // 2 <= seen.statuses[503]
    # The twin: this comparison finds a token that was never recorded.
    stranger = str(uuid4())
    assert {stranger} == await find_missing(own.auditor_url, seen.issued | {stranger})
    assert len(seen.issued) == seen.statuses[200]
    report = await assert_whole(own.auditor_url)
    assert report["rows"] >= len(seen.issued)
    metrics = await read_metrics(process)
    assert 0 == metrics["broker_audit_dropped_total"]
    assert KILLS <= sum(
        count for name, count in metrics.items() if name.startswith("broker_audit_failures_total")
    )
