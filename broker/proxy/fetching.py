"""One call to an upstream, for all who wait for it: fetch, record, keep. No row, no token."""

from dataclasses import dataclass
from typing import Final

from broker.audit.commit import AuditTrail
from broker.audit.proxied import Label
from broker.clients.authenticate import Throttle
from broker.domain import Attempt, Fetched, ProxyQuestion
from broker.errors import CommitRejected, Reason
from broker.proxy.answer import Failure, Refusal, UpstreamToken
from broker.proxy.life import Life, Moment
from broker.proxy.memory import Held, Memory, Outcome
from broker.proxy.request import ProxyRequest
from broker.proxy.upstream import UpstreamClient

# After a renewal that failed the next one waits so long; the token is served meanwhile.
RENEW_AGAIN: Final = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Fetching:
    """What every call does with its answer."""

    memory: Memory
    throttle: Throttle
    trail: AuditTrail

    async def fetch(
        self, attempt: Attempt, upstream: UpstreamClient, request: ProxyRequest, key: bytes
    ) -> Outcome:
        """Return what came of it; by then it is recorded, and kept if it is to be."""
        shared = await self._find_shared(upstream, request)
        if shared is not None:
            self.memory.keep(key, shared)
            return shared
        asked = self.memory.moment()
        answer = await upstream.ask(request)
        if isinstance(answer, UpstreamToken):
            return await self._hold(attempt, upstream, request, key, answer, asked)
        if isinstance(answer, Refusal):
            await self._repeat(upstream, request, key, answer)
        # An identity provider sees one address of ours, whoever guesses behind it.
        if answer.blames_client:
            self.throttle.failed(throttled(request), attempt.source, attempt.at)
        self._postpone(key)
        try:
            await self.trail.refuse(attempt, _reason(answer))
        except CommitRejected as rejected:
            return Failure(rejected.reason)
        return answer

    async def _hold(
        self,
        attempt: Attempt,
        upstream: UpstreamClient,
        request: ProxyRequest,
        key: bytes,
        token: UpstreamToken,
        asked: Moment,
    ) -> Outcome:
        question = request.question
        self.throttle.succeeded(throttled(request), attempt.source)
        granted = token.members.get("scope")
        scopes = tuple(granted.split()) if isinstance(granted, str) else question.scopes
        fetched = Fetched(request.credentials.method, scopes, token.expires_in, token.digest)
        try:
            await self.trail.record_fetched(attempt, question, fetched)
        except CommitRejected as rejected:
            self._postpone(key)
            return Failure(rejected.reason)
        life = Life.build(asked, token.expires_in or 0, margin=upstream.settings.margin)
        held = Held(token, life, label_of(question))
        if token.expires_in is not None:
            self.memory.keep(key, held)
            if self.memory.shared is not None:
                now = self.memory.moment()
                await self.memory.shared.keep(upstream.parts_of(request), token, life, now)
        return held

    async def _find_shared(self, upstream: UpstreamClient, request: ProxyRequest) -> Held | None:
        """Return a token that another process has fetched; it has its row by that one."""
        if self.memory.shared is None:
            return None
        found = await self.memory.shared.find(
            upstream.parts_of(request), self.memory.moment(), margin=upstream.settings.margin
        )
        if found is None:
            return None
        return Held(*found, label_of(request.question), fetched=False)

    async def _repeat(
        self, upstream: UpstreamClient, request: ProxyRequest, key: bytes, refusal: Refusal
    ) -> None:
        self.memory.repeat(key, refusal, self.memory.moment())
        if refusal.is_final and self.memory.shared is not None:
            await self.memory.shared.drop(upstream.parts_of(request))

    def _postpone(self, key: bytes) -> None:
        """Let what is kept be, for a moment, if it is still there: it was not renewed."""
        held = self.memory.tokens.find(key)
        if held is not None:
            held.renew_at = self.memory.moment().monotonic + RENEW_AGAIN


def _reason(answer: Refusal | Failure) -> Reason:
    return answer.reason if isinstance(answer, Failure) else Reason.PROXY_REFUSED_UPSTREAM


def label_of(question: ProxyQuestion) -> Label:
    """Return what uses of a token are counted under."""
    return question.upstream, question.unverified_client_id, " ".join(question.scopes)


def throttled(request: ProxyRequest) -> str:
    """Return whom failures are counted for. No id of a client of ours has a slash."""
    return f"{request.question.upstream}/{request.question.unverified_client_id}"
