"""Attack: a request that a proxy reads as one and the broker as two, or the other way round."""

import socket

import pytest

from tests.listening import HOST, Application, read_answer, request, serving, status

SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
APP = Application()
CHUNKS = b"2\r\nab\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def listening():
    """A listener for all the rows of the file."""
    with serving(APP) as serving_all:
        yield serving_all


@pytest.fixture
def broker(listening):
    """The same listener, with an application that has served nothing yet."""
    listening.settle()
    APP.served.clear()
    APP.reached.clear()
    return listening


def post(headers: bytes, body: bytes) -> bytes:
    """A request with exactly these header bytes, and something smuggled after it."""
    return b"POST / HTTP/1.1\r\n" + HOST + headers + b"\r\n" + body + SMUGGLED


@pytest.mark.row("ATK-HTTP-01", "OA-H-03")
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(
            post(b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", CHUNKS), id="cl-te"
        ),
        pytest.param(
            post(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", CHUNKS), id="te-cl"
        ),
        pytest.param(post(b"Content-Length: 2\r\nContent-Length: 0\r\n", b"ab"), id="two-lengths"),
        pytest.param(
            post(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"ab"), id="two-equal-lengths"
        ),
        pytest.param(post(b"Content-Length: 2, 2\r\n", b"ab"), id="list-of-lengths"),
        pytest.param(post(b"Content-Length: +2\r\n", b"ab"), id="signed-length"),
        pytest.param(post(b"Content-Length: -2\r\n", b"ab"), id="negative-length"),
        pytest.param(post(b"Content-Length: 0x2\r\n", b"ab"), id="hexadecimal-length"),
        pytest.param(post(b"Content-Length: 2_0\r\n", b"ab"), id="length-with-underscore"),
        pytest.param(post(b"Content-Length:\r\n", b"ab"), id="empty-length"),
        pytest.param(post(b"Content-Length: %d\r\n" % (1 << 64), b"ab"), id="length-overflow"),
        pytest.param(post(b"Content-Length : 2\r\n", b"ab"), id="space-before-colon"),
        pytest.param(post(b" Content-Length: 2\r\n", b"ab"), id="space-before-name"),
        pytest.param(post(b"X: y\r\n Content-Length: 2\r\n", b"ab"), id="folded-header"),
        pytest.param(post(b"Transfer-Encoding:\r\n chunked\r\n", CHUNKS), id="folded-coding"),
        pytest.param(post(b"Transfer-Encoding: identity\r\n", b""), id="identity"),
        pytest.param(post(b"Transfer-Encoding: xchunked\r\n", CHUNKS), id="unknown-coding"),
        pytest.param(post(b"Transfer-Encoding: \x0bchunked\r\n", CHUNKS), id="vertical-tab"),
        pytest.param(post(b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS), id="two-codings"),
        pytest.param(post(b"Transfer-Encoding: chunked, gzip\r\n", CHUNKS), id="chunked-not-last"),
        pytest.param(
            post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
            id="chunked-twice",
        ),
        pytest.param(
            post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", CHUNKS),
            id="chunked-and-unknown",
        ),
        pytest.param(
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS + SMUGGLED,
            id="chunked-in-http-1.0",
        ),
        pytest.param(post(b"X: a\nContent-Length: 2\r\n", b"ab"), id="bare-lf-in-a-header"),
        pytest.param(post(b"X: a\rContent-Length: 2\r\n", b"ab"), id="bare-cr-in-a-header"),
        pytest.param(post(b"X: a\0b\r\n", b""), id="nul-in-a-header"),
        pytest.param(b"GET / HTTP/1.1\nHost: x\n\n" + SMUGGLED, id="bare-lf"),
        pytest.param(b"GET / HTTP/1.1\rHost: x\r\r" + SMUGGLED, id="bare-cr"),
        pytest.param(post(b"X y\r\n", b""), id="no-colon"),
        pytest.param(post(b": y\r\n", b""), id="no-name"),
        pytest.param(post(b"X(y): z\r\n", b""), id="bad-name"),
        pytest.param(post(b"Host: other.test\r\n", b""), id="two-hosts"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n" + SMUGGLED, id="no-host"),
        pytest.param(b"GET /\r\n\r\n" + SMUGGLED, id="http-0.9"),
        pytest.param(b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", id="http-0.9-by-name"),
        pytest.param(b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", id="http-2-by-name"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="http-2-preface"),
        pytest.param(b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", id="http-1.2"),
        pytest.param(b"GET / http/1.1\r\n" + HOST + b"\r\n", id="lower-case-version"),
        pytest.param(b"GET / HTTP/1.1 x\r\n" + HOST + b"\r\n", id="after-the-version"),
        pytest.param(b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", id="space-in-the-target"),
        pytest.param(b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", id="fragment"),
        pytest.param(b"GET a HTTP/1.1\r\n" + HOST + b"\r\n", id="relative-target"),
        pytest.param(b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", id="raw-utf-8-target"),
        pytest.param(b"CONNECT x.test:443 HTTP/1.1\r\n" + HOST + b"\r\n", id="connect"),
        pytest.param(b"get / HTTP/1.1\r\n" + HOST + b"\r\n", id="lower-case-method"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="tls"),
        pytest.param(b"\0", id="nul"),
    ],
)
def test_what_could_be_read_in_two_ways_is_no_request(broker, sent):
    """RFC 9112 §2.2, §3.2, §5.1, §6: 400, the connection ends, and no endpoint is reached."""
    answer = broker.ask(sent)

    assert 400 == status(answer)
    assert 1 == answer.count(b"HTTP/1.1 ")
    assert b"connection: close" in answer
    assert [] == APP.requests


@pytest.mark.row("ATK-HTTP-01")
@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(b"-2\r\nab\r\n0\r\n\r\n", id="negative"),
        pytest.param(b"0x2\r\nab\r\n0\r\n\r\n", id="prefixed"),
        pytest.param(b"2 \r\nab\r\n0\r\n\r\n", id="space"),
        pytest.param(b"2\nab\r\n0\r\n\r\n", id="bare-lf"),
        pytest.param(b"2\r\nabc\r\n0\r\n\r\n", id="longer-than-said"),
        pytest.param(b"fffffffffffffffff\r\nab\r\n0\r\n\r\n", id="overflow"),
        pytest.param(b"2;\n\r\nab\r\n0\r\n\r\n", id="lf-in-an-extension"),
    ],
)
@pytest.mark.parametrize("split", [False, True], ids=["with-the-head", "after-the-head"])
def test_a_body_with_bad_chunks_is_never_whole(broker, chunks, split):
    """RFC 9112 §7.1: 400; an endpoint that had begun sees its client gone."""
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    with broker.connect() as connection:
        connection.sendall(head if split else head + chunks + SMUGGLED)
        if split:
            assert APP.reached.wait(20)
            connection.sendall(chunks + SMUGGLED)
        answer = read_answer(connection)
        assert b"" == connection.recv(1)

    assert 400 == status(answer)
    assert APP.requests in ([], ["POST / request.incomplete"])


@pytest.mark.row("ATK-HTTP-01")
def test_a_trailer_is_no_header(broker):
    """RFC 9110 §6.5: a proxy that checks headers never saw it."""
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    trailer = b"2\r\nab\r\n0\r\nAuthorization: Basic x\r\nContent-Type: text/plain\r\n\r\n"
    with broker.connect() as connection:
        for sent in (head + trailer, head, trailer):
            connection.sendall(sent)
            if sent is not head:
                assert 200 == status(read_answer(connection))

    assert ["POST / ab", "POST / ab"] == APP.requests
    assert [["host: broker.test", "transfer-encoding: chunked"]] * 2 == [
        seen["headers"] for seen in APP.served
    ]


@pytest.mark.row("ATK-HTTP-01")
@pytest.mark.parametrize(
    "after",
    [
        pytest.param(SMUGGLED, id="a-request"),
        pytest.param(b"\0\0\0", id="no-request"),
        pytest.param(SMUGGLED * 5000, id="many-requests"),
    ],
)
def test_what_is_sent_ahead_of_an_answer_is_not_read(broker, after):
    """RFC 9112 §9.3.2: one request at a time; its sender is told that the connection ends."""
    answer = broker.ask(request("/first", method="POST", body=b"ab") + after)

    assert 200 == status(answer)
    assert 1 == answer.count(b"HTTP/1.1 ")
    assert b"connection: close" in answer
    assert ["POST /first ab"] == APP.requests


@pytest.mark.row("ATK-HTTP-01", "OA-H-03")
@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0"])
@pytest.mark.parametrize("body", [b"", b"ab"], ids=["without-body", "with-body"])
def test_an_upgrade_is_answered_in_http(broker, protocol, body):
    """RFC 9110 §7.8: curl offers h2c by itself; what follows the request is not read."""
    sent = request(
        "/",
        "Connection: Upgrade",
        f"Upgrade: {protocol}",
        method="POST" if body else "GET",
        body=body,
    )
    answer = broker.ask(sent + SMUGGLED)

    assert 200 == status(answer)
    assert b"connection: close" in answer
    assert 1 == len(APP.requests)


@pytest.mark.row("ATK-HTTP-01")
@pytest.mark.parametrize(
    ("sent", "served"),
    [
        pytest.param(request(method="POST", body=b"ab"), "POST / ab", id="length"),
        pytest.param(
            request("/", "Transfer-Encoding: Chunked", method="POST")
            + b"1;a=b\r\na\r\n"
            + b"0\r\n\r\n",
            "POST / a",
            id="chunks",
        ),
        pytest.param(b"\r\n" + request(), "GET / ", id="an-empty-line-first"),
        pytest.param(request("http://other.test/path"), "GET /path ", id="absolute-target"),
        pytest.param(request("/", "X-HTTP-Method-Override: PUT"), "GET / ", id="override"),
        pytest.param(request("/", "X:\t y \t"), "GET / ", id="blanks-around-a-value"),
    ],
)
def test_an_honest_request_is_served_and_the_connection_goes_on(broker, sent, served):
    """RFC 9112: the twin of all the refusals."""
    with broker.connect() as connection:
        for _ in range(2):
            connection.sendall(sent)
            answer = read_answer(connection)
            assert 200 == status(answer)
            assert b"connection: close" not in answer

    assert [served, served] == APP.requests


def test_http_1_0_is_served_once(broker):
    """RFC 9112 §9.3: and needs no host."""
    answer = broker.ask(b"GET /old HTTP/1.0\r\n\r\n")

    assert 200 == status(answer)
    assert ["GET /old "] == APP.requests


@pytest.mark.row("ATK-HTTP-01")
def test_where_the_segments_end_means_nothing(broker):
    """RFC 9112 §2.2: cut in two anywhere, it is the same request."""
    sent = request("/cut", "X: y", method="POST", body=b"ab")
    with broker.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for cut in range(1, len(sent)):
            connection.sendall(sent[:cut])
            connection.sendall(sent[cut:])
            assert 200 == status(read_answer(connection))

    assert ["POST /cut ab"] * (len(sent) - 1) == APP.requests
    assert 1 == len({str(seen) for seen in APP.served})
