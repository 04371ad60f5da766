"""A service asks here for the token that it would get from its identity provider. RFC 6749 §4.4.

    parse → slow down who guesses → permit → find, or fetch once for all who wait → answer

What is fetched is recorded before anybody has it; what is found was, and is counted. Whoever is
refused here is recorded like who is refused before authentication, for only the upstream can tell
who it is: beyond a rate such refusals share a row. An upstream's own error is recorded once, by
the call that it answered, and handed on as it came.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

from broker.audit.commit import AuditTrail
from broker.clients.authenticate import Throttle
from broker.domain import Attempt
from broker.errors import AuthenticationRejected, ProxyRejected, Reason, Rejected
from broker.proxy.answer import Failure, Refusal
from broker.proxy.fetching import Fetching, throttled
from broker.proxy.flight import Grounded
from broker.proxy.key import derive_key
from broker.proxy.life import Moment
from broker.proxy.memory import Held, Memory, Outcome
from broker.proxy.permission import Permissions
from broker.proxy.request import ProxyRequest
from broker.proxy.upstream import UpstreamClient
from broker.settings import Upstream
from broker.telemetry import meter

_answers = meter.create_counter(
    "broker.proxy.answers",
    unit="1",
    description="Answers of the token proxy, by upstream and outcome: hit, shared, fetched,"
    " repeated, or the reason of the refusal.",
)

Parse = Callable[[Upstream], ProxyRequest]


@dataclass(frozen=True, slots=True)
class ProxyAnswer:
    """What is sent: a token with the life that it has left, or the upstream's own error."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class TokenProxy:
    """The use case over one configuration. The memory outlives it."""

    def __init__(
        self,
        upstreams: Mapping[str, UpstreamClient],
        *,
        permissions: Permissions,
        throttle: Throttle,
        trail: AuditTrail,
        memory: Memory,
    ) -> None:
        self.upstreams = upstreams
        self.permissions = permissions
        self._throttle = throttle
        self._trail = trail
        self._memory = memory
        self._fetching = Fetching(memory, throttle, trail)

    async def answer(self, attempt: Attempt, name: str, parse: Parse) -> ProxyAnswer:
        """Return what to send.

        Raises ``Rejected`` if it is not the upstream's to say; it is recorded by then, or counted.
        """
        upstream = self.upstreams.get(name)
        label = "unknown" if upstream is None else name
        try:
            if upstream is None:
                raise ProxyRejected(Reason.PROXY_UPSTREAM_UNKNOWN)
            request, key = await self._admit(attempt, upstream, parse)
        except Rejected as rejected:
            _count(label, rejected.reason)
            await self._trail.refuse(attempt, rejected.reason)
            raise
        except Exception:
            _count(label, Reason.SERVER_ERROR)
            await self._trail.refuse(attempt, Reason.SERVER_ERROR)
            raise
        return await self._find_or_fetch(attempt, upstream, request, key)

    async def _admit(
        self, attempt: Attempt, upstream: UpstreamClient, parse: Parse
    ) -> tuple[ProxyRequest, bytes]:
        """Return the request with its key, if such a token may be had here."""
        settings = upstream.settings
        request = parse(settings)
        question = attempt.proxied = request.question
        # Before anything is looked up: a guess that is right must be worth no more than another.
        wait = self._throttle.check(throttled(request), attempt.source, attempt.at)
        if wait is not None:
            raise AuthenticationRejected(Reason.CLIENT_THROTTLED, retry_after=wait)
        key = derive_key(self._memory.secret, upstream.parts_of(request))
        await self.permissions.require(attempt, key, question, settings)
        return request, key

    async def _find_or_fetch(
        self, attempt: Attempt, upstream: UpstreamClient, request: ProxyRequest, key: bytes
    ) -> ProxyAnswer:
        memory, name = self._memory, upstream.settings.name
        start = partial(self._fetching.fetch, attempt, upstream, request, key)
        now = memory.moment()
        held = memory.find_token(key, now)
        if held is not None:
            if not held.life.is_fresh(now) and held.renew_at <= now.monotonic:
                # With the credentials of this very request: there are no others.
                memory.flights.begin(key, start)
            return self._used(name, "hit", held, now)
        refusal = memory.find_refusal(key, now)
        if refusal is not None:
            _count(name, "repeated")
            return ProxyAnswer(refusal.status, refusal.body, refusal.headers)
        shared = memory.flights.has(key)
        try:
            outcome: Outcome = await memory.flights.join(key, start)
        except Grounded:
            outcome = Failure(Reason.PROXY_UPSTREAM_UNAVAILABLE)
        if not isinstance(outcome, Held):
            return _refuse(name, outcome)
        if shared or not outcome.fetched:
            return self._used(name, "shared", outcome, memory.moment())
        _count(name, "fetched")
        return _render(outcome, memory.moment())

    def _used(self, name: str, word: str, held: Held, now: Moment) -> ProxyAnswer:
        self._memory.hits.count(held.label)
        _count(name, word)
        return _render(held, now)


def _refuse(name: str, outcome: Refusal | Failure) -> ProxyAnswer:
    """Return the upstream's error, or raise what the broker says; the call is recorded."""
    if isinstance(outcome, Refusal):
        _count(name, Reason.PROXY_REFUSED_UPSTREAM)
        return ProxyAnswer(outcome.status, outcome.body, outcome.headers)
    _count(name, outcome.reason)
    raise ProxyRejected(outcome.reason, retry_after=outcome.retry_after)


def _render(held: Held, now: Moment) -> ProxyAnswer:
    remaining = held.life.remaining(now)
    return ProxyAnswer(200, held.token.render(remaining, held.life.elapsed(now)))


# A dictionary for each pair, made once: they are on the path of every answer. Closed sets both.
@lru_cache(maxsize=4096)
def _labels(upstream: str, outcome: str) -> dict[str, str]:
    return {"upstream": upstream, "outcome": outcome}


def _count(upstream: str, outcome: str) -> None:
    _answers.add(1, _labels(upstream, outcome))
