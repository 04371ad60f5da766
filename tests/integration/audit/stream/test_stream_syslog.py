"""A stream to a receiver of syslog over TLS, as a SIEM has one."""

import asyncio
import ssl
from contextlib import suppress

import pytest

from broker.audit.stream.load import TlsFiles, build_sink
from broker.audit.stream.sink import Undelivered
from broker.errors import ConfigurationError
from broker.settings.streams import SyslogDestination
from tests.loopback import certificate
from tests.server import eventually
from tests.streaming import (
    Noted,
    build_stream,
    first_times,
    ids_in_order,
    message,
    send_once,
    syslog_receiver,
)


@pytest.fixture
async def tls(tmp_path):
    """A receiver's settings, and the anchor that vouches for it."""
    return certificate(tmp_path, "127.0.0.1")


@pytest.fixture
async def receiver(tls):
    async with syslog_receiver(tls[0]) as made:
        yield made


@pytest.fixture
async def sink(receiver, tls):
    made = build_sink(SyslogDestination("127.0.0.1", receiver.port), TlsFiles(ca=tls[1]))
    yield made
    await made.aclose()


class Taking:
    """A sink, and how many messages it has in hand."""

    kind = "taking"

    def __init__(self, sink):
        self._sink = sink
        self.held = 0

    async def holds(self):
        return self.held

    async def deliver(self, messages):
        self.held += len(messages)
        try:
            return await self._sink.deliver(messages)
        finally:
            self.held -= len(messages)

    async def aclose(self):
        await self._sink.aclose()


async def arrived(receiver, count):
    async def all_of_them():
        return len(receiver.messages) >= count

    await eventually(all_of_them)


async def test_every_sealed_row_arrives_once_in_order(trail, many, receiver, sink):
    """Issue: RFC 5424 messages, over one connection, with the id that tells repetitions."""
    await send_once(trail, sink)

    expected = ids_in_order(many.auditor_url)
    await arrived(receiver, len(expected))
    assert expected == receiver.ids
    assert 1 == receiver.connections
    first = receiver.messages[0]
    assert ("broker", "writer", 110) == (first.app, first.msgid, first.priority)
    assert first.proc == first.data["broker@32473"]["writer"]


async def test_a_receiver_that_is_another_host_is_refused(receiver, tls, tmp_path):
    """Issue: the certificate must be for the host that was named; nothing is sent before."""
    (tmp_path / "other").mkdir()
    context, anchor = certificate(tmp_path / "other", "localhost")
    async with syslog_receiver(context) as other:
        sink = build_sink(SyslogDestination("127.0.0.1", other.port), TlsFiles(ca=anchor))
        with pytest.raises(Undelivered, match="IP address mismatch, certificate is not valid"):
            await sink.deliver([message()])
        await sink.aclose()

    assert [] == other.messages


async def test_a_receiver_that_nobody_vouches_for_is_refused(receiver):
    """Ours: without its anchor, the authorities of the system decide."""
    sink = build_sink(SyslogDestination("127.0.0.1", receiver.port), TlsFiles())
    with pytest.raises(Undelivered, match="self-signed certificate"):
        await sink.deliver([message()])
    await sink.aclose()

    assert [] == receiver.messages


async def test_whoever_comes_without_the_certificate_that_is_asked_for_moves_nothing(tmp_path):
    """Ours: in TLS 1.3 a refusal comes after the handshake, and is no delivery."""
    context, anchor = certificate(tmp_path, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(anchor)
    async with syslog_receiver(context) as receiver:
        to = SyslogDestination("127.0.0.1", receiver.port)
        sink = build_sink(to, TlsFiles(ca=anchor))
        with pytest.raises(Undelivered):
            await sink.deliver([message()])
        await sink.aclose()
        ours = TlsFiles(ca=anchor, certificate=anchor, key=tmp_path / "server.key")
        sink = build_sink(to, ours)
        await sink.deliver([message(2)])
        await arrived(receiver, 1)
        await sink.aclose()

    assert [message(2).id] == receiver.ids


async def test_what_a_dead_receiver_may_have_had_in_hand_is_sent_again(receiver, sink):
    """Ours: at least once, also where syslog has no answer."""
    await sink.deliver([message(1)])
    await arrived(receiver, 1)
    receiver.cut()

    async def again():
        # What the system takes before it hears that the connection has ended is lost, and that is
        # known at the next one.
        with suppress(Undelivered):
            await sink.deliver([message(2)])
        return 2 == receiver.ids.count(message(1).id)

    async def all_there():
        return message(2).id in receiver.ids

    await eventually(again)
    await eventually(all_there)
    assert [message(1).id, message(1).id] == receiver.ids[:2]
    assert 2 == receiver.connections


async def test_a_receiver_that_takes_nothing_is_waited_for_in_bounded_memory(
    trail, many, receiver, sink
):
    """Issue: back-pressure; what is new waits in the database, and all arrives in the end."""
    receiver.read.clear()
    noted, stop = Noted(), asyncio.Event()
    big = message(body=b"x" * 2**20)
    stuck = asyncio.create_task(sink.deliver([big] * 16))
    taking = Taking(sink)
    running = asyncio.create_task(build_stream(trail, taking, watcher=noted).run(stop))
    await eventually(taking.holds)
    assert not stuck.done()
    assert (3, 0) == (taking.held, noted.rows)  # one lot, and none delivered
    receiver.read.set()
    await stuck
    expected = ids_in_order(many.auditor_url)
    await arrived(receiver, len(expected) + 16)
    stop.set()
    await running

    assert expected == first_times(receiver.ids[16:])


async def test_a_stuck_receiver_does_not_keep_the_stream_from_ending(trail, sink, receiver):
    """Ours: SIGTERM is answered in seconds; what was not delivered is sent the next time."""
    receiver.read.clear()
    stuck = asyncio.create_task(sink.deliver([message(body=b"x" * 2**20)] * 16))
    noted, stop, taking = Noted(), asyncio.Event(), Taking(sink)
    running = asyncio.create_task(build_stream(trail, taking, watcher=noted, grace=0.1).run(stop))
    await eventually(taking.holds)
    stop.set()
    await running
    with pytest.raises(Undelivered):
        await stuck

    assert 0 == noted.rows


@pytest.mark.parametrize(
    ("files", "text"),
    [
        pytest.param({"ca": "nothing"}, "ca: .* no certificates in PEM", id="ca-missing"),
        pytest.param({"ca": "text"}, "ca: .* no certificates in PEM", id="ca-is-none"),
        pytest.param(
            {"certificate": "text", "key": "text"}, "cert: .* cannot be used", id="cert-is-none"
        ),
    ],
)
def test_files_that_cannot_be_used_are_named(files, text, tmp_path):
    """Ours: an error at the start, with the option and what to write."""
    (tmp_path / "text").write_text("no PEM")
    paths = {name: tmp_path / file for name, file in files.items()}
    with pytest.raises(ConfigurationError, match=text):
        build_sink(SyslogDestination("127.0.0.1", 1), TlsFiles(**paths))
