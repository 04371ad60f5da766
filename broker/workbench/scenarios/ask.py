"""Asking a policy what scenarios ask, step by step, with the pipeline's own checks around it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import orjson

from broker.errors import Reason, Rejected
from broker.policy.input import build_input
from broker.settings import Settings
from broker.workbench.candidate import Candidate
from broker.workbench.onward import token_of
from broker.workbench.presented import find_refusal
from broker.workbench.question import Question, SupposedToken
from broker.workbench.scenarios.answer import (
    Answer,
    Difference,
    answer_of,
    compare,
    refused_by,
)
from broker.workbench.scenarios.scenario import (
    Request,
    Scenario,
    ScenarioFile,
    asked_in_words,
)
from broker.workbench.suppose import find_client, suppose


@dataclass(frozen=True, slots=True)
class Asked:
    """One step as it was asked, and what came out."""

    request: Request
    answer: Answer
    differences: tuple[Difference, ...]
    sentence: str  # what was asked, in words
    line: int
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one scenario: every step up to the first that came out otherwise."""

    path: Path
    title: str
    scenario: Scenario
    steps: tuple[Asked, ...]

    @property
    def passed(self) -> bool:
        """Whether everything came out as it must."""
        return not any(step.differences for step in self.steps)


def ask_file(file: ScenarioFile, candidate: Candidate, text: str = "") -> Iterator[Outcome]:
    """Yield what becomes of each scenario whose file or heading has ``text`` in it."""
    wanted = text.casefold()
    for scenario in file.scenarios:
        if wanted in f"{file.path} {file.title} {scenario.name}".casefold():
            steps = tuple(_ask(scenario, file.settings, candidate))
            yield Outcome(file.path, file.title, scenario, steps)


def _ask(scenario: Scenario, settings: Settings, candidate: Candidate) -> Iterator[Asked]:
    subject = scenario.subject
    at: datetime | None = None
    for place, step in enumerate(scenario.steps):
        request = step.request
        if at is not None:
            # The clock goes on from the step before: each token is older by then.
            at += step.after
            request = replace(request, at=at)
        answer = ask(request.with_subject(subject), settings, candidate)
        differences = compare(answer, step.then, request.scopes, settings)
        yield Asked(
            request,
            answer,
            differences,
            asked_in_words(request, subject, settings),
            step.line,
            tuple(_hints(request, subject, settings)) if differences else (),
        )
        if differences or answer.permit is None:
            return
        at = request.at
        if place + 1 < len(scenario.steps):
            subject = token_of(answer.permit, scenario.steps[place + 1].after)


def ask(question: Question, settings: Settings, candidate: Candidate) -> Answer:
    """Return what would come out of an exchange, by all that the pipeline asks before it signs.

    Raises ``ConfigurationError`` for a client or issuer that is not configured.
    """
    if not find_client(question.client, settings).grant_types:
        return refused_by(Reason.CLIENT_GRANT_TYPE_NOT_ALLOWED)
    refused = find_refusal(question, settings)
    if refused is not None:
        return refused_by(refused.reason)
    try:
        exchange = suppose(question, settings)
    except Rejected as rejected:
        return refused_by(rejected.reason)
    return answer_of(candidate.judge(exchange, orjson.dumps(build_input(exchange))))


def _hints(request: Request, subject: SupposedToken, settings: Settings) -> Iterator[str]:
    """Yield what often explains a difference: claims that the policy never got to see."""
    issuers = {each.issuer: each for each in settings.issuers}
    for token in (subject, request.actor):
        issuer = None if token is None else issuers.get(token.issuer)
        if token is None or issuer is None:
            continue
        unseen = sorted(set(token.claims) - set(issuer.policy_claims))
        if unseen:
            yield f"policy_claims of {issuer.alias} do not name {', '.join(unseen)}"
