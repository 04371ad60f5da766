"""Whether a token of ours is active, and what it says. RFC 7662.

    parse → identify the caller → its rate → examine the token → was it issued for the caller?

Answers are counted and not recorded; a caller that gets none is recorded like a refused exchange.
Whatever is not active for this caller looks alike: ``{"active": false}``, which is an answer and
never an error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from broker.audit.commit import AuditTrail
from broker.clients.authenticate import ClientAuthenticator
from broker.clients.request import TokenInquiry
from broker.domain import Attempt, Client, VerifiedToken
from broker.errors import IntrospectionRejected, Reason, Rejected
from broker.limits.callers import CallerLimit
from broker.oauth import TOKEN_USAGE_BEARER
from broker.telemetry import meter
from broker.tokens.own import Inactive, OwnTokens

_answers = meter.create_counter(
    "broker.introspection.answers",
    unit="1",
    description="Introspections by outcome: active, why not, or the reason of the refusal.",
)

_NOT_ACTIVE: Final[Mapping[str, Any]] = {"active": False}
_FOR_ANOTHER: Final = "for_another"
# Nothing can be recorded while the database is away, and waiting for that would only take longer.
_DATABASE_AWAY: Final = frozenset(
    {Reason.REPLAY_UNAVAILABLE, Reason.REFERENCE_UNAVAILABLE, Reason.REVOCATION_UNAVAILABLE}
)


@dataclass(frozen=True, slots=True)
class Introspection:
    """The use case over one configuration."""

    authenticator: ClientAuthenticator
    tokens: OwnTokens
    audiences: Mapping[str, str]  # the ``aud`` of each target, by its name
    limit: CallerLimit
    trail: AuditTrail

    async def introspect(
        self, attempt: Attempt, parse: Callable[[], TokenInquiry]
    ) -> Mapping[str, Any]:
        """Return the members of the answer. RFC 7662 §2.2.

        Raises ``Rejected`` if the caller gets none; it is recorded by then, or counted.
        """
        try:
            return await self._introspect(attempt, parse)
        except Rejected as rejected:
            await self._refuse(attempt, rejected.reason)
            raise
        except Exception:
            await self._refuse(attempt, Reason.SERVER_ERROR)
            raise

    async def _introspect(
        self, attempt: Attempt, parse: Callable[[], TokenInquiry]
    ) -> Mapping[str, Any]:
        inquiry = parse()
        client = attempt.client = await self.authenticator.identify(
            inquiry.credentials, source=attempt.source, now=attempt.at
        )
        wait = self.limit.spend(client.id, attempt.at)
        if wait is not None:
            raise IntrospectionRejected(Reason.INTROSPECTION_THROTTLED, retry_after=wait)
        found = await self.tokens.examine(inquiry.unverified_token, now=attempt.at)
        if isinstance(found, Inactive):
            _count(found.value)
            return _NOT_ACTIVE
        # The token of another resource server is nothing to this one (RFC 7662 §4).
        if not self._is_for(found, client):
            _count(_FOR_ANOTHER)
            return _NOT_ACTIVE
        _count("active")
        return build_answer(found)

    def _is_for(self, token: VerifiedToken, client: Client) -> bool:
        return any(self.audiences.get(name) in token.audiences for name in client.targets)

    async def _refuse(self, attempt: Attempt, reason: Reason) -> None:
        _count(reason.value)
        if reason not in _DATABASE_AWAY:
            await self.trail.refuse(attempt, reason)


def build_answer(token: VerifiedToken) -> dict[str, Any]:
    """Return everything that an active token says, at top level and as it says it.

    ``act``, ``may_act``, ``cnf``, ``txn`` and ``purpose`` among it (RFC 8693 §4). What is ours to
    say here comes last, so that no claim of the token is taken for it.
    """
    return {**token.claims, "active": True, "token_type": TOKEN_USAGE_BEARER}


def _count(outcome: str) -> None:
    _answers.add(1, {"outcome": outcome})
