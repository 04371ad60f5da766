"""A refusal that the policy has no part in: it was not asked, or nothing came of its yes."""

from dataclasses import dataclass
from typing import Any, Final

from broker.errors import PUBLIC, Reason

# Which step refuses, by a reason or by what stands before its dot.
_STEPS: Final = {
    "request": "parse",
    "client": "authenticate",
    "subject_token": "verify",
    "actor_token": "verify",
    "issuer": "verify",
    "reference": "verify",
    "replay": "verify",
    "revocation.unavailable": "verify",
    "delegation": "delegate",
    "target": "decide",
    "scope": "decide",
    "policy": "decide",
    "mint": "mint",
    "audit": "commit",
}


@dataclass(frozen=True, slots=True)
class EarlyRefusal:
    """Why an exchange is refused before the policy could say anything."""

    reason: Reason

    @property
    def step(self) -> str | None:
        """The step of the exchange that refuses; None: a limit, or no step of an exchange."""
        return _STEPS.get(self.reason.value) or _STEPS.get(self.reason.value.partition(".")[0])

    @property
    def by(self) -> str:
        """What refuses, in words."""
        if self.step is None:
            return "a limit" if self.reason.value.startswith("limit.") else "the broker"
        return f"the step {self.step}"

    @property
    def description(self) -> str:
        """What the client was told."""
        return PUBLIC[self.reason].description

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"step": self.step, "reason": self.reason.value, "description": self.description}
