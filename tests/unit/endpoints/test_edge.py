"""What holds for every request, around an application that does what the test wants."""

import json
from typing import Any

import pytest

from broker.endpoints.edge import Edge, _caller
from broker.telemetry.logs import current_request_id


async def call(app: Any, headers: list[tuple[bytes, bytes]] | None = None) -> list[dict[str, Any]]:
    """Send one request to ``app`` behind an edge; return what it sent."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers or []}
    await Edge(app, build_id=lambda: "id-1")(scope, receive, send)
    return sent


async def failing(scope: Any, receive: Any, send: Any) -> None:
    """An application with a bug whose text is a secret."""
    raise RuntimeError("canary")


@pytest.mark.row("TX-2.2.2-07", "OP-10")
async def test_what_nobody_expected_is_a_500_with_a_fixed_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """RFC 6749 §5.2: no text of ours, our id, nothing to be cached; and it is logged."""
    start, body = await call(failing)
    headers = dict(start["headers"])

    assert 500 == start["status"]
    assert {
        "error": "server_error",
        "error_description": "Something went wrong here.",
    } == json.loads(body["body"])
    assert b"id-1" == headers[b"x-request-id"]
    assert b"no-store" == headers[b"cache-control"]
    assert ["unexpected error"] == [record.message for record in caplog.records]


@pytest.mark.row("OA-5.2-07")
async def test_a_refusal_names_the_page_for_its_request_where_there_is_one() -> None:
    """RFC 6749 §5.2: libraries that show no header show this. The text stays as it is."""
    pages = iter(["https://help.test/refused?request=", ""])

    async def receive() -> Any:
        return {}

    bodies = []
    edge = Edge(failing, build_id=lambda: "id-1", page=lambda: next(pages))
    for _ in range(2):
        sent: list[dict[str, Any]] = []

        async def send(message: Any, sent: list[dict[str, Any]] = sent) -> None:
            sent.append(message)

        await edge({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
        bodies.append(json.loads(sent[1]["body"]))

    assert ["https://help.test/refused?request=id-1", None] == [
        body.get("error_uri") for body in bodies
    ]
    assert bodies[0]["error_description"] == bodies[1]["error_description"]


async def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    """A second status line would be read as part of the body."""

    async def late(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await call(late)


@pytest.mark.row("OP-10")
async def test_the_id_is_that_of_the_request_while_it_lasts() -> None:
    """Logs and audit rows take it from one place, and it does not stay behind."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(current_request_id.get())
        await send({"type": "http.response.start", "status": 204, "headers": []})

    await call(app, [(b"x-request-id", b"mine")])

    assert ["id-1"] == seen
    assert "" == current_request_id.get()


async def test_other_protocols_are_not_spoken() -> None:
    """A WebSocket or lifespan scope reaches no application."""
    await Edge(failing, build_id=str)({"type": "websocket"}, None, None)  # type: ignore[arg-type] # not used


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", id="zeros"),
        pytest.param(b"\xff\xfe", id="not-text"),
        pytest.param(b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01" + b"x" * 9000, id="too-long"),
    ],
)
def test_a_malformed_traceparent_is_no_parent(header: bytes) -> None:
    """W3C Trace Context §3.2.2: it starts a trace of its own, and fails nothing."""
    context = _caller({"headers": [(b"traceparent", header)]})

    assert not context
