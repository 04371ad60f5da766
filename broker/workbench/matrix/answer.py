"""What a policy answers to a probe."""

from dataclasses import dataclass

from broker.domain import Deny, Permit
from broker.errors import Reason


@dataclass(frozen=True, slots=True)
class Failed:
    """Stands for a decision where the policy gave none: it trapped, was late, or took too much."""

    why: str
    reasons: tuple[Reason, ...] = (Reason.POLICY_UNAVAILABLE,)


Decision = Permit | Deny | Failed
