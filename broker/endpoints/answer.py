"""Answers as they go over the wire. RFC 6749 §5.1, §5.2, RFC 9700 §4.12: no answer redirects."""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

import orjson
from starlette.types import Send

from broker.errors import PUBLIC, LimitReached, LimitRejected, Reason, Rejected
from broker.oauth import OAuthError

# Where a client developer reads on about this very request; empty: nowhere. Set at the edge.
error_page: ContextVar[str] = ContextVar("error_page", default="")
Headers = list[tuple[bytes, bytes]]

JSON: Final = (b"content-type", b"application/json")
# What carries or concerns a token is nobody's to keep. RFC 6749 §5.1.
NO_STORE: Final = ((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))
_CHALLENGE: Final = (b"www-authenticate", b'Basic realm="token exchange", charset="UTF-8"')
_CLOSE: Final = (b"connection", b"close")
# The body was not read to its end, so the next request on this connection could not be found.
_UNREAD: Final = frozenset(
    {Reason.REQUEST_BODY_TOO_LARGE, Reason.REQUEST_BODY_TIMEOUT, Reason.REQUEST_INCOMPLETE}
)


async def send_body(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Send a whole answer."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def send_issued(send: Send, members: Mapping[str, Any]) -> None:
    """Send an issued token. RFC 8693 §2.2.1."""
    await send_body(send, 200, orjson.dumps(members), [JSON, *NO_STORE])


async def send_introspection(send: Send, members: Mapping[str, Any]) -> None:
    """Send what is said about a token. RFC 7662 §2.2."""
    await send_body(send, 200, orjson.dumps(members), [JSON, *NO_STORE])


async def send_revoked(send: Send) -> None:
    """Send that a token is active no longer. RFC 7009 §2.2: the body means nothing, so is none."""
    await send_body(send, 200, b"", [*NO_STORE])


async def send_refusal(send: Send, rejected: Rejected, *, unread: bool = False) -> None:
    """Send what the one table of errors says of a refusal, and nothing else. RFC 6749 §5.2.

    ``unread``: the body was not asked for.
    """
    public = PUBLIC[rejected.reason]
    headers: Headers = [JSON, *NO_STORE]
    if public.error is OAuthError.INVALID_CLIENT:
        # RFC 9110 §11.6.1: a 401 has a challenge, also where no Authorization header was tried.
        headers.append(_CHALLENGE)
    retry_after = rejected.retry_after or public.retry_after
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % retry_after))
    if rejected.reason is Reason.REQUEST_METHOD_NOT_ALLOWED:
        headers.append((b"allow", b"POST"))
    if isinstance(rejected, LimitRejected) and rejected.reached is not None:
        headers.extend(_describe_limit(rejected.reached))
    if unread or rejected.reason in _UNREAD:
        headers.append(_CLOSE)
    members = {"error": public.error, "error_description": public.description}
    if page := error_page.get():
        members["error_uri"] = page
    await send_body(send, public.status, orjson.dumps(members), headers)


def _describe_limit(reached: LimitReached) -> Headers:
    """Return which limit it is and when it gives way. draft-ietf-httpapi-ratelimit-headers-10."""
    name, count = reached.name, reached.count
    window = f"w={reached.seconds}" if reached.seconds else 'qu="concurrent-requests"'
    return [
        (b"ratelimit-policy", f'"{name}";q={count};{window}'.encode()),
        (b"ratelimit", f'"{name}";r=0;t={reached.reset}'.encode()),
    ]
