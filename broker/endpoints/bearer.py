"""The bearer token of the admin API: whoever has it is an operator. RFC 6750 §2.1, §3."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

Endpoint = Callable[[Request], Awaitable[Response]]

_CHALLENGE: Final = 'Bearer realm="admin"'


@dataclass(frozen=True, slots=True)
class Bearer:
    """What guards a path of the admin API."""

    token: bytes = field(repr=False)

    def guard(self, endpoint: Endpoint) -> Endpoint:
        """Return an endpoint that answers only to whoever presents it, before anything is read."""

        async def guarded(request: Request) -> Response:
            presented = request.headers.get("authorization", "").encode("latin-1", "replace")
            # How long this takes says nothing of the token.
            if hmac.compare_digest(presented, b"Bearer " + self.token):
                return await endpoint(request)
            refused = render_json({"error": "unauthorized"}, 401)
            refused.headers["www-authenticate"] = _CHALLENGE
            return refused

        return guarded


def render_json(body: Mapping[str, Any], status: int = 200) -> Response:
    """Return an answer of the admin listener; none of them is anybody's to keep."""
    return Response(
        orjson.dumps(body),
        status,
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )
