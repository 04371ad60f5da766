"""The token exchange, in the order in which it happens. RFC 8693 §2.

    0 parse → 1 authenticate → 2 verify → 3 delegate → 4 decide → 5 mint → 6 commit (→ 7 respond)

Each step takes what the one before it made, and there is no other way to make it, so none can be
left out. But for ``mint``, where the grant says that a token may be given out again: that one has
been through it. A refusal is recorded like a token: before it is answered.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from broker.audit.commit import AuditTrail
from broker.blocklist.snapshot import BlocklistStale, Revocations, facts_of
from broker.clients.authenticate import ClientAuthenticator
from broker.domain import (
    Attempt,
    Deny,
    Exchange,
    IssuedToken,
    Permit,
    SignedToken,
    TokenExchangeRequest,
    VerifiedToken,
)
from broker.errors import (
    CommitRejected,
    DecisionRejected,
    MintRejected,
    Reason,
    Rejected,
    VerificationRejected,
)
from broker.exchange.obligations import meet_obligations
from broker.exchange.reuse import TokenReuse
from broker.jose.sign import CannotSign
from broker.limits.quotas import Hold, QuotaLimits
from broker.limits.turns import Turns
from broker.minting.mint import SigningKeys, mint
from broker.policy.engine import PolicyUnavailable
from broker.policy.rollout import Decider
from broker.policy.scopes import split_scope
from broker.policy.targets import TargetRegistry
from broker.telemetry import count_outcome, step
from broker.tokens.delegation import delegate
from broker.tokens.verify import TokenVerifier

# How long a token on the network may take to sign, what waits before it included.
_SIGN_WITHIN: Final = timedelta(seconds=1)
_DATABASE_AWAY: Final = frozenset(
    {Reason.REPLAY_UNAVAILABLE, Reason.REFERENCE_UNAVAILABLE, Reason.REVOCATION_UNAVAILABLE}
)


@dataclass(frozen=True, slots=True)
class TokenExchange:
    """The pipeline over one configuration; a reload makes another, and none is ever half new."""

    issuer: str
    authenticator: ClientAuthenticator
    verifier: TokenVerifier
    revocations: Revocations
    targets: TargetRegistry
    decider: Decider
    signing_keys: SigningKeys
    trail: AuditTrail
    reuse: TokenReuse
    quotas: QuotaLimits
    turns: Turns
    ceiling: int  # exchanges: the settings' ``max_delegation_depth``
    clock: Callable[[], datetime]
    build_id: Callable[[], str]  # UUIDv7: the ``jti`` and the id of the audit row

    async def exchange(
        self, attempt: Attempt, parse: Callable[[], TokenExchangeRequest]
    ) -> IssuedToken:
        """Return a narrower token whose audit row is durable.

        ``attempt`` gathers what becomes known on the way. Raises ``Rejected`` with the one reason
        that is answered; it is recorded by then, or the reason is ``audit.unavailable``.
        """
        try:
            with self.quotas.hold() as hold:
                issued = await self._exchange(attempt, parse, hold)
        except CommitRejected as rejected:
            # The trail has recorded what became of it, or the trail is what is missing.
            count_outcome(rejected.reason)
            raise
        except Rejected as rejected:
            await self._refuse(attempt, rejected.reason)
            raise
        except Exception:
            await self._refuse(attempt, Reason.SERVER_ERROR)
            raise
        count_outcome("issued")
        return issued

    async def _exchange(
        self, attempt: Attempt, parse: Callable[[], TokenExchangeRequest], hold: Hold
    ) -> IssuedToken:
        now, began = attempt.at, self.reuse.look()
        with step("parse"):
            request = attempt.request = parse()
        with step("authenticate"):
            client = attempt.client = await self.authenticator.authenticate(
                request.credentials, source=request.source, now=now
            )
            await hold.client(client.id, now)
        # What costs most comes now: whoever sends much waits for its own requests.
        await self.turns.wait(client.id)
        with step("verify"):
            subject = attempt.subject = await self.verifier.verify_subject(request, client, now=now)
            self._check_revoked(attempt, subject, Reason.SUBJECT_TOKEN_REVOKED)
            actor = attempt.actor = await self.verifier.verify_actor(request, client, now=now)
            if actor is not None:
                self._check_revoked(attempt, actor, Reason.ACTOR_TOKEN_REVOKED)
        with step("delegate"):
            delegation = attempt.delegation = delegate(subject, actor, client, ceiling=self.ceiling)
        with step("decide"):
            exchange = attempt.exchange = Exchange(
                request=request,
                at=now,
                client=client,
                subject=subject,
                actor=actor,
                delegation=delegation,
                targets=self.targets.find(request, client),
                scopes=split_scope(request.scope),
            )
            await hold.targets(client.id, [target.name for target in exchange.targets], now)
            permit = await self._decide(attempt, exchange)
        issue = partial(self._issue, attempt, permit)
        given = (
            await self.reuse.find_or_issue(permit, began, issue) if permit.reuse else await issue()
        )
        if isinstance(given, IssuedToken):
            return given
        with step("commit"):
            return await self.trail.commit(attempt, given)

    async def _issue(self, attempt: Attempt, permit: Permit) -> IssuedToken:
        with step("mint"):
            signed = await self._mint(permit, attempt.at)
        with step("commit"):
            issued = await self.trail.commit(attempt, signed)
        meet_obligations(signed)
        return issued

    def _check_revoked(self, attempt: Attempt, token: VerifiedToken, reason: Reason) -> None:
        """Refuse a token that was revoked, or that descends from what was (invariant 10)."""
        try:
            rule = self.revocations.current.find(facts_of(token, issuer=self.issuer))
        except BlocklistStale as stale:
            raise VerificationRejected(Reason.REVOCATION_UNAVAILABLE) from stale
        if rule is not None:
            attempt.revocation = rule.seq
            raise VerificationRejected(reason)

    async def _decide(self, attempt: Attempt, exchange: Exchange) -> Permit:
        try:
            decision = await self.decider.decide(exchange)
        except PolicyUnavailable as unavailable:
            raise DecisionRejected(Reason.POLICY_UNAVAILABLE) from unavailable
        # Of whichever policy has decided: the row names it.
        attempt.evaluation = decision.evaluation
        if isinstance(decision, Deny):
            attempt.deny = decision
            raise DecisionRejected(decision.reasons[0])
        return decision

    async def _mint(self, permit: Permit, now: datetime) -> SignedToken:
        keys, executor = self.signing_keys, self.signing_keys.executor
        make = partial(mint, permit, keys, issuer=self.issuer, id=self.build_id(), now=now)
        try:
            if executor is None:
                return make()
            # A token may take milliseconds or hang, and no other request waits for that.
            async with asyncio.timeout(_SIGN_WITHIN.total_seconds()):
                return await asyncio.get_running_loop().run_in_executor(executor, make)
        except (CannotSign, TimeoutError) as error:
            raise MintRejected(Reason.MINT_KEY_UNAVAILABLE) from error

    async def _refuse(self, attempt: Attempt, reason: Reason) -> None:
        count_outcome(reason)
        # Where the database is what failed there is nothing to record with: the answer is a 503
        # already, and waiting for it a second time would only make the caller wait twice.
        if reason not in _DATABASE_AWAY:
            await self.trail.refuse(attempt, reason)
