"""A refusal that the policy has no part in: it was not asked, or nothing came of its yes."""

from dataclasses import dataclass
from typing import Any, Final

from broker.errors import PUBLIC, Reason

# Which step refuses, by what stands before the dot of its reasons.
_STEPS: Final = {
    "request": "parse",
    "client": "authenticate",
    "subject_token": "verify",
    "actor_token": "verify",
    "issuer": "verify",
    "reference": "verify",
    "replay": "verify",
    "revocation": "verify",
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
    def step(self) -> str:
        """The step of the exchange that refuses."""
        return _STEPS.get(self.reason.value.partition(".")[0], "none of the steps")

    @property
    def description(self) -> str:
        """What the client was told."""
        return PUBLIC[self.reason].description

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"step": self.step, "reason": self.reason.value, "description": self.description}
