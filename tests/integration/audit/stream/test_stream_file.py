"""A stream into a file: whole lines, on disk before the place moves."""

import asyncio
import fcntl
import json
import os

import pytest

from broker.audit.merkle import leaf_hash
from broker.audit.stream.file import FileSink
from broker.audit.stream.sink import Undelivered
from tests.fixtures.postgres import execute
from tests.sealing import seal_now, write_rows
from tests.streaming import ids_in_order, lines_of, message, send_once


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
async def sink(path):
    made = FileSink(path)
    yield made
    await made.aclose()


def ids_of(path):
    return [json.loads(line)["id"] for line in lines_of(path)]


async def test_every_sealed_row_is_a_line_as_it_was_hashed(trail, many, sink, path):
    """Issue: JSON lines, in the order of the log; each is the leaf that the log has."""
    await send_once(trail, sink)

    rows = execute(many.auditor_url, "SELECT leaf FROM audit_event")
    assert ids_in_order(many.auditor_url) == ids_of(path)
    assert {leaf_hash(line) for line in lines_of(path)} <= {row["leaf"] for row in rows}


async def test_only_its_owner_reads_the_file(trail, sink, path):
    """Ours: it may name persons."""
    await send_once(trail, sink)

    assert 0o600 == path.stat().st_mode & 0o777


async def test_a_file_that_was_renamed_away_is_left_alone(log, sink, path, base):
    """Issue: friendly to rotation."""
    await send_once(log, sink, name="rotated")
    path.rename(path.with_suffix(".1"))
    await write_rows(log)
    await seal_now(log)
    await send_once(log, sink, name="rotated")

    assert (9, 3) == (len(ids_of(path.with_suffix(".1"))), len(ids_of(path)))
    assert ids_in_order(base.auditor_url) == ids_of(path.with_suffix(".1")) + ids_of(path)


async def test_a_file_that_was_emptied_is_appended_to_from_its_beginning(sink, path):
    """Ours: rotation by copy and truncate."""
    await sink.deliver([message(1)])
    os.truncate(path, 0)
    await sink.deliver([message(2)])

    assert 1 == len(lines_of(path))


async def test_half_a_line_that_a_crash_left_is_cut_off(sink, path):
    """Ours: every line that ends is whole."""
    path.write_bytes(b'{"a":1}\n{"a":' + b"x" * 200_000)
    await sink.deliver([message(1), message(2)])

    assert [b'{"a":1}', message(1).body, message(2).body] == lines_of(path)


async def test_a_file_of_something_else_is_not_touched(sink, path):
    """Ours: the wrong name must not cost anybody a file."""
    path.write_bytes(b"precious\nand not ended")
    with pytest.raises(Undelivered, match="it has other lines than these"):
        await sink.deliver([message()])

    assert b"precious\nand not ended" == path.read_bytes()


async def test_what_is_no_file_takes_nothing(tmp_path):
    """Ours: neither a folder, nor a pipe, nor a file in a folder that is not there."""
    os.mkfifo(tmp_path / "pipe")
    for wrong in (tmp_path, tmp_path / "pipe", tmp_path / "nowhere" / "file"):
        sink = FileSink(wrong)
        with pytest.raises(Undelivered, match=str(wrong)):
            await sink.deliver([message()])
        await sink.aclose()


async def test_a_file_that_another_process_appends_to_takes_nothing(sink, path):
    """Ours: two streams into one file would cut each other's lines."""
    path.touch()
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Undelivered, match="another process appends to it"):
            await sink.deliver([message()])
    await sink.deliver([message()])

    assert [message().body] == lines_of(path)


async def test_a_disk_that_takes_nothing_moves_nothing(trail, many, tmp_path):
    """Issue: the place moves after the rows are on disk, and not before."""
    sink = FileSink(tmp_path / "nowhere" / "file")
    with pytest.raises(Undelivered):
        await send_once(trail, sink, name="full")
    await sink.aclose()

    (row,) = execute(
        many.auditor_url, "SELECT position FROM audit_cursor WHERE name = 'stream:full'"
    )
    assert 0 == row["position"]


async def test_lines_are_on_disk_before_the_place_moves(trail, sink, path, many, monkeypatch):
    """Issue: fsync before the cursor."""
    order = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("sync"), sync(file))[1])

    class Cursor:
        async def take(self):
            return 0

        async def move(self, position):
            order.append("move")
            await asyncio.sleep(0)

        async def aclose(self):
            """Have nothing open."""

    await send_once(trail, sink, cursor=Cursor(), most=1000)

    assert ["sync", "sync", "move"] == order  # the file, and the folder that it is new in
