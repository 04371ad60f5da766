"""The body of a request, bounded in bytes and in time."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from broker.errors import ParseRejected, Reason
from broker.oauth import MAX_BODY

# ASGI's words. Any: the values of a scope or a message depend on its type.
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

BODY_TIME: Final = 10.0  # seconds
WHOLE: Final = "broker.whole"  # in the scope of a request that has arrived to its end


async def read_body(
    scope: Message, receive: Receive, *, limit: int = MAX_BODY, within: float = BODY_TIME
) -> bytes:
    """Return the whole body, of at most ``limit`` bytes, arriving within so many seconds.

    Raises ``ParseRejected``: ``request.body_too_large``, before any of it is asked for if that is
    what the header announces; ``request.body_timeout``; or ``request.incomplete`` when the peer
    has gone.
    """
    if _announced(scope) > limit:
        raise ParseRejected(Reason.REQUEST_BODY_TOO_LARGE)
    if WHOLE in scope:
        # There is nothing to wait for, and most requests arrive in one piece with their head.
        return await _read(receive, limit)
    try:
        async with asyncio.timeout(within):
            return await _read(receive, limit)
    except TimeoutError:
        raise ParseRejected(Reason.REQUEST_BODY_TIMEOUT) from None


def _announced(scope: Message) -> int:
    """Return the length that the header announces; 0 if there is none, as with chunks."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            # The parser refuses more than 64 bits, so there are few digits to read.
            return int(value)
    return 0


async def _read(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ParseRejected(Reason.REQUEST_INCOMPLETE)
        part = message.get("body", b"")
        if len(body) + len(part) > limit:
            raise ParseRejected(Reason.REQUEST_BODY_TOO_LARGE)
        body += part
        if not message.get("more_body", False):
            return bytes(body)
