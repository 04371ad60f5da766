"""Drill 14: whatever a superuser does to the trail, verification finds it and says where."""

import asyncio

import pytest

from broker.audit.verify import Fault
from tests.drills.tamper import KINDS, Kind, tamper, verify_backup
from tests.drills.trail import Written, write_trail
from tests.fixtures.postgres import make_database, one_more

pytestmark = pytest.mark.drill


@pytest.fixture(scope="module")
def written():
    return Written()


@pytest.fixture(scope="module")
def backup(postgres, template, written):
    """The trail as it was after its first writer."""
    made = make_database(postgres, template.name)
    asyncio.run(write_trail(made, written))
    return made


@pytest.fixture(scope="module")
def trail(postgres, backup, written):
    """The same, and two writers later."""
    made = make_database(postgres, backup.name)
    for _ in range(2):
        asyncio.run(write_trail(made, written))
    return made


def test_there_are_more_kinds_than_the_promise_asks_for():
    """Fourteen, each of its own name."""
    assert 14 <= len({kind.slug for kind in KINDS})


@pytest.mark.row("DRILL-14")
@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.slug) for kind in KINDS])
async def test_tampering_is_found_and_located(postgres, trail, written, kind: Kind):
    """By the public key alone, or, where that cannot be, by a checkpoint that was kept outside."""
    with one_more(postgres, trail.name) as made:
        outcome = await tamper(kind, made, written)

    assert outcome.found, (outcome.place, outcome.alone.problems, outcome.outside.problems)


@pytest.mark.row("DRILL-14")
async def test_a_restored_backup_is_found_by_what_was_kept_outside_and_by_nothing_else(
    backup, trail, written
):
    """Everything in it is true; it is only not all."""
    alone, outside = await verify_backup(backup, written)

    assert alone.intact
    assert [Fault.OUTSIDE_AHEAD] * 2 == [problem.fault for problem in outside.problems]


@pytest.mark.row("DRILL-14")
async def test_a_trail_that_nobody_touched_is_intact(trail, written):
    """The honest twin, with everything that there is to compare it with."""
    alone, outside = await verify_backup(trail, written)

    assert (True, True) == (alone.intact, outside.intact)
    assert ([], 3) == (alone.unprotected, outside.outside)
    assert alone.batches == alone.sealed > 0
