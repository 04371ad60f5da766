"""What arrived at an endpoint where clients authenticate, not yet parsed. RFC 6749 §3.2."""

from collections.abc import Callable

from starlette.types import Receive, Scope

from broker.clients.request import RawRequest
from broker.errors import ParseRejected, Reason
from broker.exchange.body import read_body


async def read_request(scope: Scope, receive: Receive) -> Callable[[], RawRequest]:
    """Return what gives the request once it is parsed, or raises ``ParseRejected`` then.

    Waiting for a slow body is the caller's time and not a step's, so it is done before. What was
    wrong with it is still said in the step, where every refusal is recorded.
    """
    try:
        if scope["method"] != "POST":
            raise ParseRejected(Reason.REQUEST_METHOD_NOT_ALLOWED)
        body = await read_body(scope, receive)
    except ParseRejected as rejected:
        return _refusing(rejected)
    raw = RawRequest(
        content_types=_values(scope, b"content-type"),
        query=scope["query_string"],
        authorization=_values(scope, b"authorization"),
        body=body,
    )
    return lambda: raw


def _values(scope: Scope, name: bytes) -> tuple[str, ...]:
    return tuple([value.decode("latin-1") for each, value in scope["headers"] if each == name])


def _refusing(rejected: ParseRejected) -> Callable[[], RawRequest]:
    def read() -> RawRequest:
        raise rejected

    return read
