"""All scenarios of a policy, asked of one compiled bundle."""

from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from broker.policy.bundle import Bundle
from broker.workbench.candidate import Candidate
from broker.workbench.scenarios.ask import Outcome, ask_file
from broker.workbench.scenarios.reach import Reach, measure_reach
from broker.workbench.scenarios.scenario import ScenarioFile


@dataclass(frozen=True, slots=True)
class ScenarioTests:
    """What became of all scenarios."""

    outcomes: tuple[Outcome, ...] = ()
    reach: Reach | None = None  # None: only some were asked, which says nothing of the others

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Those in which something came out otherwise."""
        return tuple(outcome for outcome in self.outcomes if not outcome.passed)

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        document: dict[str, Any] = {
            "passed": len(self.outcomes) - len(self.failed),
            "failed": len(self.failed),
            "scenarios": [_outcome(each) for each in self.outcomes],
        }
        if self.reach is not None:
            document["grants"] = {
                "cells": self.reach.cells,
                "touched": self.reach.touched,
                "untouched": [
                    {"client": each.client, "target": each.target, "scopes": list(each.scopes)}
                    for each in self.reach.untouched
                ],
            }
        return document


def ask_all(files: Iterable[ScenarioFile], bundle: Bundle, text: str = "") -> ScenarioTests:
    """Return what becomes of every scenario whose file or heading has ``text`` in it."""
    outcomes: list[Outcome] = []
    with ExitStack() as opened:
        candidates: dict[int, Candidate] = {}
        for file in files:
            ceiling = file.settings.max_delegation_depth
            if ceiling not in candidates:
                made = Candidate(bundle, ceiling=ceiling)
                candidates[ceiling] = opened.enter_context(closing(made))
            outcomes += ask_file(file, candidates[ceiling], text)
    reach = None if text else measure_reach(bundle.data, outcomes)
    return ScenarioTests(tuple(outcomes), reach)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    document: dict[str, Any] = {
        "file": str(outcome.path),
        "line": outcome.scenario.line,
        "name": outcome.scenario.name,
        "passed": outcome.passed,
        "steps": [step.answer.verdict.render() for step in outcome.steps],
    }
    if not outcome.passed:
        step = outcome.steps[-1]
        document |= {
            "failed_at": step.line,
            "asked": step.sentence,
            "differences": [
                {"expected": each.expected, "got": each.got} for each in step.differences
            ],
            "hints": list(step.hints),
        }
    return document
