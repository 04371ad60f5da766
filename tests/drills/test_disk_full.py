"""Drill 4: the disk of PostgreSQL is full, and then it is not.

A small file system of its own holds the audit rows, so it is the kernel that says that there is
no space left, at the very moment when a row needs it.
"""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.db.embedded import EmbeddedPostgres
from tests.drills.conftest import Start
from tests.drills.load import assert_whole, find_missing, is_ready, load, read_metrics
from tests.fixtures.postgres import OneDatabase, execute, one_more
from tests.server import eventually

pytestmark = pytest.mark.drill

SIZE = 32 << 20  # bytes: twice what the empty tables take, with their indexes


@dataclass
class SmallDisk:
    """A file system that can be filled."""

    folder: Path

    def fill(self) -> None:
        """Leave no block free."""
        with (self.folder / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(4096))
            except OSError:
                return

    def free(self) -> None:
        """Delete what it was filled with."""
        (self.folder / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small one, which takes root's right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"not run: a disk cannot be filled without mounting one: {done.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        # Lazily: the server still has files open there, and it outlives this test.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def cramped(
    postgres: EmbeddedPostgres, template: OneDatabase, disk: SmallDisk
) -> Iterator[OneDatabase]:
    """A database whose tables are on that disk, and nothing else of the server is."""
    place = disk.folder / "tables"
    place.mkdir(mode=0o700)
    os.chown(place, postgres._data.stat().st_uid, -1)
    execute(postgres.superuser_url, f"CREATE TABLESPACE small LOCATION '{place}'")
    with one_more(postgres, template.name) as database:
        execute(
            database.superuser_url,
            "ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE small",
            "ALTER INDEX ALL IN TABLESPACE pg_default SET TABLESPACE small",
        )
        yield database
    execute(postgres.superuser_url, "DROP TABLESPACE small")


@pytest.mark.row("DRILL-4", "INV-8", "OP-02", "TX-2.2.2-06")
@pytest.mark.timeout(180)
async def test_a_full_disk_refuses_alarms_and_resumes(
    cramped: OneDatabase, disk: SmallDisk, start: Start
) -> None:
    """Ours: no token that cannot be recorded; nobody restarts anything; the chain verifies."""
    process = start(cramped.app_url)
    await asyncio.to_thread(process.wait_ready)

    async with load(lambda: process.url, connections=8, pause=0.01) as seen:
        await seen.more(200, 50)
        await asyncio.to_thread(disk.fill)
        # What pages there are fill up first; from then on there is no room for a row.
        await seen.more(503, 50)
        full = seen.answers[-8:]
        assert not await is_ready(process)
        disk.free()
        await seen.more(200, 50)
        await eventually(lambda: is_ready(process))
    metrics = await read_metrics(process)

    seen.assert_refused_in_time()
    assert [] == seen.broken
    assert {503} == {answer.status for answer in full}
    assert 0 < metrics["broker_audit_failures_total{cause=refused}"]
    assert 0 == metrics["broker_audit_dropped_total"]
    # Whoever seals or looks through it may meet the full disk as well, and says so besides.
    said = [line["message"] for line in process.logged() if "written" in line["message"]]
    assert [True, False] == ["the audit trail cannot be written" in text for text in said]
    assert "the audit trail is written again" == said[-1]
    assert set() == await find_missing(cramped.auditor_url, seen.issued)
    await assert_whole(cramped.auditor_url)
