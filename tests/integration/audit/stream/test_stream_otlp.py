"""A stream to a receiver of OpenTelemetry logs, which answers whether it has them."""

import asyncio

import pytest

from broker.audit.stream.load import TlsFiles, build_sink
from broker.audit.stream.sink import Undelivered
from broker.settings.streams import OtlpDestination
from tests.loopback import certificate, http_answer, loopback
from tests.streaming import (
    Noted,
    attributes_of,
    build_stream,
    first_times,
    ids_in_order,
    message,
    otlp_answer,
    otlp_records,
    send_once,
)

PATH = "/v1/logs"


@pytest.fixture
async def server():
    async with loopback({PATH: otlp_answer()}) as made:
        yield made


def sink_to(server, **files):
    return build_sink(OtlpDestination(server.url("")), TlsFiles(**files))


async def refusal(server, answer):
    """What is said of a receiver that answers so."""
    server.answers[PATH] = answer
    sink = sink_to(server)
    with pytest.raises(Undelivered) as caught:
        await sink.deliver([message()])
    await sink.aclose()
    return caught.value


def uids(server):
    return [attributes_of(one)["log.record.uid"] for one in otlp_records(server)]


async def test_every_sealed_row_arrives_once_in_order(trail, many, server):
    """Issue: OTLP logs, with the id that tells repetitions."""
    sink = sink_to(server)
    await send_once(trail, sink)
    await sink.aclose()

    assert ids_in_order(many.auditor_url) == uids(server)
    assert {PATH} == set(server.paths)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param(otlp_answer(status="503 No"), "it answers 503", id="unavailable"),
        pytest.param(otlp_answer(status="429 No"), "it answers 429", id="too-many"),
        # Also those that a client is not to repeat as they are: rows are never left out for it.
        pytest.param(otlp_answer(status="400 No"), "it answers 400", id="bad-request"),
        pytest.param(otlp_answer(status="401 No"), "it answers 401", id="unauthorized"),
        pytest.param(otlp_answer(status="307 No", location="/x"), "it answers 307", id="redirect"),
        pytest.param(otlp_answer(status="204 No"), "it answers 204", id="another-success"),
        pytest.param(http_answer(b"{}"), "is the path right", id="json"),
        pytest.param(http_answer(b"<p>", content_type="text/html"), "is the path", id="web-page"),
        pytest.param(
            http_answer(b"\xff\xff", content_type="application/x-protobuf"),
            "not one of OTLP",
            id="garbage",
        ),
        pytest.param(
            http_answer(b"x" * 70_000, content_type="application/x-protobuf"),
            "too long",
            id="endless",
        ),
        pytest.param(b"", "RemoteProtocolError", id="nothing"),
    ],
)
async def test_what_is_no_success_moves_nothing(server, answer, text):
    """Issue: an explicit success; whatever else is said, the rows are sent again."""
    assert text in str(await refusal(server, answer))


async def test_what_a_receiver_has_refused_for_good_is_counted_and_not_repeated(trail, server):
    """OTLP: a partial success is not to be sent again; it is told, and the stream goes on."""
    server.answers[PATH] = otlp_answer(rejected=2)
    noted, sink = Noted(), sink_to(server)
    await send_once(trail, sink, watcher=noted, most=1000)
    await sink.aclose()

    assert (1, 2) == (len(server.bodies), noted.refused)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("7", 7, id="seconds"),
        pytest.param("99999", 300, id="hours"),
        pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", 300, id="date"),
        pytest.param("Thu, 01 Jan 1970 00:00:00 GMT", 0, id="past"),
    ],
)
async def test_a_receiver_that_wants_a_pause_has_it(server, value, seconds):
    """RFC 9110 §10.2.3: so long, and no longer than five minutes."""
    assert seconds == (await refusal(server, otlp_answer(status="503 No", retry_after=value))).after


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", ""])
async def test_a_pause_that_makes_no_sense_is_none(server, value):
    """Ours: then the stream's own pauses hold."""
    assert (await refusal(server, otlp_answer(status="503 No", retry_after=value))).after is None


async def test_it_goes_on_when_the_receiver_is_back(trail, many, server):
    """Issue: at least once; what was refused comes again, in its place."""
    answers = iter([otlp_answer(), otlp_answer(status="503 No", retry_after="0"), otlp_answer()])
    server.answers[PATH] = lambda: next(answers, otlp_answer())
    noted, sink, stop = Noted(), sink_to(server), asyncio.Event()
    stream = build_stream(trail, sink, watcher=noted)
    expected = ids_in_order(many.auditor_url)
    running = asyncio.create_task(stream.run(stop))
    async with asyncio.timeout(20):
        while noted.rows < len(expected):  # noqa: ASYNC110 — nobody sets an event
            await asyncio.sleep(0.02)
    stop.set()
    await running

    assert expected == first_times(uids(server))
    assert len(expected) < len(uids(server))
    assert 1 == len(noted.faults)


async def test_headers_of_the_environment_are_sent_and_never_told(server, monkeypatch):
    """Ours: receivers want to know who comes; the secret is in the environment and not in a log."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hush")
    error = await refusal(server, otlp_answer(status="401 No"))

    assert "authorization: bearer hush" in server.heads[-1].lower()
    assert "hush" not in str(error)


async def test_a_receiver_that_is_another_host_is_refused(tmp_path):
    """Issue: the certificate must be for the host that was named."""
    context, anchor = certificate(tmp_path, "localhost")
    async with loopback({PATH: otlp_answer()}, tls=context) as server:
        sink = sink_to(server, ca=anchor)
        with pytest.raises(Undelivered, match="IP address mismatch"):
            await sink.deliver([message()])
        await sink.aclose()

    assert [] == server.bodies
