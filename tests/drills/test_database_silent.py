"""Drill 3: PostgreSQL answers late, then half a second late, then not at all.

Nothing is closed meanwhile. One-time tokens are left out: their claim and their row are four
round trips, and what half a second on each of them does is plain.
"""

import asyncio

import pytest

from tests.between import between
from tests.drills.conftest import Start
from tests.drills.load import (
    assert_whole,
    find_missing,
    is_ready,
    load,
    read_metrics,
    without_one_time,
)
from tests.fixtures.postgres import OneDatabase
from tests.server import eventually

pytestmark = pytest.mark.drill

CONNECTIONS = 16


@pytest.mark.row("DRILL-3", "INV-8", "OP-02", "TX-2.2.2-06")
@pytest.mark.timeout(180)
async def test_a_database_that_is_slow_and_then_silent_keeps_nobody_waiting(
    fresh: OneDatabase, start: Start
) -> None:
    """Ours: a token or a 503 within the deadline, a bounded queue, and it resumes by itself."""
    async with between(fresh.app_url) as network:
        process = start(network.url)
        await asyncio.to_thread(process.wait_ready)
        async with load(
            lambda: process.url, connections=CONNECTIONS, request=without_one_time
        ) as seen:
            await seen.more(200, 50)
            network.delay = 0.2
            await seen.more(200, 2 * CONNECTIONS)  # late, and within the deadline: tokens
            network.delay = 0.5
            await seen.more_of_any(4 * CONNECTIONS)

            network.black_hole()
            await seen.more(503, 2 * CONNECTIONS)  # what was under way is answered by then
            before = len(seen.answers)
            await seen.more(503, 3 * CONNECTIONS)
            silent = seen.answers[before:]
            assert not await is_ready(process)

            network.forward()  # the connections of before stay as they are: lost, and not closed
            await seen.more(200, 50)
            await eventually(lambda: is_ready(process))
        metrics = await read_metrics(process)

    seen.assert_refused_in_time()
    assert [] == seen.broken
    assert {503} == {answer.status for answer in silent}
    assert metrics["broker_audit_queue_length"] <= CONNECTIONS
    assert 0 == metrics["broker_audit_dropped_total"]
    assert set() == await find_missing(fresh.auditor_url, seen.issued)
    await assert_whole(fresh.auditor_url)
