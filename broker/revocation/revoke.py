"""A client revokes a token that was issued to it. RFC 7009.

    parse → authenticate the client → examine the token → is it the client's? → revoke → refresh

What holds when ``revoke_token`` returns: if the token was active, it and whatever descends from it
are refused by this process from now on, and by every other one within the bound of the ledger. The
row in the audit trail is durable. If any of that cannot be had the client is told to try again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from broker.audit.commit import AuditTrail
from broker.blocklist.revoke import revoke
from broker.blocklist.rule import Scope
from broker.blocklist.store import Ledger, LedgerUnavailable
from broker.clients.authenticate import ClientAuthenticator
from broker.clients.request import TokenInquiry
from broker.domain import Attempt, Client, VerifiedToken
from broker.errors import CommitRejected, Reason, Rejected, RevocationRejected
from broker.telemetry import meter
from broker.tokens.own import Inactive, OwnTokens

_outcomes = meter.create_counter(
    "broker.revocation.outcomes",
    unit="1",
    description="Revocations by clients, by outcome: revoked, not_active, or the reason.",
)

_REASON: Final = "revoked by the client that it was issued to"
_DATABASE_AWAY: Final = frozenset(
    {Reason.REPLAY_UNAVAILABLE, Reason.REFERENCE_UNAVAILABLE, Reason.REVOCATION_UNAVAILABLE}
)


class Feed(Protocol):
    """What keeps the snapshot of this process."""

    async def refresh(self) -> None:
        """Take over what is new in the ledger. Raises ``LedgerUnavailable``."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """The use case over one configuration."""

    issuer: str
    authenticator: ClientAuthenticator
    tokens: OwnTokens
    ledger: Ledger
    feed: Feed
    trail: AuditTrail

    async def revoke_token(self, attempt: Attempt, parse: Callable[[], TokenInquiry]) -> None:
        """Return once the token is not active, whether or not it was. RFC 7009 §2.2.

        Raises ``Rejected``; it is recorded by then, or there is nothing to record with.
        """
        try:
            outcome = await self._revoke(attempt, parse)
        except CommitRejected as rejected:
            _count(rejected.reason.value)  # the trail is what is missing
            raise
        except Rejected as rejected:
            await self._refuse(attempt, rejected.reason)
            raise
        except Exception:
            await self._refuse(attempt, Reason.SERVER_ERROR)
            raise
        _count(outcome)

    async def _revoke(self, attempt: Attempt, parse: Callable[[], TokenInquiry]) -> str:
        inquiry = parse()
        client = attempt.client = await self.authenticator.identify(
            inquiry.credentials, source=attempt.source, now=attempt.at
        )
        found = await self.tokens.examine(inquiry.unverified_token, now=attempt.at)
        if found is Inactive.OTHER_TYPE:
            raise RevocationRejected(Reason.REVOCATION_TOKEN_TYPE_UNSUPPORTED)
        # There is nothing to do, and nothing to learn from being told so: RFC 7009 §2.2.
        if isinstance(found, Inactive):
            return "not_active"
        if found.client_id != client.id:
            raise RevocationRejected(Reason.REVOCATION_NOT_OF_CLIENT)
        await self._append(found, client, attempt.at)
        return "revoked"

    async def _append(self, token: VerifiedToken, client: Client, now: datetime) -> None:
        if token.jti is None:  # not possible: step 2 requires it of tokens of ours
            raise RevocationRejected(Reason.SERVER_ERROR)
        try:
            await revoke(
                self.ledger,
                self.trail,
                Scope.JTI,
                issuer=self.issuer,
                key=token.jti,
                reason=_REASON,
                by=f"client:{client.id}",
                now=now,
            )
            # The client may rely on it as soon as it is answered (RFC 7009 §2.1).
            await self.feed.refresh()
        except LedgerUnavailable as error:
            raise RevocationRejected(Reason.REVOCATION_UNAVAILABLE) from error

    async def _refuse(self, attempt: Attempt, reason: Reason) -> None:
        _count(reason.value)
        if reason not in _DATABASE_AWAY:
            await self.trail.refuse(attempt, reason)


def _count(outcome: str) -> None:
    _outcomes.add(1, {"outcome": outcome})
