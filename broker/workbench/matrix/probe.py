"""Asking a policy very often: one exchange is supposed, and varied in what is tried.

What holds of every answer: it is that of ``suppose`` and ``Candidate.judge`` on the same question,
by the same guest and floor. Only what does not change is not made again each time.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Any, Final

import orjson

from broker.domain import Deny, Exchange, Target
from broker.errors import Reason, Rejected
from broker.oauth import TokenType
from broker.policy.engine import PolicyUnavailable
from broker.policy.floor import assess
from broker.policy.input import build_input
from broker.settings import Settings, TrustedIssuer
from broker.workbench.candidate import Candidate
from broker.workbench.matrix.answer import Decision, Failed
from broker.workbench.matrix.circumstances import Circumstance
from broker.workbench.presented import find_refusal
from broker.workbench.question import Question, SupposedToken
from broker.workbench.suppose import find_client, suppose

SUBJECT: Final = "somebody"  # whom no policy knows
MOST: Final = 5_000_000  # evaluations
MOST_FAILURES: Final = 200
PLACEHOLDER: Final = "supposed"  # of a claim that must be there, and of which nothing is known
_SCOPE: Final = "scope"  # any at all, to have the claim there


class Spent(Exception):  # noqa: N818 — an end, not an error
    """No more is asked; the text says why."""


class Budget:
    """How often a policy may be asked, and how often it was."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.used = 0
        self.failures = 0

    def spend(self) -> None:
        """Count one evaluation. Raises ``Spent``."""
        if self.used >= self.most:
            raise Spent(f"after {self.most:,} evaluations")
        if self.failures >= MOST_FAILURES:
            raise Spent(f"after the policy had failed {self.failures} times")
        self.used += 1


class Prober:
    """Asks for one client, on behalf of subjects of one issuer, in one circumstance."""

    def __init__(
        self,
        candidate: Candidate,
        settings: Settings,
        budget: Budget,
        exchange: Exchange,
        targets: Iterable[Target],
        *,
        needs_scope: bool,
    ) -> None:
        """``needs_scope``: the issuer requires the claim with the scopes."""
        self._candidate = candidate
        self._ceiling = settings.max_delegation_depth
        self._budget = budget
        self._exchange = exchange
        self._needs_scope = needs_scope
        self._document = build_input(exchange)
        self._targets = {target.name: target for target in targets}
        self._shown = {
            name: build_input(replace(exchange, targets=(target,)))["request"]["targets"]
            for name, target in self._targets.items()
        }

    def ask(
        self, target: str, scopes: tuple[str, ...], holds: frozenset[str], purpose: str | None
    ) -> Decision:
        """Return the decision, judged. Raises ``Spent``."""
        if self._needs_scope and not holds:
            return Deny((Reason.SUBJECT_TOKEN_CLAIM_MISSING,))
        self._budget.spend()
        asked = orjson.dumps(self._vary(target, scopes, holds, purpose))
        try:
            evaluation = self._candidate.evaluate(asked)
        except PolicyUnavailable as unavailable:
            self._budget.failures += 1
            return Failed(str(unavailable))
        output = evaluation.output
        exchange = self._exchange
        if not (isinstance(output, dict) and output.get("allow") is False):
            # The floor compares what is given with what was asked; a refusal gives nothing.
            exchange = self._suppose(target, scopes, holds, purpose)
        return assess(exchange, evaluation, ceiling=self._ceiling)

    def _vary(
        self, target: str, scopes: tuple[str, ...], holds: frozenset[str], purpose: str | None
    ) -> dict[str, Any]:
        document = self._document
        request = document["request"] | {
            "audiences": [target],
            "targets": self._shown[target],
            "scopes": list(scopes),
            "purpose": purpose,
        }
        subject = document["subject"] | {"scopes": _render_names(holds)}
        return document | {"request": request, "subject": subject}

    def _suppose(
        self, target: str, scopes: tuple[str, ...], holds: frozenset[str], purpose: str | None
    ) -> Exchange:
        exchange = self._exchange
        request = replace(
            exchange.request, audiences=(target,), scope=" ".join(scopes) or None, purpose=purpose
        )
        return replace(
            exchange,
            request=request,
            subject=replace(exchange.subject, scopes=holds),
            targets=(self._targets[target],),
            scopes=scopes,
        )


@lru_cache(maxsize=4096)
def _render_names(names: frozenset[str]) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps(sorted(names)))


def suppose_subject(
    issuer: TrustedIssuer, circumstance: Circumstance, settings: Settings, subject: str
) -> SupposedToken:
    """Return a first token of this issuer, which outlives whatever is made of it."""
    longest = max((one.max_lifetime for one in settings.targets), default=timedelta())
    missing = dict.fromkeys(assume(issuer, circumstance), PLACEHOLDER)
    accepted = issuer.token_types
    return SupposedToken(
        issuer=issuer.alias,
        subject=subject,
        token_type=TokenType.ACCESS_TOKEN if TokenType.ACCESS_TOKEN in accepted else accepted[0],
        life=longest + timedelta(days=1),
        claims={**missing, **circumstance.claims},
    )


def assume(issuer: TrustedIssuer, circumstance: Circumstance) -> tuple[str, ...]:
    """Return the claims that this issuer's tokens must have, and of which nothing was declared."""
    given = {"iss", "sub", "aud", "iat", "exp", "nbf", "jti", issuer.scope_claim}
    given |= {issuer.client_claim, *circumstance.claims}
    return tuple(name for name in issuer.require if name not in given)


def open_prober(
    candidate: Candidate,
    settings: Settings,
    budget: Budget,
    *,
    client: str,
    token: SupposedToken,
    circumstance: Circumstance,
    targets: Iterable[Target],
) -> Prober | Reason:
    """Return what asks for this client with that token in hand.

    A ``Reason`` if whatever it asks for is refused before the policy is asked. Raises
    ``ConfigurationError`` for a client or an issuer that is not configured.
    """
    configured = find_client(client, settings)
    if not configured.grant_types:
        return Reason.CLIENT_GRANT_TYPE_NOT_ALLOWED
    found = tuple(targets)
    if not found:
        return Reason.TARGET_MISSING
    question = Question(
        client=client,
        subject=token if token.scopes else replace(token, scopes=frozenset({_SCOPE})),
        at=circumstance.at,
        audiences=(found[0].name,),
        source=circumstance.source,
    )
    refused = find_refusal(question, settings)
    if refused is not None:
        return refused.reason
    bare = replace(question, subject=replace(token, scopes=frozenset()))
    try:
        exchange = suppose(question, settings)
    except Rejected as rejected:
        return rejected.reason
    return Prober(
        candidate,
        settings,
        budget,
        exchange,
        found,
        needs_scope=find_refusal(bare, settings) is not None,
    )
