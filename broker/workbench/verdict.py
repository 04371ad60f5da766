"""What becomes of an exchange under a policy: what is granted, or why nothing is."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from broker.domain import Deny, Derived, Permit
from broker.errors import Reason
from broker.oauth import Mode


class Fault(StrEnum):
    """What a policy does wrong, as against saying no."""

    UNDEFINED = "undefined"  # it has no answer
    MALFORMED = "malformed"  # an answer that is no decision
    FLOOR = "floor"  # a decision that breaks an invariant
    FAILED = "failed"  # it trapped, ran too long or used too much memory


_FAULTS = {
    Reason.POLICY_UNDEFINED: Fault.UNDEFINED,
    Reason.POLICY_MALFORMED: Fault.MALFORMED,
    Reason.POLICY_FLOOR_VIOLATION: Fault.FLOOR,
    Reason.POLICY_FLOOR_VIOLATION_SCOPE: Fault.FLOOR,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of steps 4 and, where the policy permits, of the floor."""

    allowed: bool = False
    reasons: tuple[Reason, ...] = ()  # the first is the one that is answered
    fault: Fault | None = None
    detail: str = ""  # of a fault: the invariants broken, or how it failed
    targets: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    derived: tuple[Derived, ...] = ()
    lifetime: int = 0  # seconds, of the token as it would be issued
    mode: Mode | None = None
    max_depth: int = 0
    purpose: str | None = None
    claims: tuple[str, ...] = ()
    obligations: tuple[str, ...] = ()

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        if not self.allowed:
            refused: dict[str, Any] = {
                "allow": False,
                "reasons": [reason.value for reason in self.reasons],
            }
            if self.fault is not None:
                refused |= {"fault": self.fault.value, "detail": self.detail}
            return refused
        return {
            "allow": True,
            "targets": list(self.targets),
            "scopes": list(self.scopes),
            "derived": [{"scope": each.scope, "from": each.source} for each in self.derived],
            "lifetime": self.lifetime,
            "mode": None if self.mode is None else self.mode.value,
            "max_depth": self.max_depth,
            "purpose": self.purpose,
            "claims": list(self.claims),
            "obligations": list(self.obligations),
        }


def verdict_of(decision: Permit | Deny) -> Verdict:
    """Return the verdict of a decision that the floor has judged."""
    if isinstance(decision, Deny):
        return Verdict(
            reasons=decision.reasons,
            fault=_FAULTS.get(decision.reasons[0]),
            detail=", ".join(decision.violations),
        )
    return Verdict(
        allowed=True,
        targets=tuple(target.name for target in decision.targets),
        scopes=decision.scopes,
        derived=decision.derived,
        lifetime=int(decision.expires_at.timestamp() - decision.exchange.at.timestamp()),
        mode=decision.mode,
        max_depth=decision.max_depth,
        purpose=decision.purpose,
        claims=tuple(decision.claims),
        obligations=decision.obligations,
    )
