"""The admin listener: whether the process lives, whether it is ready, and what it counts."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker.telemetry.export import Telemetry


@dataclass(frozen=True, slots=True)
class Readiness:
    """What an exchange needs, and whether it is there. Design §9."""

    checks: Mapping[str, bool]
    issuers: Mapping[str, str]  # by alias: ``loaded``, or what its last load failed with

    @property
    def ready(self) -> bool:
        """Whether all of it is."""
        return all(self.checks.values())


@dataclass(frozen=True, slots=True)
class AdminEndpoints:
    """The endpoints of the admin listener.

    ``token`` is the bearer token of ``/admin/…``; without one these paths do not exist.
    """

    readiness: Callable[[], Readiness]
    status: Callable[[], Mapping[str, Any]]
    telemetry: Telemetry
    token: bytes | None = field(repr=False)

    def routes(self) -> list[Route]:
        """Return every route; each matches exactly."""
        routes = [
            Route("/health/live", self._live, methods=["GET"]),
            Route("/health/ready", self._ready, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
        ]
        if self.token is not None:
            routes.append(Route("/admin/status", self._status, methods=["GET"]))
        return routes

    async def _live(self, _: Request) -> Response:
        return _json({"live": True})

    async def _ready(self, _: Request) -> Response:
        readiness = self.readiness()
        body = {
            "ready": readiness.ready,
            "checks": dict(readiness.checks),
            # One that is down fails only its own tokens, so it does not take the replica away.
            "issuers": dict(readiness.issuers),
        }
        return _json(body, 200 if readiness.ready else 503)

    # Not a coroutine, so that it runs in a thread: collecting everything takes milliseconds.
    def _metrics(self, _: Request) -> Response:
        return Response(self.telemetry.render_metrics(), media_type=self.telemetry.media_type)

    async def _status(self, request: Request) -> Response:
        presented = request.headers.get("authorization", "").encode("latin-1", "replace")
        expected = b"Bearer " + (self.token or b"")
        if self.token is None or not hmac.compare_digest(presented, expected):
            refused = _json({"error": "unauthorized"}, 401)
            refused.headers["www-authenticate"] = 'Bearer realm="admin"'
            return refused
        return _json(self.status())


def _json(body: Mapping[str, Any], status: int = 200) -> Response:
    return Response(
        orjson.dumps(body),
        status,
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )
