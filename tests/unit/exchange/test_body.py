"""A body is bounded in bytes and in time, whoever sends it."""

import asyncio

import pytest

from broker.errors import ParseRejected, Reason
from broker.exchange.body import read_body


def receiving(*messages):
    """An ASGI ``receive`` that gives these messages and then waits for ever."""
    left = list(messages)

    async def receive():
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


def part(body: bytes, *, more: bool) -> dict:
    return {"type": "http.request", "body": body, "more_body": more}


def scope(content_length: bytes | None = None) -> dict:
    headers = [(b"host", b"x")]
    return {"headers": headers + ([(b"content-length", content_length)] if content_length else [])}


async def refusal(*messages, content_length=None, within=10.0) -> Reason:
    """Why this body, of which 5 bytes are allowed, is not read."""
    with pytest.raises(ParseRejected) as caught:
        await read_body(scope(content_length), receiving(*messages), limit=5, within=within)
    return caught.value.reason


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([part(b"12345", more=False)], id="whole"),
        pytest.param([part(b"12", more=True), part(b"345", more=False)], id="in-two-parts"),
        pytest.param([part(b"12345", more=True), part(b"", more=False)], id="with-an-empty-end"),
    ],
)
async def test_a_body_within_its_bounds_is_read_whole(messages):
    """ASGI: until there is no more."""
    assert b"12345" == await read_body(scope(b"5"), receiving(*messages), limit=5)


@pytest.mark.row("OA-H-01")
async def test_an_announced_body_is_refused_before_it_is_asked_for():
    """Ours: nothing is received, so a client that waits for 100 Continue never sends it."""
    assert Reason.REQUEST_BODY_TOO_LARGE == await refusal(content_length=b"6")


@pytest.mark.row("OA-H-01")
async def test_an_unannounced_body_is_refused_when_it_has_grown_too_large():
    """Ours: chunks announce no length, and what is beyond the bound is not kept."""
    messages = [part(b"123", more=True), part(b"456", more=True)]

    assert Reason.REQUEST_BODY_TOO_LARGE == await refusal(*messages)


@pytest.mark.row("OA-H-01")
async def test_a_body_that_does_not_arrive_is_refused():
    """Ours: the time is for the whole body, so a trickle does not extend it."""
    messages = [part(b"1", more=True), part(b"2", more=True)]

    assert Reason.REQUEST_BODY_TIMEOUT == await refusal(*messages, within=0.01)


async def test_a_body_whose_sender_has_gone_is_refused():
    """ASGI: a disconnect is not an end."""
    messages = [part(b"1", more=True), {"type": "http.disconnect"}]

    assert Reason.REQUEST_INCOMPLETE == await refusal(*messages)
