"""A stream as such: where it begins, that it is alone, and what it does about trouble."""

import asyncio

import pytest

from broker.audit.cursor import CursorBusy
from broker.audit.cursor_file import FileCursor
from broker.audit.export.columns import OPENED
from broker.audit.follow import OtherLog
from broker.audit.query import CannotRead
from broker.audit.reader import RecordReader
from broker.audit.stream.health import StreamHealth
from broker.audit.stream.render import Renderer
from broker.audit.stream.sink import Undelivered
from broker.db.engine import Database
from tests.audit import VAULT, new_id, now
from tests.between import between
from tests.fixtures.postgres import execute
from tests.sealing import as_superuser, empty_log, seal_now, write_rows
from tests.server import eventually
from tests.streaming import Noted, build_stream, first_times, ids_in_order, send_once


class Box:
    """A receiver in memory, which takes what it is told to."""

    kind = "box"

    def __init__(self, *refusals):
        self.messages = []
        self.refusals = list(refusals)

    @property
    def ids(self):
        return [one.id for one in self.messages]

    async def deliver(self, messages):
        if self.refusals:
            raise self.refusals.pop(0)
        self.messages += messages
        return 0

    async def aclose(self):
        """Have nothing open."""


async def test_a_stream_goes_on_where_it_was(log, base):
    """Issue: a durable cursor; each row once if nobody is interrupted."""
    box, name = Box(), new_id()
    await send_once(log, box, name=name)
    await write_rows(log)
    await seal_now(log)
    await send_once(log, box, name=name)

    assert ids_in_order(base.auditor_url) == box.ids


async def test_another_name_is_another_stream(log, base):
    """Ours: each receiver has everything."""
    first, second = Box(), Box()
    await send_once(log, first)
    await send_once(log, second)

    assert ids_in_order(base.auditor_url) == first.ids == second.ids


async def test_a_new_name_may_begin_now(log, base):
    """Issue: ``--from now``; and it keeps that place, though nothing was sent."""
    box, name = Box(), new_id()
    await send_once(log, box, name=name, start="now")
    assert [] == box.ids
    await write_rows(log)
    await seal_now(log)
    await send_once(log, box, name=name, start="now")

    assert ids_in_order(base.auditor_url)[9:] == box.ids


async def test_a_new_name_may_begin_at_a_time(log, base):
    """Issue: ``--from 24h``; what was sealed before is not sent."""
    (row,) = execute(base.owner_url, "SELECT at FROM audit_checkpoint WHERE size = 6")
    box = Box()
    await send_once(log, box, start=row["at"])

    assert ids_in_order(base.auditor_url)[3:] == box.ids


async def test_one_name_is_sent_by_one_process_at_a_time(log, base):
    """Issue: one lead for each stream; when it has gone another one goes on."""
    first, second, name = Box(), Box(), new_id()
    stop, stops = asyncio.Event(), asyncio.Event()
    leading = asyncio.create_task(build_stream(log, first, name=name).run(stop))

    async def sent():
        return len(first.ids) == 9

    await eventually(sent)
    with pytest.raises(CursorBusy):
        await build_stream(log, second, name=name).send(stops, once=True)
    stop.set()
    await leading
    await write_rows(log)
    await seal_now(log)
    await send_once(log, second, name=name)

    assert ids_in_order(base.auditor_url) == first.ids + second.ids


async def test_a_refused_lot_is_sent_again_and_nothing_before_or_after_it(log, base):
    """Issue: at least once, in the order of the log."""
    box, noted, stop = Box(Undelivered("no", after=0.01)), Noted(), asyncio.Event()
    running = asyncio.create_task(build_stream(log, box, watcher=noted).run(stop))

    async def sent():
        return len(box.ids) == 9

    await eventually(sent)
    stop.set()
    await running

    assert ids_in_order(base.auditor_url) == box.ids
    assert ["no"] == noted.faults


async def test_once_waits_for_no_receiver(log):
    """Issue: for scripts; the exit code says so."""
    with pytest.raises(Undelivered):
        await send_once(log, Box(Undelivered("no")))


async def test_it_goes_on_after_the_database_was_away(log, base):
    """Ours: an outage costs time, and no row."""
    async with between(base.app_url) as network:
        database, box, noted = Database(network.url), Box(), Noted()
        stop = asyncio.Event()
        running = asyncio.create_task(build_stream(database, box, watcher=noted).run(stop))

        async def sent():
            return len(box.ids) >= 9

        await eventually(sent)
        network.cut()
        await write_rows(log)
        await seal_now(log)

        async def all_sent():
            return len(first_times(box.ids)) == 12

        await eventually(all_sent)
        stop.set()
        await running
        await database.aclose()

    assert ids_in_order(base.auditor_url) == first_times(box.ids)
    assert 1 <= len(noted.faults)


async def test_what_cannot_be_recorded_is_not_sent(log):
    """Issue: that rows leave is on record before they do."""

    async def record():
        raise CannotRead("not on record")

    box = Box()
    with pytest.raises(CannotRead, match="not on record"):
        await send_once(log, box, record=record)

    assert [] == box.ids


async def test_what_is_missing_is_told_and_the_others_come(log, base):
    """Ours: who deletes a row must not silence whoever watches."""
    expected = ids_in_order(base.auditor_url)
    as_superuser(base, ["audit_event"], f"DELETE FROM audit_event WHERE id = '{expected[4]}'")
    box, noted = Box(), Noted()
    await send_once(log, box, watcher=noted)

    assert [*expected[:4], *expected[5:]] == box.ids
    assert [4] == [gap.position for gap in noted.gaps]


async def test_persons_are_opened_for_whoever_has_the_audit_key(log):
    """Issue: ``--open --key-file``; without it they are sealed."""
    sealed, opened = Box(), Box()
    await send_once(log, sealed)
    reader = RecordReader(log, VAULT)
    await send_once(log, opened, renderer=Renderer("native", product_version="1", reader=reader))

    test_rows = [
        (a, b) for a, b in zip(sealed.messages, opened.messages, strict=True) if b"test.0" in a.body
    ]
    assert 3 == len(test_rows)
    assert all(b'"by":"broker"' not in one.body for one, _ in test_rows)
    assert all(b'"by":"broker"' in one.body for _, one in test_rows)


async def test_a_row_that_nobody_wrote_does_not_stop_what_is_opened(log):
    """Ours: nor what is not."""
    rows = [
        {"record": "no JSON", "id": new_id(), "writer": new_id(), "seq": 1, "at": now()}
        | dict.fromkeys(("outcome", "reason", "client", "action", "request_id", "txn"))
        | {"kind": "exchange"}
    ]
    reader = RecordReader(log, VAULT)
    (found,) = await Renderer("ocsf", product_version="1", reader=reader).render(rows)

    assert OPENED not in rows[0]
    assert b'"unreadable":"no JSON"' in found.body


async def test_a_place_in_a_file_is_kept_by_whoever_may_only_read(log, base, tmp_path):
    """Issue: ``--cursor FILE``, for an auditor."""
    database, box = Database(base.auditor_url), Box()
    path = tmp_path / "cursor"
    for _ in range(2):
        await send_once(database, box, cursor=FileCursor(path, database))
        await write_rows(log)
        await seal_now(log)
    await send_once(database, box, cursor=FileCursor(path, database), start="now")
    await database.aclose()

    assert ids_in_order(base.auditor_url) == box.ids
    assert ["cursor"] == [one.name for one in tmp_path.iterdir()]


async def test_a_place_in_another_log_is_refused(log, base, tmp_path):
    """Issue: a cursor of another log; of the same length, it has another root."""
    path = tmp_path / "cursor"
    await send_once(log, Box(), cursor=FileCursor(path, log))
    before = path.read_bytes()
    empty_log(base)
    await write_rows(log, 20)
    await seal_now(log)
    box = Box()
    with pytest.raises(OtherLog, match="is the place in another log"):
        await send_once(log, box, cursor=FileCursor(path, log))

    assert [] == box.ids
    assert before == path.read_bytes()


async def test_a_place_beyond_the_log_is_refused(log, base):
    """Issue: the database is older than it was; nothing is sent twice over without being told."""
    name = new_id()
    await send_once(log, Box(), name=name)
    execute(base.owner_url, f"UPDATE audit_cursor SET position = 99 WHERE name = 'stream:{name}'")
    with pytest.raises(OtherLog, match="position 99, and the log has 9"):
        await send_once(log, Box(), name=name)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("no JSON", id="text"),
        pytest.param("[]", id="list"),
        pytest.param('{"origin":"a b","size":1,"root":""}', id="name"),
        pytest.param('{"origin":"a","size":true,"root":"' + "A" * 43 + '="}', id="size"),
        pytest.param('{"origin":"a","size":1,"root":"AA=="}', id="root"),
    ],
)
async def test_a_file_of_something_else_is_no_place(log, text, tmp_path):
    """Ours: and it is not touched."""
    path = tmp_path / "precious"
    path.write_text(text)
    with pytest.raises(CannotRead, match="is no place in a log"):
        await send_once(log, Box(), cursor=FileCursor(path, log))

    assert text == path.read_text()


async def test_a_place_in_a_file_is_held_by_one_at_a_time(log, tmp_path):
    """Ours: by the file that has the name now, not by one that had it."""
    path = tmp_path / "cursor"
    first, second = FileCursor(path, log), FileCursor(path, log)
    assert await first.take() is None
    for position in (1, 2):
        await first.move(position)
        with pytest.raises(CursorBusy):
            await second.take()
    await first.aclose()
    assert 2 == await second.take()
    await second.aclose()


async def test_the_health_of_a_stream_is_told_once(log, base, caplog):
    """Ours: an operator reads of a trouble when it begins and when it ends."""
    health = StreamHealth("siem", now)
    box, stop = Box(Undelivered("no", after=0.01), Undelivered("no", after=0.01)), asyncio.Event()
    caplog.set_level("INFO")
    running = asyncio.create_task(build_stream(log, box, watcher=health).run(stop))

    async def failing():
        return health.fault == "no"

    await eventually(failing)

    async def sent():
        return len(box.ids) == 9 and health.fault is None

    await eventually(sent)
    stop.set()
    await running

    assert [
        "the audit trail is streamed",
        "the audit trail is not streamed: no",
        "the audit trail is streamed again",
    ] == [one.getMessage() for one in caplog.records if "streamed" in one.getMessage()]
