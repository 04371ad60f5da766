"""A listener begins and ends in order, and several live in one process."""

import asyncio
import contextlib
import gc
import signal
import socket

import pytest

from broker.listener import Bounds, Listener
from tests.heap import find_text
from tests.listening import LOOPS, Application, read_answer, request, serving, status


def test_a_taken_port_is_an_error_when_it_is_bound():
    """Ours: so that whoever starts it can take another, before anything else is started."""
    first = Listener(Application(), host="127.0.0.1", port=0)
    second = Listener(Application(), host="127.0.0.1", port=first.bind())
    try:
        with pytest.raises(OSError, match="in use"):
            second.bind()
    finally:
        first.stop()


def test_who_connects_before_it_serves_is_served():
    """Ours: a bound port listens, so nobody is turned away while the broker starts."""
    with socket.socket() as client:
        client.settimeout(20)
        app = Application()
        listener = Listener(app, host="127.0.0.1", port=0)
        client.connect(("127.0.0.1", listener.bind()))
        client.sendall(request())

        async def serve_one():
            served = asyncio.create_task(listener.serve())
            answer = await asyncio.to_thread(read_answer, client)
            listener.stop()
            await served
            return answer

        assert 200 == status(asyncio.run(serve_one()))


def test_an_ipv6_listener_serves_ipv4_too():
    """Ours: ``::`` is every address of the machine."""
    try:
        listener = Listener(Application(), host="::", port=0)
        port = listener.bind()
    except OSError:
        pytest.skip("not run: this machine has no IPv6")
    try:
        with socket.create_connection(("127.0.0.1", port), 20):
            pass
    finally:
        listener.stop()


async def test_two_listeners_serve_in_one_loop_and_leave_signals_alone():
    """Ours: the public one and the admin one; signals are the process's."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    listeners = [Listener(Application(), host="127.0.0.1", port=0) for _ in range(2)]
    for listener in listeners:
        listener.bind()
    serving = [asyncio.create_task(listener.serve()) for listener in listeners]
    statuses = []
    for listener in listeners:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(request())
        statuses.append(status(await reader.readuntil(b"\r\n\r\n")))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    for listener in listeners:
        listener.stop()
    await asyncio.gather(*serving)

    assert [200, 200] == statuses
    assert before == during


async def test_a_listener_that_is_stopped_before_it_serves_ends_at_once():
    """Ours: a start that fails half-way leaves nothing behind."""
    listener = Listener(Application(), host="127.0.0.1", port=0, bounds=Bounds())
    listener.bind()
    listener.stop()

    await listener.serve()


@pytest.mark.parametrize("loop", LOOPS)
def test_stopping_answers_what_is_in_flight_and_closes_what_is_idle(loop):
    """Ours: and takes nothing new."""
    app = Application()
    with serving(app, loop=loop) as broker:
        with broker.connect() as idle, broker.connect() as busy:
            idle.sendall(request())
            read_answer(idle)
            app.reached.clear()
            busy.sendall(request("/hold"))
            assert app.reached.wait(20)
            broker.loop.call_soon_threadsafe(broker.listener.stop)
            closed = idle.recv(1)
            with pytest.raises(ConnectionError):
                broker.connect()
            app.release.set()
            answer = read_answer(busy)
            after = busy.recv(1)
        broker.thread.join(20)
        ended = not broker.thread.is_alive()

    assert b"" == closed
    assert 200 == status(answer)
    assert b"connection: close" in answer
    assert b"" == after
    assert ended


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(request("/hang"), id="an-endpoint-that-hangs"),
        pytest.param(
            request("/", "Content-Length: 5", method="POST"), id="a-body-that-never-comes"
        ),
    ],
)
def test_stopping_has_an_end(sent, loop):
    """Ours: whatever is in flight, it takes a few seconds at most."""
    app = Application()
    with serving(app, loop=loop, stop_time=1) as broker, broker.connect() as busy:
        busy.sendall(sent)
        assert app.reached.wait(20)
        broker.stop()

        assert not broker.thread.is_alive()


def test_an_answer_has_no_header_that_the_application_did_not_set():
    """Ours: nothing says which server this is."""
    with serving() as broker, broker.connect() as connection:
        connection.sendall(request())
        head = read_answer(connection).split(b"\r\n\r\n")[0]

    assert [b"HTTP/1.1 200 OK", b"content-length"] == [
        line.split(b":")[0] for line in head.split(b"\r\n")
    ]


def test_a_request_leaves_no_line_in_the_log(caplog):
    """Ours: a URL or an address is logged by the application or not at all."""
    caplog.set_level("DEBUG")
    with serving() as broker:
        broker.ask(request("/canary?canary=canary", "Connection: close"))
        broker.ask(b"canary\r\n\r\n")

    assert "canary" not in caplog.text


async def test_nothing_of_a_request_is_kept_while_its_connection_idles():
    """Ours: a client's secret is in memory for as long as its request, and no longer."""

    async def app(_, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    listener = Listener(app, host="127.0.0.1", port=0)
    listener.bind()
    serving = asyncio.create_task(listener.serve())
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(request("/", "Authorization: Basic in-memory-" + "4712"))
    answered = status(await reader.readuntil(b"\r\n\r\n"))
    await asyncio.sleep(0)
    connections = listener.connections
    gc.collect()
    found = find_text("in-memory-4712")
    writer.close()
    listener.stop()
    await serving

    assert (200, 1, []) == (answered, connections, found)
