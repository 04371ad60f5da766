"""The admin listener: whether the process lives, whether it is ready, and what it counts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker.endpoints.bearer import Bearer, render_json
from broker.endpoints.revocations import RevocationsEndpoint

REVOCATIONS_PATH: Final = "/admin/revocations"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What an exchange needs, and whether it is there. Design §9."""

    checks: Mapping[str, bool]
    issuers: Mapping[str, str]  # by alias: ``loaded``, or what its last load failed with
    sealing: str = "good"  # or ``failing``, or ``refused``
    policy: Mapping[str, Any] = field(default_factory=dict)  # which decides, and what is wrong

    @property
    def ready(self) -> bool:
        """Whether all of it is."""
        return all(self.checks.values())


class Metrics(Protocol):
    """What this process counts, and perhaps others beside it."""

    @property
    def media_type(self) -> str: ...  # noqa: D102 — as it says
    def render_metrics(self) -> bytes:
        """Return every metric in the Prometheus text format."""


@dataclass(frozen=True, slots=True)
class AdminEndpoints:
    """The endpoints of the admin listener.

    ``bearer`` guards ``/admin/…``; without one these paths do not exist.
    """

    readiness: Callable[[], Readiness]
    status: Callable[[], Mapping[str, Any]]
    metrics: Metrics
    revocations: RevocationsEndpoint
    bearer: Bearer | None

    def routes(self) -> list[Route]:
        """Return every route; each matches exactly."""
        routes = [
            Route("/health/live", self._live, methods=["GET"]),
            Route("/health/ready", self._ready, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
        ]
        if self.bearer is not None:
            guard = self.bearer.guard
            routes += [
                Route("/admin/status", guard(self._status), methods=["GET"]),
                Route(REVOCATIONS_PATH, guard(self.revocations.list_rules), methods=["GET"]),
                Route(REVOCATIONS_PATH, guard(self.revocations.revoke), methods=["POST"]),
            ]
        return routes

    async def _live(self, _: Request) -> Response:
        return render_json({"live": True})

    async def _ready(self, _: Request) -> Response:
        readiness = self.readiness()
        body = {
            "ready": readiness.ready,
            "checks": dict(readiness.checks),
            # One that is down fails only its own tokens, so it does not take the replica away.
            "issuers": dict(readiness.issuers),
            # No exchange waits for it: a row is durable before it is sealed.
            "sealing": readiness.sealing,
            # A bundle that cannot be used leaves the old one in force, so this replica serves.
            "policy": dict(readiness.policy),
        }
        return render_json(body, 200 if readiness.ready else 503)

    # Not a coroutine, so that it runs in a thread: collecting everything takes milliseconds.
    def _metrics(self, _: Request) -> Response:
        return Response(self.metrics.render_metrics(), media_type=self.metrics.media_type)

    async def _status(self, _: Request) -> Response:
        return render_json(self.status())
