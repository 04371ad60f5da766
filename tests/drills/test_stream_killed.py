"""Drill: a stream is killed at any instruction, twenty times. Every row arrives, in order."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.audit.stream.load import TlsFiles, build_sink
from broker.db.engine import Database
from broker.settings.streams import parse_destination
from tests.audit import event, running
from tests.fixtures.postgres import OneDatabase
from tests.loopback import certificate
from tests.sealing import seal_now
from tests.server import eventually
from tests.streaming import (
    first_times,
    ids_in_order,
    lines_of,
    send_once,
    syslog_receiver,
)

pytestmark = pytest.mark.drill

ROUNDS = 20


async def drill(database: Database, url: str, to: str, anchor: Path) -> None:
    """Write and seal while the stream is killed; then send what is left."""
    async with running(database) as writer:
        killing = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.drills.streaming", url, to, str(anchor), str(ROUNDS)),
            stdout=asyncio.subprocess.PIPE,
        )
        ended = asyncio.create_task(killing.communicate())
        written = 0
        while not ended.done():
            for _ in range(20):
                await writer.append(event(f"test.{written}"))
                written += 1
            await seal_now(database)
        output, _ = await ended
    assert ROUNDS == int(output)
    await seal_now(database)
    files = TlsFiles(ca=anchor) if to.startswith("syslog") else TlsFiles()
    sink = build_sink(parse_destination(to), files)
    await send_once(database, sink, name="drill", most=100)
    await sink.aclose()


@asynccontextmanager
async def opened(made: OneDatabase) -> AsyncIterator[Database]:
    """The database as the broker's role reaches it."""
    database = Database(made.app_url)
    yield database
    await database.aclose()


@pytest.mark.row("DRILL-16")
@pytest.mark.timeout(120)
async def test_a_stream_into_a_file_that_is_killed_loses_nothing(fresh, tmp_path):
    """Issue: SIGKILL, 20 times; every row is a whole line, in the order of the log."""
    path = tmp_path / "audit.jsonl"
    async with opened(fresh) as database:
        await drill(database, fresh.app_url, f"file:{path}", tmp_path)

    ids = [json.loads(line)["id"] for line in lines_of(path)]
    assert ids_in_order(fresh.auditor_url) == first_times(ids)
    assert 20 * ROUNDS / 2 < len(ids)  # they were at work when they were killed


@pytest.mark.row("DRILL-16")
@pytest.mark.timeout(120)
async def test_a_stream_of_syslog_that_is_killed_loses_nothing(fresh, tmp_path):
    """Issue: SIGKILL, 20 times; what counted as delivered has arrived."""
    tls, anchor = certificate(tmp_path, "127.0.0.1")
    async with opened(fresh) as database, syslog_receiver(tls) as receiver:
        to = f"syslog+tls://127.0.0.1:{receiver.port}"
        await drill(database, fresh.app_url, to, anchor)
        expected = ids_in_order(fresh.auditor_url)

        async def arrived():
            return expected[-1] in receiver.ids[-3:]

        await eventually(arrived)

    assert expected == first_times(receiver.ids)
    assert ROUNDS < receiver.connections
