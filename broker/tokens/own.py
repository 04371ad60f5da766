"""Whether an access token of ours is good now, whoever asks about it. RFC 7662 §2.2, §4.

Introspection and revocation ask. A token is *active* if all of step 2 holds for it, except for
what is asked of a presenter, and neither it nor anything that it descends from was revoked.
"""

from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Final

from broker.blocklist.snapshot import BlocklistStale, Revocations, facts_of
from broker.domain import VerifiedToken
from broker.errors import Reason, VerificationRejected
from broker.tokens.refusal import Cause, TokenRefused
from broker.tokens.stand_in import StandIn
from broker.tokens.verify import TokenVerifier


class Inactive(StrEnum):
    """Why a token is not active; for counting, and never for whoever asks."""

    UNKNOWN = "unknown"  # malformed, forged, foreign, or forgotten
    OTHER_TYPE = "other_type"  # signed by us, and no access token
    OUT_OF_TIME = "out_of_time"
    REVOKED = "revoked"


_INACTIVE: Final = {
    Cause.TYPE_NOT_ACCEPTED: Inactive.OTHER_TYPE,
    Cause.EXPIRED: Inactive.OUT_OF_TIME,
    Cause.NOT_YET_VALID: Inactive.OUT_OF_TIME,
    Cause.TOO_OLD: Inactive.OUT_OF_TIME,
    Cause.CLIENT_UNKNOWN: Inactive.REVOKED,
}


class OwnTokens:
    """The access tokens of ours, JWT or reference, under one configuration."""

    def __init__(self, verifier: TokenVerifier, revocations: Revocations, *, issuer: str) -> None:
        """``issuer`` is our own."""
        self._verifier = verifier
        self._revocations = revocations
        self._issuer = issuer
        self._stand_in = StandIn(issuer)

    async def examine(self, unverified_token: str, *, now: datetime) -> VerifiedToken | Inactive:
        """Return the token, which is active; or why it is not.

        Raises ``VerificationRejected`` where that cannot be said: ``reference.unavailable``,
        ``revocation.unavailable``, or ``issuer.unavailable`` before our keys are loaded.
        """
        try:
            token = await self._verifier.verify_own(unverified_token, now=now)
            rule = self._revocations.current.find(facts_of(token, issuer=self._issuer))
        except BlocklistStale as stale:
            raise VerificationRejected(Reason.REVOCATION_UNAVAILABLE) from stale
        except TokenRefused as refused:
            if refused.cause is Cause.REFERENCE_UNKNOWN:
                await self._examine_stand_in()
            return _INACTIVE.get(refused.cause, Inactive.UNKNOWN)
        return token if rule is None else Inactive.REVOKED

    async def _examine_stand_in(self) -> None:
        """Do for a reference token that never was what is done for one that is revoked."""
        facts = await self._stand_in.verify()
        # What is unknown is unknown, also to who cannot say what was revoked.
        with suppress(BlocklistStale):
            self._revocations.current.find(facts)
