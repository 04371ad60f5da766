"""An explanation: everything that is told of one decision, as values and as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from broker.workbench.explain.case import Case
from broker.workbench.explain.concerns import Concern, OwnRules
from broker.workbench.explain.fates import Fate
from broker.workbench.explain.floor import FloorCheck
from broker.workbench.explain.limits import Limit
from broker.workbench.explain.rule import Rule
from broker.workbench.verdict import Verdict


class Agreement(StrEnum):
    """Whether ``opa eval`` and the engine decide the same."""

    SAME = "same"
    DIFFERENT = "different"
    NOT_COMPARED = "not_compared"  # the policy has no Rego at hand, so rules cannot be named


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one exchange is decided as it is, by one policy."""

    case: Case
    revision: str
    verdict: Verdict  # of the engine, with the floor after it
    agreement: Agreement
    decision: Any  # what the engine said, as it said it
    observed: Any  # what ``opa eval`` said; None also where it was not asked
    error: str  # of ``opa eval``, with file and line
    concerns: tuple[Concern, ...]
    scopes: tuple[Fate, ...]
    lifetime: tuple[Limit, ...]
    depth: tuple[Limit, ...]
    own: tuple[OwnRules, ...]
    floor: tuple[FloorCheck, ...]
    stopped: Rule | None  # ``allow`` of the decision, where it did not hold
    rules: tuple[Rule, ...]  # of every package that was looked into

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "asked": self._asked(),
            "policy": self.revision,
            "verdict": self.verdict.render(),
            "agreement": self.agreement.value,
            "decision": self.decision,
            **({} if self.agreement is not Agreement.DIFFERENT else {"observed": self.observed}),
            **({"error": self.error} if self.error else {}),
            "concerns": [each.render() for each in self.concerns],
            "scopes": [each.render() for each in self.scopes],
            "lifetime": [each.render() for each in self.lifetime],
            "depth": {
                "exchanges": self.case.exchange.delegation.depth,
                "limits": [each.render() for each in self.depth],
            },
            "own": [each.render() for each in self.own],
            "floor": [each.render() for each in self.floor],
            "stopped": None if self.stopped is None else self.stopped.render(),
            "rules": [each.render() for each in self.rules],
        }

    def _asked(self) -> Mapping[str, Any]:
        given = self.case.input
        return {
            "request_id": given["request"]["id"],
            "at": given["request"]["time"],
            "client": self.case.client,
            "targets": list(self.case.targets),
            "scopes": given["request"]["scopes"],
            "purpose": given["request"]["purpose"],
            "subject": {
                "issuer": given["subject"]["issuer"],
                "subject": given["subject"]["subject"],
                "scopes": given["subject"]["scopes"],
            },
            "acting": given["delegation"]["acting"],
            "chain": given["delegation"]["chain"],
        }
