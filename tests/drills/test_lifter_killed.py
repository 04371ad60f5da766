"""Drill: whoever brings looks into the trail is killed at any instruction, twenty times."""

import asyncio
import sys

import pytest

from broker.audit.access import record_access
from broker.audit.lift import Lifter
from broker.db.engine import Database
from tests.fixtures.postgres import OneDatabase
from tests.looking import lifted, looks, running_trail

pytestmark = pytest.mark.drill

ROUNDS = 20


@pytest.mark.timeout(60)
async def test_a_lifter_that_is_killed_at_any_instruction_loses_no_look(fresh: OneDatabase) -> None:
    """SIGKILL, 20 times: every look is in the trail, and one that were there twice is the same."""
    auditor = Database(fresh.auditor_url)
    drill = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.drills.lifting", fresh.app_url, str(ROUNDS)),
        stdout=asyncio.subprocess.PIPE,
    )
    ended = asyncio.create_task(drill.communicate())
    made = 0
    while not ended.done():
        details = {"row": str(made)}
        await record_access(auditor, "audit.show", details, by="operator eve", pseudonym=None)
        made += 1
    output, _ = await ended
    await auditor.aclose()
    assert ROUNDS == int(output)

    database = Database(fresh.app_url)
    async with running_trail(database) as trail:
        while await Lifter(database, trail.record).lift():
            pass
    await database.aclose()
    rows = await asyncio.to_thread(lifted, fresh)
    once = {row["id"]: row["details"] for row in rows}
    assert [] == looks(fresh)
    assert sorted(map(str, range(made))) == sorted(one["row"] for one in once.values())
    assert all(row["details"] == once[row["id"]] for row in rows)
    assert ROUNDS < made  # there was something to lift whenever one was killed
