"""Drill: the sealer is killed at any instruction, a hundred times. Nothing is lost or forked."""

import asyncio
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from broker.audit.checkpoint import verify_checkpoint
from broker.audit.checkpoint_file import read_checkpoints
from broker.audit.publish.file import FileSink
from broker.audit.publish.outbox import Outbox
from broker.audit.publish.publisher import Publisher
from broker.audit.tree import is_consistent
from broker.db.engine import Database
from tests.audit import event, running
from tests.drills.sealing import EVERY
from tests.fixtures.postgres import OneDatabase
from tests.sealing import KEYS, ORIGIN, read_log, seal_now

pytestmark = pytest.mark.drill

ROUNDS = 100


@pytest.mark.timeout(120)
async def test_a_sealer_that_is_killed_at_any_instruction_loses_and_forks_nothing(
    fresh: OneDatabase, tmp_path: Path
) -> None:
    """Issue: SIGKILL, 100 times; every batch once, every head on the one before, all outside."""
    path = tmp_path / "checkpoints.txt"
    database = Database(fresh.app_url)
    written = 0
    async with running(database) as writer:
        drill = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.drills.sealing"),
            *(fresh.app_url, str(path), str(ROUNDS)),
            stdout=asyncio.subprocess.PIPE,
        )
        ended = asyncio.create_task(drill.communicate())
        while not ended.done():
            await writer.append(event(f"test.{written}"))
            written += 1
        output, _ = await ended
    assert ROUNDS == int(output)

    outbox = Outbox(database)
    publisher = Publisher([FileSink(path)], outbox, every=EVERY)
    await seal_now(database, examine=publisher.examine)
    assert {"file": None} == await publisher.publish()
    await publisher.aclose()

    # Nothing is lost: each batch is in the log once, and each row that was acknowledged in one.
    log = await read_log(database)
    assert 0 == log.unsealed
    assert written + 2 == len(log.batches)
    assert 10 < len(log.checkpoints)  # they were at work when they were killed
    # Nothing is forked: what is outside is what is inside, and each adds to the one before.
    with path.open("rb") as file:
        outside = [
            verify_checkpoint(note, KEYS.public, ORIGIN) for _, note in read_checkpoints(file)
        ]
    assert log.checkpoints == outside
    for old, new in pairwise(outside):
        proof = await outbox.proof(old.size, new.size)
        assert is_consistent(old.size, old.root, new.size, new.root, proof)
    await database.aclose()
