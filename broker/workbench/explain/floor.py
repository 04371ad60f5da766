"""What the floor under the policy says: each of its invariants, in the order in which it looks."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from broker.errors import Reason
from broker.policy.floor import Invariant
from broker.workbench.verdict import Fault, Verdict

_MEANS: Final = {
    Invariant.SCOPE: "granted scopes were asked for, known, and held or derived",
    Invariant.LIFETIME: "no longer than any target allows",
    Invariant.CHAIN: "the subject's chain is there, with one actor more at most",
    Invariant.DEPTH: "within the subject's bound and the ceiling",
    Invariant.LOOP: "nobody comes back as an actor unless the decision says so",
    Invariant.MODE: "no impersonation with an actor token",
    Invariant.TARGET: "exactly the targets that were asked for",
    Invariant.CLAIMS: "only claims that every target lists",
    Invariant.PURPOSE: "the purpose that was asked for, or none",
    Invariant.OBLIGATIONS: "no obligation that the broker cannot meet",
    Invariant.REUSE: "no token is used again for longer than it lives",
}
_EXPIRED: Final = frozenset({Reason.SUBJECT_TOKEN_EXPIRED, Reason.ACTOR_TOKEN_EXPIRED})


class Finding(StrEnum):
    """What the floor says to one of its invariants."""

    HOLDS = "holds"
    BROKEN = "broken"
    NOT_ASKED = "not_asked"  # the policy has refused, and a refusal is believed


@dataclass(frozen=True, slots=True)
class FloorCheck:
    """One invariant."""

    invariant: Invariant
    finding: Finding
    means: str

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "invariant": self.invariant.value,
            "finding": self.finding.value,
            "means": self.means,
        }


def find_floor(verdict: Verdict) -> tuple[FloorCheck, ...]:
    """Return what the floor says to a verdict that it was part of."""
    broken = set(verdict.detail.split(", ")) if verdict.fault is Fault.FLOOR else set()
    # It looks at the ends of tokens last, so whoever gets that far has broken nothing.
    asked = verdict.allowed or bool(broken) or not _EXPIRED.isdisjoint(verdict.reasons)
    return tuple(
        FloorCheck(
            invariant,
            Finding.BROKEN
            if invariant.value in broken
            else Finding.HOLDS
            if asked
            else Finding.NOT_ASKED,
            _MEANS[invariant],
        )
        for invariant in Invariant
    )
