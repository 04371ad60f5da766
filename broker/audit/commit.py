"""Step 6, commit: the only place where an ``IssuedToken`` is made.

What holds when one of these returns: the row is on disk, and so are the one-time claims that go
with it. Whoever is refused is answered after the row as well; only refusals before
authentication, or for asking too often, are counted instead, once their source has had its share
of rows.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from broker.audit.budget import RefusalBudget
from broker.audit.detect.alert import Alert, build_alert
from broker.audit.event import Event
from broker.audit.outcome import (
    build_administration,
    build_counted,
    build_issued,
    build_refused,
    build_reused,
)
from broker.audit.proxied import Label, build_fetched, build_hits
from broker.audit.queue import AlreadyClaimed, AuditUnavailable
from broker.audit.store import Claim
from broker.audit.vault import Vault
from broker.audit.writer import AuditWriter
from broker.domain import (
    Attempt,
    Fetched,
    IssuedToken,
    ProxyQuestion,
    Reference,
    ReusedToken,
    SignedToken,
    VerifiedToken,
)
from broker.errors import CommitRejected, Reason
from broker.replay import claim_key
from broker.telemetry import meter

_counted = meter.create_counter(
    "broker.audit.refusals.counted",
    unit="1",
    description="Refusals before authentication that were counted and got no row of their own.",
)

_CLAIM_KIND: Final = "token"
# What a client is refused as often as it likes, though it has authenticated: rows of these would
# come faster than the rate that they are about.
_AT_ANY_RATE: Final = frozenset(
    {
        Reason.INTROSPECTION_THROTTLED,
        *(Reason.LIMIT_CLIENT_RATE, Reason.LIMIT_CLIENT_DAILY, Reason.LIMIT_CLIENT_CONCURRENT),
        *(Reason.LIMIT_TARGET_RATE, Reason.LIMIT_TARGET_DAILY, Reason.LIMIT_TARGET_CONCURRENT),
    }
)


class AuditTrail:
    """What the rest of the broker knows of the audit trail. Everything here waits for its row."""

    def __init__(
        self,
        writer: AuditWriter,
        *,
        issuer: str,
        vault: Vault,
        clock: Callable[[], datetime],
        build_id: Callable[[], str],
        budget: RefusalBudget | None = None,
    ) -> None:
        self._writer = writer
        self._issuer = issuer
        self._vault = vault
        self._clock = clock
        self._build_id = build_id
        self._budget = budget or RefusalBudget()

    async def commit(self, attempt: Attempt, signed: SignedToken | ReusedToken) -> IssuedToken:
        """Return the token as one that may leave: its row and its claims are durable.

        So is what it stands for, if it is a reference. Of a token that leaves once more, it is the
        row of this request.

        Raises ``CommitRejected``: ``audit.unavailable``, or ``subject_token.replayed`` or
        ``actor_token.replayed`` where a one-time token was used meanwhile; that is recorded.
        """
        claims = dict(_claims(attempt))
        event, references = self._describe(attempt, signed)
        try:
            await self._append(event, [*claims.values()], references)
        except AlreadyClaimed as taken:
            reason = next(reason for reason, (key, _) in claims.items() if key in taken.keys)
            await self._refuse(attempt, reason)
            raise CommitRejected(reason) from taken
        return IssuedToken(signed)

    def _describe(
        self, attempt: Attempt, signed: SignedToken | ReusedToken
    ) -> tuple[Event, list[Reference]]:
        if isinstance(signed, ReusedToken):
            return build_reused(attempt, signed, issuer=self._issuer, vault=self._vault), []
        event = build_issued(attempt, signed, issuer=self._issuer, vault=self._vault)
        return event, [] if signed.reference is None else [signed.reference]

    async def refuse(self, attempt: Attempt, reason: Reason) -> None:
        """Return once the refusal is durable, or was counted.

        Raises ``CommitRejected``: ``audit.unavailable``.
        """
        costs_nothing = attempt.client is None or reason in _AT_ANY_RATE
        if costs_nothing and not self._budget.spend(attempt.source, reason, self._clock()):
            _counted.add(1)
            return
        await self._refuse(attempt, reason)

    def count_refusal(self, source: str, reason: Reason) -> None:
        """Count a refusal of what was not even read; once a minute the counts become a row."""
        self._budget.count(source, reason, self._clock())
        _counted.add(1)

    async def record_fetched(
        self, attempt: Attempt, question: ProxyQuestion, fetched: Fetched
    ) -> None:
        """Return once it is durable that an upstream gave this token: only then may it leave.

        Raises ``CommitRejected``: ``audit.unavailable``.
        """
        await self._append(
            build_fetched(
                *(attempt, question, fetched),
                id=self._build_id(),
                issuer=self._issuer,
                vault=self._vault,
            )
        )

    async def record_hits(self, hits: Mapping[Label, int], *, since: datetime) -> None:
        """Return once it is durable how often kept tokens were used.

        Raises ``CommitRejected``: ``audit.unavailable``.
        """
        await self._append(build_hits(hits, id=self._build_id(), since=since, until=self._clock()))

    async def record(
        self,
        action: str,
        details: Mapping[str, Any],
        *,
        by: str = "broker",
        personal: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 — the column's name
    ) -> None:
        """Return once it is durable that ``action`` was, or is about to be, done.

        ``personal`` is what of it identifies a person, so that it can be erased; ``id`` what the
        row is called, a new one by default.

        Raises ``CommitRejected``: ``audit.unavailable``.
        """
        await self._append(
            build_administration(
                action,
                details,
                id=id or self._build_id(),
                at=self._clock(),
                by=by,
                personal=personal,
                vault=self._vault,
            )
        )

    async def record_alert(self, alert: Alert) -> None:
        """Return once it is durable what a rule has found, under the alert's own id.

        Raises ``CommitRejected``: ``audit.unavailable``.
        """
        await self._append(build_alert(alert, at=self._clock()))

    async def run(self, stop: asyncio.Event) -> None:
        """Record the counted refusals once an interval, and a last time at the end.

        To be ended before the writer is, or the last of them are known to nobody.
        """
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._budget.per.total_seconds())
            await self.summarise()

    async def summarise(self) -> None:
        """Record what was counted up to now; while that is impossible, keep it."""
        counted = self._budget.take_counted()
        if counted is None:
            return
        event = build_counted(
            counted.counts,
            counted.sources,
            id=self._build_id(),
            since=counted.since,
            until=self._clock(),
            vault=self._vault,
        )
        try:
            await self._append(event)
        except CommitRejected:
            self._budget.put_back(counted)

    async def _refuse(self, attempt: Attempt, reason: Reason) -> None:
        event = build_refused(
            *(attempt, reason), id=self._build_id(), issuer=self._issuer, vault=self._vault
        )
        await self._append(event)

    async def _append(
        self, event: Event, claims: Sequence[Claim] = (), references: Sequence[Reference] = ()
    ) -> None:
        try:
            await self._writer.append(event, claims, references)
        except AuditUnavailable as error:
            raise CommitRejected(Reason.AUDIT_UNAVAILABLE) from error


def _claims(attempt: Attempt) -> Iterator[tuple[Reason, Claim]]:
    """Yield the claim of each one-time token that was presented, by the reason if it is taken."""
    for token, reason in (
        (attempt.subject, Reason.SUBJECT_TOKEN_REPLAYED),
        (attempt.actor, Reason.ACTOR_TOKEN_REPLAYED),
    ):
        if token is not None and token.one_time:
            yield reason, (_key(token), token.expires_at)


def _key(token: VerifiedToken) -> bytes:
    # Step 2 refuses a one-time token without ``jti``. By its issuer and id, never by a hash of
    # its text: one token has several accepted spellings.
    if token.jti is None:
        raise ValueError("a one-time token has no jti")
    return claim_key(_CLAIM_KIND, token.asserted_by, token.jti)
