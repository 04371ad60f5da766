"""Attack: send too much, too slowly, or nothing at all, and hold on to the connection."""

import contextlib
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from broker.oauth import MAX_BODY
from tests.listening import (
    LOOPS,
    Application,
    read_all,
    read_answer,
    request,
    serving,
    status,
)

MIB = 1 << 20


@pytest.mark.row("OA-H-01", "DRILL-12")
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param([request("/", f"X: {'a' * 17_000}")], id="one-header"),
        pytest.param(
            [request("/", *[f"X-{n}: {'a' * 500}" for n in range(40)])], id="many-headers"
        ),
        pytest.param([request("/" + "a" * 17_000)], id="request-line"),
        pytest.param([b"GET /" + b"a" * 17_000], id="endless-request-line"),
        pytest.param([b"GET / HTTP/1.1\r\nX: " + b"a" * 17_000], id="endless-value"),
        pytest.param([b"GET / HTTP/1.1\r\n" + b"a" * 17_000], id="endless-name"),
        pytest.param([b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 3000], id="endless-headers"),
        pytest.param([b"\r\n" * 9000], id="endless-lines"),
        pytest.param([b"GET / HTTP/1.1\r\nX: ", *[b"a" * 1000] * 17], id="in-pieces"),
        pytest.param([b"GET / HTTP/1.1\r\nX: " + b"a" * MIB], id="a-megabyte"),
        pytest.param([request("/", *["a: b"] * 100)], id="101-fields"),
    ],
)
def test_a_large_head_is_431(sent, loop):
    """RFC 6585 §5: 16 KiB and 100 fields, whether or not it ever ends."""
    app = Application()
    with serving(app, loop=loop) as broker:
        answer = broker.ask(*sent)

    assert 431 == status(answer)
    assert b"connection: close" in answer
    assert [] == app.requests


@pytest.mark.row("OA-H-01")
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(request("/", f"X: {'a' * 16_000}"), id="nearly-16-kib"),
        pytest.param(request("/", *["a: b"] * 99), id="100-fields"),
    ],
)
def test_a_head_within_its_bounds_is_served(sent):
    """RFC 6585 §5: the twin."""
    with serving() as broker, broker.connect() as connection:
        for _ in range(3):
            connection.sendall(sent)
            assert 200 == status(read_answer(connection))


@pytest.mark.row("OA-H-01", "DRILL-12")
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("length", "sent"),
    [
        pytest.param(MAX_BODY + 1, b"", id="announced-and-not-sent"),
        pytest.param(MAX_BODY + 1, b"a" * (MAX_BODY + 1), id="a-byte-too-many"),
        pytest.param(900_000, b"a" * 900_000, id="sent-to-the-end"),
        pytest.param(100 * MIB, b"a" * 10 * MIB, id="a-hundred-megabytes"),
    ],
)
def test_a_large_body_is_413_and_the_answer_arrives(length, sent, loop):
    """Ours: refused by what is announced, and read no further; no reset takes the answer away."""
    app = Application()
    head = request("/", f"Content-Length: {length}", "Connection: close", method="POST")
    with serving(app, loop=loop) as broker:
        answer = broker.ask(head, sent)

    assert 413 == status(answer)
    assert b"connection: close" in answer
    assert ["POST / request.body_too_large"] == app.requests


@pytest.mark.row("OA-H-01")
def test_a_large_body_in_chunks_is_413():
    """Ours: chunks announce nothing, so it is refused when it has grown too large."""
    app = Application()
    head = request("/", "Transfer-Encoding: chunked", method="POST")
    with serving(app) as broker:
        answer = broker.ask(head, *[b"1000\r\n" + b"a" * 4096 + b"\r\n"] * 20)

    assert 413 == status(answer)
    assert ["POST / request.body_too_large"] == app.requests


@pytest.mark.row("OA-H-01")
def test_a_body_of_the_greatest_size_is_read_and_the_connection_goes_on():
    """Ours: the twin, also where head and body come apart."""
    app = Application()
    body = b"a" * MAX_BODY
    whole = request("/", method="POST", body=body)
    with serving(app) as broker, broker.connect() as connection:
        for part in (whole, whole[:-MAX_BODY], body, whole[:-5], body[:5]):
            connection.sendall(part)
            if part[-1:] == b"a" and len(part) != len(whole) - 5:
                assert 200 == status(read_answer(connection))

    assert [f"POST / {body.decode()}"] * 3 == app.requests


@pytest.mark.row("OA-H-01")
def test_100_continue_is_not_said_to_a_body_that_is_too_large():
    """RFC 9110 §10.1.1: the client learns it before it sends."""
    expect = "Expect: 100-continue"
    with serving() as broker:
        answer = broker.ask(request("/", expect, f"Content-Length: {MIB}", method="POST"))
        with broker.connect() as connection:
            connection.sendall(request("/", expect, "Content-Length: 2", method="POST"))
            go_on = connection.recv(25)
            connection.sendall(b"ab")
            served = read_answer(connection)

    assert 413 == status(answer)
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == go_on
    assert 200 == status(served)


@pytest.mark.row("OA-H-01", "DRILL-12")
@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(b"1;" + b"x" * 1000 + b"\r\na\r\n", id="extensions"),
        pytest.param(b"0\r\n" + b"X: " + b"a" * 1000, id="endless-trailer"),
        pytest.param(b"0\r\n" + b"X: a\r\n" * 200, id="endless-trailers"),
    ],
)
def test_a_body_that_is_nearly_all_framing_is_refused(framing):
    """Ours: the parser keeps what the application never sees, so it is bounded as well."""
    app = Application()
    head = request("/", "Transfer-Encoding: chunked", method="POST")
    rest = framing if framing.startswith(b"1") else framing[3:]
    with serving(app, body_framing=10_000) as broker:
        answer = broker.ask(head, framing, *[rest] * 400)

    assert 400 == status(answer)
    assert app.requests in ([], ["POST / request.incomplete"])


@pytest.mark.row("OA-H-01", "DRILL-12")
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "sent",
    [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX: a", b"\r\n"],
    ids=["a-byte", "a-line", "half-a-header", "an-empty-line"],
)
def test_a_slow_head_is_408(sent, loop):
    """RFC 9110 §15.5.9: the time is for the whole head, from its first byte."""
    app = Application()
    with serving(app, loop=loop, head_time=0.1) as broker:
        answer = broker.ask(sent)

    assert 408 == status(answer)
    assert b"connection: close" in answer
    assert [] == app.requests


@pytest.mark.row("OA-H-01", "DRILL-12")
def test_a_trickle_does_not_extend_the_time_of_a_head():
    """Slow loris: a byte now and then is still slow."""
    with serving(head_time=0.3) as broker, broker.connect(0.05) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        answer = b""
        while not answer:
            with contextlib.suppress(TimeoutError):
                connection.sendall(b"a")
                answer = connection.recv(1000)

    assert 408 == status(answer)


@pytest.mark.row("OA-H-01", "DRILL-12")
def test_a_silent_connection_is_closed():
    """Ours: nothing was asked, so nothing is answered."""
    with serving(head_time=0.1) as broker:
        assert b"" == broker.ask()


@pytest.mark.row("OA-H-01", "DRILL-12")
def test_an_idle_connection_is_closed():
    """RFC 9112 §9.8: after a while without another request."""
    with serving(idle_time=0.1) as broker, broker.connect() as connection:
        connection.sendall(request())
        answer = read_answer(connection)

        assert 200 == status(answer)
        assert b"" == connection.recv(1)


@pytest.mark.row("OA-H-01", "DRILL-12")
@pytest.mark.parametrize("loop", LOOPS)
def test_a_slow_body_is_408_by_its_endpoint(loop):
    """Ours: so the refusal is recorded; the connection ends, since the body may still come."""
    app = Application(body_within=0.1)
    with serving(app, loop=loop) as broker:
        answer = broker.ask(request("/", "Content-Length: 5", method="POST") + b"ab")

    assert 408 == status(answer)
    assert b"connection: close" in answer
    assert ["POST / request.body_timeout"] == app.requests


@pytest.mark.row("OA-H-01", "DRILL-12")
def test_a_slow_body_that_no_endpoint_bounds_is_408_all_the_same():
    """Ours: the listener's own time is the last resort."""
    app = Application()
    with serving(app, body_time=0.1) as broker:
        answer = broker.ask(request("/", "Content-Length: 5", method="POST") + b"ab")

    assert 408 == status(answer)
    assert ["POST / request.incomplete"] == app.requests


@pytest.mark.row("OA-H-01")
@pytest.mark.parametrize("loop", LOOPS)
def test_an_endpoint_that_reads_no_body_answers_before_it(loop):
    """RFC 9112 §9.6: the answer says that the connection ends, and arrives."""
    app = Application()
    sent = request("/unread", "Content-Length: 500000", method="POST")
    with serving(app, loop=loop) as broker:
        answer = broker.ask(sent, b"a" * 300_000)

    assert 200 == status(answer)
    assert b"connection: close" in answer


@pytest.mark.row("DRILL-12")
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("again", [False, True], ids=["silent", "with-another-request"])
def test_who_does_not_read_the_answer_loses_the_connection(loop, again):
    """Ours: otherwise it would hold the answer in our memory."""
    app = Application()
    with serving(app, loop=loop, read_time=0.1) as broker, broker.connect() as connection:
        connection.sendall(request("/large"))
        assert app.reached.wait(20)
        if again:
            broker.thread.join(0.05)
            connection.sendall(request())
        while broker.listener.connections:  # nothing is read meanwhile
            broker.thread.join(0.05)
        with contextlib.suppress(ConnectionError):
            assert len(read_all(connection)) < 32 * MIB


@pytest.mark.row("DRILL-12")
def test_one_connection_too_many_is_closed_and_the_others_go_on():
    """Ours: files are left for the database."""
    with serving(connections=3) as broker, contextlib.ExitStack() as stack:
        good = [stack.enter_context(broker.connect()) for _ in range(3)]
        for connection in good:
            connection.sendall(request())
            read_answer(connection)
        with broker.connect() as surplus, contextlib.suppress(ConnectionError):
            assert b"" == surplus.recv(1)
        for connection in good:
            connection.sendall(request())
            assert 200 == status(read_answer(connection))


@pytest.mark.row("DRILL-12")
def test_one_request_too_many_is_503():
    """Ours: bodies that wait are memory."""
    app = Application()
    with serving(app, requests=1) as broker, broker.connect() as first:
        first.sendall(request("/hold"))
        assert app.reached.wait(20)
        answer = broker.ask(request())
        app.release.set()

        assert 200 == status(read_answer(first))
    assert 503 == status(answer)
    assert b"retry-after: 1" in answer


SERVER = """
import asyncio, uvloop
from broker.listener import Listener
from tests.listening import Application
listener = Listener(Application(), host="127.0.0.1", port=0)
print(listener.bind(), flush=True)
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(listener.serve())
"""


@pytest.mark.row("DRILL-12", "OA-H-01")
@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX: a"], ids=["silent", "half-a-head"])
def test_idle_connections_cost_little(sent):
    """Drill 12: 10,000 of them are less than 50 MiB; here as many as this machine lets be open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = min(3000, soft // 3)
    root = Path(__file__).parents[2]
    with (
        subprocess.Popen(
            [sys.executable, "-c", SERVER], cwd=root, stdout=subprocess.PIPE
        ) as server,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(server.terminate)
        port = int(server.stdout.readline())

        def hold(count: int) -> int:
            """Open so many more; return the bytes of memory that the server then uses."""
            for _ in range(count):
                connection = socket.create_connection(("127.0.0.1", port), 20)
                stack.enter_context(connection).sendall(sent)
            # Its answer shows that the others are there.
            with socket.create_connection(("127.0.0.1", port), 20) as connection:
                connection.sendall(request())
                read_answer(connection)
            statm = Path(f"/proc/{server.pid}/statm").read_text("ascii").split()
            return int(statm[1]) * resource.getpagesize()

        before = hold(50)
        after = hold(number)

    assert (after - before) / number < 50 * MIB / 10_000
