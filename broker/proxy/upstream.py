"""One upstream: where its tokens come from, asked as seldom and as patiently as it can bear.

(1) everything goes out as guarded as any request (``broker.issuers.fetch``), within the timeout;
(2) a connection that fails is tried again, after a pause that is never the same twice; an answer,
    whatever it is, is not asked for again;
(3) ``UNDER_WAY`` calls at a time; more wait, within their timeout;
(4) an upstream that has been silent five times in a row is left in peace for a second.

Silent is who cannot be reached, or answers as what stands before a server that is gone (502, 503,
504). Any other answer says nothing about the next one: whoever finds a request that provokes a 500
must not be able to shut everybody out.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Callable
from typing import Final

from broker.circuit import Circuit, State
from broker.errors import Reason
from broker.issuers.discovery import fetch_token_endpoint
from broker.issuers.fetch import FetchFailed, FetchFault, GuardedFetcher, Resolve, resolve_name
from broker.issuers.sources import tls_for
from broker.proxy.answer import GONE, Failure, Outcome, UpstreamToken, read_reply
from broker.proxy.key import Parts
from broker.proxy.request import ProxyRequest
from broker.settings import Upstream
from broker.telemetry import meter, tracer

UNDER_WAY: Final = 64
ATTEMPTS: Final = 3
PAUSE: Final = 0.05  # seconds before the second attempt, at most; doubled for the third
LEARNT_FOR: Final = 3600.0  # seconds that an endpoint found by metadata is used
_CONNECTION: Final = frozenset({FetchFault.UNREACHABLE, FetchFault.NAME_UNKNOWN})
_SILENCE: Final = _CONNECTION | {FetchFault.TLS, FetchFault.TIMEOUT}

_calls = meter.create_counter(
    "broker.proxy.upstream.calls",
    unit="1",
    description="Calls to upstreams for tokens, by upstream and outcome.",
)
_durations = meter.create_histogram(
    "broker.proxy.upstream.duration",
    unit="s",
    description="How long an upstream took to answer, retries included.",
)
_circuit = meter.create_gauge(
    "broker.proxy.upstream.circuit",
    description="0 the upstream is asked, 1 it is tried, 2 it is not.",
)


class UpstreamClient:
    """Asks one upstream for tokens."""

    def __init__(
        self,
        settings: Upstream,
        *,
        tls: ssl.SSLContext,
        resolve: Resolve = resolve_name,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nobody is asked yet. Raises ``ConfigurationError`` for an unusable ``ca_file``."""
        self.settings = settings
        # What its tokens are kept under: at another address it is another upstream.
        places = (settings.name, settings.token_endpoint or "", settings.issuer or "")
        self._identity = tuple(place.encode() for place in places)
        self._timeout = settings.timeout.total_seconds()
        self._fetcher = GuardedFetcher(
            tls_for(f"upstreams: {settings.name}", settings.ca_file, tls),
            allow_private_network=settings.allow_private_network,
            resolve=resolve,
            deadline=self._timeout,
        )
        self._monotonic = monotonic
        self._circuit = Circuit(monotonic, report=self._report)
        self._slots = asyncio.Semaphore(UNDER_WAY)
        self._endpoint: str | None = settings.token_endpoint
        self._learnt_at: float | None = None

    def parts_of(self, request: ProxyRequest) -> Parts:
        """Return everything that a request to this upstream consists of."""
        return (self._identity, *request.parts)

    async def ask(self, request: ProxyRequest) -> Outcome:
        """Return what the upstream answers; that it does not answer is an outcome as well."""
        began = time.perf_counter()
        labels = {"upstream": self.settings.name}
        with tracer.start_as_current_span(
            "upstream",
            attributes={"broker.upstream": self.settings.name},
            record_exception=False,
            set_status_on_exception=False,
        ):
            outcome, word = await self._ask(request)
        _calls.add(1, labels | {"outcome": word})
        _durations.record(time.perf_counter() - began, labels)
        return outcome

    async def _ask(self, request: ProxyRequest) -> tuple[Outcome, str]:
        """Return the outcome and its word in metrics, and tell the circuit."""
        asking = False
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                if not self._circuit.admit():
                    return _UNAVAILABLE, FetchFault.NOT_ASKED
                asking = True
                outcome, status = await self._attempt(request)
        except TimeoutError:
            if asking:
                self._circuit.failed()
            return _UNAVAILABLE, FetchFault.TIMEOUT if asking else FetchFault.BUSY
        except FetchFailed as failed:
            # Its fault is all that is kept: its cause holds what was sent.
            fault = failed.fault
        except asyncio.CancelledError:
            if asking:
                self._circuit.abandoned()
            raise
        else:
            self._circuit.failed() if status in GONE else self._circuit.succeeded()
            return outcome, _word(outcome, status)
        silent = fault in _SILENCE
        self._circuit.failed() if silent else self._circuit.succeeded()
        return _UNAVAILABLE if silent else _INVALID, fault

    async def _attempt(self, request: ProxyRequest) -> tuple[Outcome, int]:
        """Return what was answered, with its status. Raises ``FetchFailed``."""
        body, headers = request.body(), request.headers()
        endpoint = await self._find_endpoint()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                reply = await self._fetcher.submit(endpoint, body, headers)
            except FetchFailed as failed:
                if attempt == ATTEMPTS or failed.fault not in _CONNECTION:
                    raise
            else:
                return read_reply(reply), reply.status
            await asyncio.sleep(_pause(attempt))
        raise FetchFailed(
            FetchFault.UNREACHABLE
        )  # not possible: the last attempt returns or raises

    async def _find_endpoint(self) -> str:
        """Return the token endpoint, from metadata now and then. Raises ``FetchFailed``."""
        issuer, now = self.settings.issuer, self._monotonic()
        learnt = self._learnt_at
        if issuer is None or (learnt is not None and now - learnt < LEARNT_FOR):
            return self._endpoint or ""
        try:
            self._endpoint = await fetch_token_endpoint(issuer, self._fetcher)
            self._learnt_at = now
        except FetchFailed:
            # What it said before is good until it says something else.
            if self._endpoint is None:
                raise
        return self._endpoint

    def _report(self, state: State) -> None:
        _circuit.set(state, {"upstream": self.settings.name})


_UNAVAILABLE: Final = Failure(Reason.PROXY_UPSTREAM_UNAVAILABLE)
_INVALID: Final = Failure(Reason.PROXY_UPSTREAM_INVALID)


def _pause(attempt: int) -> float:
    """Return seconds: those who failed at one moment do not come back at one moment."""
    return random.uniform(0, PAUSE * 2 ** (attempt - 1))  # noqa: S311 — not a secret


def _word(outcome: Outcome, status: int) -> str:
    if isinstance(outcome, UpstreamToken):
        return "token" if outcome.expires_in is not None else "token_of_unknown_life"
    return "refused" if status < 500 else "error"
