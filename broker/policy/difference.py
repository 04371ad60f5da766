"""What is different between two decisions on one exchange, and whether it gives more than before.

Two decisions are compared by their terms: of decisions that the floor has judged, or of documents
as the policies wrote them. Every way to differ has one ``Kind``, and what is the same on both sides
has none: ``find_differences(x, x)`` is empty.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from broker.domain import Deny, Permit
from broker.errors import Reason
from broker.oauth import Mode
from broker.policy.decision import DecisionMalformed, Refusal, read_decision


class Kind(StrEnum):
    """How one decision differs from another, as seen from the one before."""

    PERMITTED = "permitted"
    WIDER_SCOPES = "wider_scopes"
    MORE_TARGETS = "more_targets"
    LONGER_LIFE = "longer_life"
    LONGER_REUSE = "longer_reuse"
    DEEPER = "deeper"
    REENTRY = "reentry"
    MORE_CLAIMS = "more_claims"
    FEWER_OBLIGATIONS = "fewer_obligations"
    IMPERSONATION = "impersonation"
    FAILED = "failed"
    REFUSED = "refused"
    NARROWER_SCOPES = "narrower_scopes"
    FEWER_TARGETS = "fewer_targets"
    SHORTER_LIFE = "shorter_life"
    SHORTER_REUSE = "shorter_reuse"
    SHALLOWER = "shallower"
    NO_REENTRY = "no_reentry"
    FEWER_CLAIMS = "fewer_claims"
    MORE_OBLIGATIONS = "more_obligations"
    DELEGATION = "delegation"
    DERIVATION = "derivation"
    PURPOSE = "purpose"
    REASON = "reason"

    @property
    def widens(self) -> bool:
        """Whether somebody gets more than before, or under less."""
        return self in _WIDENING

    @property
    def breaks(self) -> bool:
        """Whether somebody gets nothing who got something."""
        return self in (Kind.REFUSED, Kind.FAILED)


_WIDENING: Final = frozenset(
    {
        Kind.PERMITTED,
        Kind.WIDER_SCOPES,
        Kind.MORE_TARGETS,
        Kind.LONGER_LIFE,
        Kind.LONGER_REUSE,
        Kind.DEEPER,
        Kind.REENTRY,
        Kind.MORE_CLAIMS,
        Kind.FEWER_OBLIGATIONS,
        Kind.IMPERSONATION,  # who acts is no longer in the token
    }
)
# What a policy does wrong, as against saying no.
_FAULTS: Final = frozenset(
    {
        Reason.POLICY_UNDEFINED,
        Reason.POLICY_MALFORMED,
        Reason.POLICY_FLOOR_VIOLATION,
        Reason.POLICY_FLOOR_VIOLATION_SCOPE,
    }
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a decision gives, or why nothing."""

    reason: Reason | None = None  # that is answered; None: it permits
    targets: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    derived: frozenset[tuple[str, str]] = frozenset()  # scope, and what it follows from
    lifetime: int = 0  # seconds
    reuse: int = 0  # seconds
    max_depth: int = 0  # exchanges
    mode: Mode | None = None
    reentry: bool = False
    purpose: str | None = None
    claims: frozenset[str] = frozenset()
    obligations: frozenset[str] = frozenset()

    @property
    def faulty(self) -> bool:
        """Whether the policy is at fault, and did not merely say no."""
        return self.reason in _FAULTS


def terms_of(decision: Permit | Deny) -> Terms:
    """Return the terms of a decision that the floor has judged: of the token as it would be."""
    if isinstance(decision, Deny):
        return Terms(reason=decision.reasons[0])
    return Terms(
        targets=frozenset(target.name for target in decision.targets),
        scopes=frozenset(decision.scopes),
        derived=frozenset((one.scope, one.source) for one in decision.derived),
        lifetime=int(decision.expires_at.timestamp()) - int(decision.exchange.at.timestamp()),
        reuse=int(decision.reuse.total_seconds()),
        max_depth=decision.max_depth,
        mode=decision.mode,
        purpose=decision.purpose,
        claims=frozenset(decision.claims),
        obligations=frozenset(decision.obligations),
    )


def read_terms(output: object) -> Terms:
    """Return the terms of a decision document that nobody has judged; None is undefined."""
    if output is None:
        return Terms(reason=Reason.POLICY_UNDEFINED)
    try:
        decision = read_decision(output)
    except DecisionMalformed:
        return Terms(reason=Reason.POLICY_MALFORMED)
    if isinstance(decision, Refusal):
        return Terms(reason=decision.reasons[0])
    return Terms(
        targets=frozenset(decision.targets),
        scopes=frozenset(decision.scopes),
        derived=frozenset((one.scope, one.source) for one in decision.derived),
        lifetime=decision.lifetime,
        reuse=decision.reuse,
        max_depth=decision.max_depth,
        mode=decision.mode,
        reentry=decision.reentry,
        purpose=decision.purpose,
        claims=frozenset(decision.claims),
        obligations=frozenset(decision.obligations),
    )


def compare_outputs(before: object, after: object) -> frozenset[Kind]:
    """Return how two decision documents differ, whatever they are."""
    return find_differences(read_terms(before), read_terms(after))


def find_differences(before: Terms, after: Terms) -> frozenset[Kind]:
    """Return how two decisions differ; nothing if they give the same for the same reason."""
    return frozenset(_differences(before, after))


def _differences(before: Terms, after: Terms) -> Iterator[Kind]:
    if before.reason is None and after.reason is None:
        yield from _between_permits(before, after)
    elif after.reason is None:
        yield Kind.PERMITTED
    elif before.reason is None:
        yield Kind.FAILED if after.faulty else Kind.REFUSED
    elif before.reason is not after.reason:
        yield Kind.REASON


def _between_permits(before: Terms, after: Terms) -> Iterator[Kind]:
    for more, less, old, new in (
        (Kind.MORE_TARGETS, Kind.FEWER_TARGETS, before.targets, after.targets),
        (Kind.WIDER_SCOPES, Kind.NARROWER_SCOPES, before.scopes, after.scopes),
        (Kind.MORE_CLAIMS, Kind.FEWER_CLAIMS, before.claims, after.claims),
        (
            *(Kind.MORE_OBLIGATIONS, Kind.FEWER_OBLIGATIONS),
            *(before.obligations, after.obligations),
        ),
    ):
        # Something else instead of what there was is both: more for one, less for another.
        if not new <= old:
            yield more
        if not old <= new:
            yield less
    for longer, shorter, was, now in (
        (Kind.LONGER_LIFE, Kind.SHORTER_LIFE, before.lifetime, after.lifetime),
        (Kind.LONGER_REUSE, Kind.SHORTER_REUSE, before.reuse, after.reuse),
        (Kind.DEEPER, Kind.SHALLOWER, before.max_depth, after.max_depth),
        (Kind.REENTRY, Kind.NO_REENTRY, before.reentry, after.reentry),
    ):
        if was != now:
            yield longer if now > was else shorter
    if before.mode is not after.mode:
        yield Kind.IMPERSONATION if after.mode is Mode.IMPERSONATION else Kind.DELEGATION
    if before.purpose != after.purpose:
        yield Kind.PURPOSE
    kept = before.scopes & after.scopes
    if _derived(before, kept) != _derived(after, kept):
        yield Kind.DERIVATION


def _derived(terms: Terms, scopes: frozenset[str]) -> set[tuple[str, str]]:
    return {(scope, source) for scope, source in terms.derived if scope in scopes}
