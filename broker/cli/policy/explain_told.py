"""Everything that is told of one request, whoever it is told to."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from broker.cli.policy.explain_asked import Asked
from broker.cli.policy.explain_trail import Found
from broker.errors import Reason, Rejected
from broker.workbench.explain.case import Case, case_of, read_case
from broker.workbench.explain.client import ClientAnswer, Sent, answer_client, answer_refused
from broker.workbench.explain.explanation import Explanation
from broker.workbench.explain.policy import ExplainedPolicy, open_archive, open_policy
from broker.workbench.explain.record import Recorded, Since, compare_with_record
from broker.workbench.explain.refusal import EarlyRefusal
from broker.workbench.explain.why_not import WhyNot, explain_absence, explain_early
from broker.workbench.presented import find_refusal
from broker.workbench.replay.past import Past
from broker.workbench.suppose import suppose


@dataclass(frozen=True, slots=True)
class Told:
    """Everything that is told of one request."""

    folder: Path
    sent: Sent
    early: EarlyRefusal | None = None
    explanation: Explanation | None = None
    since: Since | None = None
    why_not: tuple[WhyNot, ...] = field(default=())
    answer: ClientAnswer | None = None

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        if self.answer is not None:
            return self.answer.render()
        return {
            "refusal": None if self.early is None else self.early.render(),
            "explanation": None if self.explanation is None else self.explanation.render(),
            "recorded": None if self.since is None else self.since.render(),
            "why_not": [one.render() for one in self.why_not],
        }


def explain_asked(asked: Asked, place: Path, ceiling: int, scopes: Sequence[str]) -> Told:
    """Return what is told of a request that nobody has sent. Raises ``ConfigurationError``."""
    question, settings = asked.question, asked.settings
    if asked.case is not None:
        case = asked.case
    else:
        assert question is not None  # noqa: S101 — one or the other
        assert settings is not None  # noqa: S101 — with the question
        sent = Sent(
            question.id,
            _spell(question.at),
            question.client,
            question.audiences,
            question.resources,
            question.scopes,
        )
        refused = find_refusal(question, settings)
        if refused is not None:
            return _refused(place, sent, refused.reason, scopes)
        try:
            case = case_of(suppose(question, settings))
        except Rejected as rejected:
            return _refused(place, sent, rejected.reason, scopes)
    with open_policy(place, ceiling=ceiling) as policy:
        return _explain_case(policy, case, place, scopes)


def _refused(place: Path, sent: Sent, reason: Reason, scopes: Sequence[str]) -> Told:
    refusal = EarlyRefusal(reason)
    why_not = tuple(explain_early(refusal, scope) for scope in scopes)
    return Told(place, sent, refusal, why_not=why_not)


def _explain_case(policy: ExplainedPolicy, case: Case, place: Path, scopes: Sequence[str]) -> Told:
    found = policy.explain(case)
    why_not = tuple(explain_absence(policy, found, scope) for scope in scopes)
    request = case.exchange.request
    sent = Sent(
        request.id,
        _spell(case.exchange.at),
        case.client,
        request.audiences,
        request.resources,
        case.exchange.scopes,
    )
    return Told(place, sent, explanation=found, why_not=why_not)


def explain_recorded(
    found: Found, places: Sequence[Path], ceiling: int, scopes: Sequence[str]
) -> Told:
    """Return what is told of a row: by the policy of then if that is among ``places``, or kept.

    Else by the first of them. Raises ``ConfigurationError``.
    """
    recorded, past = found.recorded, found.recorded.past
    if past is None:
        reason = recorded.early or Reason.SERVER_ERROR
        return _refused(places[0], _sent(recorded), reason, scopes)
    with ExitStack() as stack:
        place, policy = _choose(found, past, places, ceiling, stack)
        result = _explain_case(policy, read_case(past.document), place, scopes)
    assert result.explanation is not None  # noqa: S101 — of a case
    return Told(
        place,
        _sent(recorded),
        explanation=result.explanation,
        since=compare_with_record(result.explanation, recorded, past),
        why_not=result.why_not,
    )


def _choose(
    found: Found, past: Past, places: Sequence[Path], ceiling: int, stack: ExitStack
) -> tuple[Path, ExplainedPolicy]:
    opened = []
    for place in places:
        policy = stack.enter_context(open_policy(place, ceiling=ceiling))
        if policy.candidate.revision == past.revision:
            return place, policy
        opened.append((place, policy))
    if found.kept is not None:
        place = Path(f"bundle-{past.revision[:12]}")
        policy = stack.enter_context(open_archive(found.kept, place, ceiling=ceiling))
        # Its revision is a digest of its content: another one is not what decided.
        if policy.candidate.revision == past.revision:
            return place, policy
    return opened[0]


def tell_client(result: Told, recorded: Recorded | None, scope: str | None) -> Told:
    """Return the same with what a client team may read; ``scope``: of this one alone."""
    if result.early is not None:
        answer = answer_refused(result.sent, (result.early.reason,))
    elif recorded is not None and result.since is not None and not result.since.same_decision:
        # By another policy it would be decided otherwise; they were answered by the one of then.
        answer = answer_refused(result.sent, [Reason(reason) for reason in recorded.reasons])
    else:
        assert result.explanation is not None  # noqa: S101 — or it was refused early
        answer = answer_client(result.sent, result.explanation, scope=scope)
    return Told(result.folder, result.sent, result.early, result.explanation, answer=answer)


def _sent(recorded: Recorded) -> Sent:
    return Sent(
        recorded.request_id,
        recorded.at,
        recorded.client,
        recorded.audiences,
        recorded.resources,
        tuple(dict.fromkeys(recorded.scope.split())),
    )


def _spell(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
