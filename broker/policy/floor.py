"""Step 4, decide: no decision is carried out that breaks an invariant, whatever Rego says.

The policy decides and can only narrow. So each of these is judged again here, on the decision,
with nothing but the exchange to compare with (invariants 1 to 5 and 7 of the design). The code
repeats the numbers:

(1) every scope was requested, or none was, and is known at every target; it is held by the
    subject, or follows from what is held, or from the identity of a subject without scopes;
(2) the token lives no longer than any target allows, nor than the tokens it was made from;
(3) the chain that the subject token had is there, complete, with at most one actor in front;
(4) this exchange is within the decision's bound, and that within the subject's and the ceiling;
(5) nobody comes back as an actor unless the decision says so in as many words;
(6) impersonation was not asked for with an actor token, which it would drop;
(7) the targets are exactly those that were requested;
(8) the claims are of every target's list, and none is one that the broker writes itself;
(9) the purpose is the one that was requested, or none;
(10) every obligation is one that the broker knows: what nobody understands, nobody meets;
(11) no token is used again for longer than one lives, and none that obliges to something.

A decision that breaks one is refused and not mended, for its author meant something else.
This is the only module that makes a ``Permit``.
"""

import logging
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from broker.domain import Deny, Derived, Evaluation, Exchange, Obligation, Permit
from broker.errors import Reason
from broker.oauth import RESERVED_CLAIMS, Mode
from broker.policy.decision import Allowance, DecisionMalformed, Refusal, read_decision
from broker.telemetry import meter

_log = logging.getLogger(__name__)
_violations = meter.create_counter(
    "broker.policy.floor_violations",
    unit="1",
    description="Decisions refused for the invariant that they would have broken.",
)
_unusable = meter.create_counter(
    "broker.policy.unusable_decisions",
    unit="1",
    description="Decisions that were undefined or malformed.",
)

# Where a derived scope comes from if its subject's issuer gives none. A word, not a scope.
IDENTITY: Final = "identity"
_OBLIGATIONS: Final = frozenset(obligation.value for obligation in Obligation)


class Invariant(StrEnum):
    """What a decision can break."""

    SCOPE = "scope"
    LIFETIME = "lifetime"
    CHAIN = "chain"
    DEPTH = "depth"
    LOOP = "loop"
    MODE = "mode"
    TARGET = "target"
    CLAIMS = "claims"
    PURPOSE = "purpose"
    OBLIGATIONS = "obligations"
    REUSE = "reuse"


def judge(exchange: Exchange, evaluation: Evaluation, *, ceiling: int) -> Permit | Deny:
    """Return the same as ``assess``; a policy that is at fault is logged and counted."""
    decision = assess(exchange, evaluation, ceiling=ceiling)
    if isinstance(decision, Deny):
        _report(decision, evaluation.revision)
    return decision


def assess(exchange: Exchange, evaluation: Evaluation, *, ceiling: int) -> Permit | Deny:
    """Return what the engine's answer amounts to; a ``Permit`` only within every invariant.

    ``ceiling`` is ``max_delegation_depth`` of the settings, in exchanges. A ``Deny`` is for the
    policy's own reasons, ``policy.undefined``, ``policy.malformed``, ``policy.floor_violation``
    (``…_scope`` if the scopes alone are at fault), or ``subject_token.expired`` or
    ``actor_token.expired`` if not a second of life is left.
    """
    if evaluation.output is None:
        return Deny((Reason.POLICY_UNDEFINED,), evaluation)
    try:
        decision = read_decision(evaluation.output)
    except DecisionMalformed:
        return Deny((Reason.POLICY_MALFORMED,), evaluation)
    if isinstance(decision, Refusal):
        return Deny(decision.reasons, evaluation)

    broken = _broken(exchange, decision, ceiling)
    if broken:
        return _violation(broken, evaluation)

    expires_at = _expires_at(exchange, decision.lifetime)
    if expires_at <= exchange.at:
        return Deny((_expired(exchange),), evaluation)
    subject, delegation = exchange.subject, exchange.delegation
    return Permit(
        exchange=exchange,
        evaluation=evaluation,
        targets=exchange.targets,
        scopes=tuple(sorted(decision.scopes)),
        derived=decision.derived,
        expires_at=expires_at,
        mode=decision.mode,
        chain=delegation.chain if decision.mode is Mode.DELEGATION else delegation.subject_chain,
        max_depth=decision.max_depth,
        purpose=decision.purpose,
        claims={name: subject.claims[name] for name in decision.claims if name in subject.claims},
        obligations=tuple(Obligation(name) for name in sorted(decision.obligations)),
        reuse=timedelta(seconds=decision.reuse),
    )


def _broken(exchange: Exchange, decision: Allowance, ceiling: int) -> tuple[Invariant, ...]:
    delegates = decision.mode is Mode.DELEGATION
    judged = (
        (Invariant.SCOPE, _scopes_hold(exchange, decision)),  # (1)
        (Invariant.LIFETIME, _lifetime_holds(exchange, decision)),  # (2)
        (Invariant.CHAIN, _chain_holds(exchange)),  # (3)
        (Invariant.DEPTH, _depth_holds(exchange, decision, ceiling)),  # (4)
        (Invariant.LOOP, not delegates or decision.reentry or not _reenters(exchange)),  # (5)
        (Invariant.MODE, delegates or not _has_actor_token(exchange)),  # (6)
        (Invariant.TARGET, _targets_hold(exchange, decision)),  # (7)
        (Invariant.CLAIMS, _claims_hold(exchange, decision)),  # (8)
        (Invariant.PURPOSE, decision.purpose in (None, exchange.request.purpose)),  # (9)
        (Invariant.OBLIGATIONS, _OBLIGATIONS.issuperset(decision.obligations)),  # (10)
        (Invariant.REUSE, _reuse_holds(decision)),  # (11)
    )
    return tuple(invariant for invariant, holds in judged if not holds)


def _scopes_hold(exchange: Exchange, decision: Allowance) -> bool:
    """Whether (1) holds. A token without scope would be one that nothing bounds: refused."""
    granted = set(decision.scopes)
    held = exchange.subject.scopes
    requested = exchange.scopes
    return (
        bool(granted)
        and (not requested or granted.issubset(requested))
        and all(granted <= target.scopes for target in exchange.targets)
        # What is named as derived and not granted, or from what is not there, is a false record.
        and all(
            derived.scope in granted and _follows(derived, exchange) for derived in decision.derived
        )
        and granted - held <= {derived.scope for derived in decision.derived}
    )


def _follows(derived: Derived, exchange: Exchange) -> bool:
    if derived.source == IDENTITY:
        return exchange.subject.scopeless
    return derived.source in exchange.subject.scopes


def _lifetime_holds(exchange: Exchange, decision: Allowance) -> bool:
    return all(
        decision.lifetime <= target.max_lifetime.total_seconds() for target in exchange.targets
    )


def _chain_holds(exchange: Exchange) -> bool:
    """Whether (3) holds, for either mode, of what step 3 made."""
    delegation, before = exchange.delegation, exchange.subject.chain
    return delegation.subject_chain == before and delegation.chain in (
        before,
        (delegation.acting, *before),
    )


def _depth_holds(exchange: Exchange, decision: Allowance, ceiling: int) -> bool:
    """Whether (4) holds. Never fewer exchanges than links, nor than there were before."""
    delegation, subject = exchange.delegation, exchange.subject
    limit = subject.max_delegation_depth
    return (
        delegation.depth <= decision.max_depth <= delegation.max_depth <= ceiling
        and (limit is None or decision.max_depth <= limit)
        and delegation.depth > subject.delegation_depth
        and delegation.depth >= len(delegation.chain)
    )


def _reenters(exchange: Exchange) -> bool:
    # As step 3 said, who knows every name of a client; and once more by what is plain to see.
    delegation, subject = exchange.delegation, exchange.subject
    return delegation.reenters or (
        delegation.chain != subject.chain
        and delegation.acting in (subject.principal, *subject.chain)
    )


def _targets_hold(exchange: Exchange, decision: Allowance) -> bool:
    # As a set, for the reader has refused repeats.
    names = {target.name for target in exchange.targets}
    return bool(names) and names == set(decision.targets)


def _claims_hold(exchange: Exchange, decision: Allowance) -> bool:
    return RESERVED_CLAIMS.isdisjoint(decision.claims) and all(
        set(decision.claims).issubset(target.claims) for target in exchange.targets
    )


def _reuse_holds(decision: Allowance) -> bool:
    # A token that is given again has no row of its own, and whoever should be told is not.
    return decision.reuse <= decision.lifetime and not (decision.reuse and decision.obligations)


def _has_actor_token(exchange: Exchange) -> bool:
    return exchange.actor is not None or exchange.delegation.actor_token


def _expires_at(exchange: Exchange, lifetime: int) -> datetime:
    """Return the end of (2) in whole seconds, rounded down: what is cut off is never life added."""
    ends = [int(exchange.at.timestamp()) + lifetime, exchange.subject.expires_at.timestamp()]
    if exchange.actor is not None:
        ends.append(exchange.actor.expires_at.timestamp())
    return datetime.fromtimestamp(int(min(ends)), UTC)


def _expired(exchange: Exchange) -> Reason:
    """Return which token has no second left: the one that ends first."""
    actor = exchange.actor
    if actor is not None and actor.expires_at < exchange.subject.expires_at:
        return Reason.ACTOR_TOKEN_EXPIRED
    return Reason.SUBJECT_TOKEN_EXPIRED


def _violation(broken: tuple[Invariant, ...], evaluation: Evaluation) -> Deny:
    reason = (
        Reason.POLICY_FLOOR_VIOLATION_SCOPE
        if broken == (Invariant.SCOPE,)
        else Reason.POLICY_FLOOR_VIOLATION
    )
    return Deny((reason,), evaluation, tuple(invariant.value for invariant in broken))


def _report(deny: Deny, revision: str) -> None:
    for invariant in deny.violations:
        _violations.add(1, {"invariant": invariant})
    if deny.violations:
        _log.error(
            "the policy's decision would have broken an invariant and is refused",
            extra={"invariants": [*deny.violations], "policy_revision": revision},
        )
    reason = deny.reasons[0]
    if reason in (Reason.POLICY_UNDEFINED, Reason.POLICY_MALFORMED):
        _unusable.add(1, {"reason": reason.value})
        _log.error(
            "the policy gave no usable decision",
            extra={"reason": reason.value, "policy_revision": revision},
        )
