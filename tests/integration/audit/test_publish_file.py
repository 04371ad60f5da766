"""A file of checkpoints: every one that is due, once, whatever becomes of the file."""

import asyncio
from datetime import timedelta

import pytest

from broker.audit.publish.file import FileSink
from broker.audit.publish.outbox import Outbox
from broker.audit.publish.sink import SinkUnavailable
from tests.fixtures.postgres import execute
from tests.sealing import seal_now, sizes_in, write_rows

AT_ONCE = timedelta(0)


async def test_a_file_gets_every_checkpoint_once(log, in_file, path):
    """Issue: whatever is due is appended, in order, and what is there stays as it is."""
    outbox = Outbox(log)

    assert 3 == await in_file.catch_up(outbox, AT_ONCE)
    before = path.read_bytes()
    assert 0 == await in_file.catch_up(outbox, AT_ONCE)
    await write_rows(log)
    await seal_now(log)
    assert 1 == await in_file.catch_up(outbox, AT_ONCE)

    assert [3, 6, 9, 12] == sizes_in(path)
    assert path.read_bytes().startswith(before)
    assert 0o644 == path.stat().st_mode & 0o777


async def test_a_file_goes_on_behind_what_it_has(log, in_file, path, base):
    """Ours: a crash after the write, before the cursor; a cut note; and an older copy of it."""
    outbox = Outbox(log)
    await in_file.catch_up(outbox, AT_ONCE)
    whole = path.read_bytes()

    for length in (len(whole) - 10, len(whole) // 2):
        path.write_bytes(whole[:length])
        await in_file.catch_up(outbox, AT_ONCE)
        assert [3, 6, 9] == sizes_in(path)

    # Killed in its very first note, so the cursor is where it was.
    path.write_bytes(whole[:40])
    execute(base.superuser_url, "DELETE FROM audit_cursor WHERE name = 'publish:file'")
    await in_file.catch_up(outbox, AT_ONCE)
    assert [3, 6, 9] == sizes_in(path)


async def test_a_file_that_was_put_away_begins_where_it_ended(log, in_file, path):
    """Ours: whoever rotates it has all checkpoints in all of the files, and none twice."""
    outbox = Outbox(log)
    await in_file.catch_up(outbox, AT_ONCE)
    path.rename(path.with_suffix(".old"))
    await write_rows(log)
    await seal_now(log)
    await in_file.catch_up(outbox, AT_ONCE)

    assert [12] == sizes_in(path)


async def test_two_processes_that_append_to_one_file_do_not_mix(log, in_file, path):
    """Ours: replicas may share a disk; each note is whole, and nothing is there twice."""
    other = FileSink(path)
    outbox = Outbox(log)

    async def append(sink):
        try:
            return await sink.catch_up(outbox, AT_ONCE)
        except SinkUnavailable:  # the other one has it
            return 0

    await asyncio.gather(*(append(sink) for sink in (in_file, other) * 3))
    await other.aclose()

    assert [3, 6, 9] == sizes_in(path)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: path.mkdir(), id="a-folder"),
        pytest.param(lambda path: path.write_text("a log\n\nof somebody\n\n"), id="another-file"),
        pytest.param(lambda path: path.symlink_to("/proc/nowhere/at-all"), id="a-path-to-nowhere"),
    ],
)
async def test_a_file_that_cannot_be_written_is_told_and_nothing_is_spoilt(
    log, in_file, path, spoil
):
    """Ours: an error that names the file; what is in it stays as it is."""
    spoil(path)
    before = path.read_bytes() if path.is_file() else None

    with pytest.raises(SinkUnavailable, match=r"checkpoints\.txt"):
        await in_file.catch_up(Outbox(log), AT_ONCE)

    assert before == (path.read_bytes() if path.is_file() else None)
