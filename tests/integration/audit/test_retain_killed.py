"""Retention, killed at any moment: it goes on, and nothing goes without its tombstone."""

import asyncio
import json
import multiprocessing
import random
import time
from hashlib import sha256
from pathlib import Path

import pytest

from broker.audit.removed import Removed
from broker.audit.tombstone import tombstones_of
from broker.audit.tombstone_note import verify_tombstone
from tests.fixtures.postgres import execute, one_more
from tests.retaining import FIRST, ROWS, TABLES, Place, days_left, remove_first, write_days
from tests.sealing import KEYS

KILLS = 15
# Made once, and forked for each run: a process that is there at once, and without our threads.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.retaining"])


@pytest.fixture(scope="module")
def written(postgres, template):
    """The two old days, to copy; nobody is connected to it."""
    with one_more(postgres, template.name) as made:
        asyncio.run(write_days(made))
        yield made


def assert_nothing_is_lost(made, folder):
    """Each day is there with all its rows, or under a sealed tombstone that names its file."""
    query = """
        SELECT record, t.position < (SELECT max(size) FROM audit_checkpoint) AS sealed
        FROM audit_event AS e
        JOIN audit_batch AS b ON b.writer = e.writer AND e.seq BETWEEN first_seq AND last_seq
        LEFT JOIN audit_tree AS t ON t.writer = b.writer AND t.number = b.number
        WHERE action = 'audit.retain'
    """
    # In one statement, and before: a tombstone that comes later does not count.
    left = days_left(made)
    sealed = [json.loads(row["record"]) for row in execute(made.owner_url, query) if row["sealed"]]
    removed = {}
    for tombstone in tombstones_of(sealed):
        verify_tombstone(tombstone, KEYS.public)
        removed[tombstone.day] = tombstone
    for day, table in TABLES.items():
        if day in left:
            assert ROWS[day] == execute(made.owner_url, f"SELECT count(*) FROM {table}")[0][0]
        else:
            tombstone = removed[day]
            covered = Removed()
            covered.add(tombstone)
            file = Path(folder) / tombstone.exported.name
            assert ROWS[day] == covered.rows
            assert tombstone.exported.sha256 == sha256(file.read_bytes()).hexdigest()


@pytest.mark.timeout(120)
def test_a_retention_that_is_killed_goes_on_and_loses_nothing(postgres, written, tmp_path):
    """SIGKILL between any two of its steps: a drop never without its sealed tombstone."""
    warm_up = PROCESSES.Process(target=int)
    warm_up.start()
    warm_up.join()
    kills = rounds = 0
    whole = 60.0  # seconds that a run takes; the first one may have as many as it likes
    while kills < KILLS:
        rounds += 1
        folder = tmp_path / str(rounds)
        folder.mkdir()
        with one_more(postgres, written.name) as made:
            while FIRST in days_left(made):
                patience = random.uniform(0, 1.1 * whole) if rounds > 1 else whole
                killed, took = run_and_kill(made, folder, patience)
                kills += killed
                whole = took if rounds == 1 else whole
                assert_nothing_is_lost(made, folder)


def run_and_kill(made, folder, seconds):
    """Let it run for so long at most; returns whether it had to be killed, and how long it took."""
    process = PROCESSES.Process(
        target=remove_first, args=(Place(made.owner_url, made.app_url), folder)
    )
    began = time.monotonic()
    process.start()
    process.join(seconds)
    killed = process.is_alive()
    process.kill()
    process.join()
    assert killed or process.exitcode == 0
    return killed, time.monotonic() - began
