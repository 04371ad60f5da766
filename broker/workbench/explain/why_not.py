"""Why a scope was not granted, and the smallest changes that would grant it.

Each remedy was tried: the changed input and data were given to the policy, by ``opa eval``, and
what it said to the floor. So nothing is suggested that another rule would refuse after all, or that
the floor forbids.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from broker.domain import Deny, Evaluation
from broker.errors import Reason
from broker.oauth import Mode
from broker.policy.floor import Invariant, assess
from broker.workbench.explain.change import Change, Who, find_changes
from broker.workbench.explain.concerns import Standing
from broker.workbench.explain.explanation import Explanation
from broker.workbench.explain.fates import Cause, Fate, Outcome
from broker.workbench.explain.observation import Supposition
from broker.workbench.explain.policy import ExplainedPolicy
from broker.workbench.explain.refusal import EarlyRefusal
from broker.workbench.explain.written import find_row
from broker.workbench.recorded import NotReplayable, read_exchange
from broker.workbench.verdict import Verdict, verdict_of

_MOST_MORE: Final = 3  # changes in one remedy, besides those that are needed anyway
_MOST_TRIED: Final = 1500
_SHOWN: Final = 3  # remedies, the ones with least effort
_ORDER: Final = {who: number for number, who in enumerate(Who)}


@dataclass(frozen=True, slots=True)
class Remedy:
    """Changes that together are enough, and what would be granted then."""

    changes: tuple[Change, ...]
    verdict: Verdict

    @property
    def derives(self) -> bool:
        """Whether one scope is made out of another."""
        return any(change.who is Who.DERIVATION for change in self.changes)

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "changes": [change.render() for change in self.changes],
            "verdict": self.verdict.render(),
        }


@dataclass(frozen=True, slots=True)
class WhyNot:
    """The answer to who asks why."""

    scope: str
    granted: bool  # it is granted, so there is nothing to answer
    causes: tuple[str, ...]  # everything that stands against it, as sentences without a full stop
    # All with the least number of changes, and those of more where the least derive it newly.
    remedies: tuple[Remedy, ...]
    tried: int | None  # changes, alone and together; None: nothing could be tried
    forbidden: tuple[str, ...] = ()  # invariants that any yes would break
    unasked: bool = False  # refused before the policy was asked, so nothing of it matters yet

    @property
    def paragraph(self) -> str:
        """The answer in one paragraph."""
        if self.granted:
            return f"{self.scope} is granted."
        said = f"{self.scope} is not granted: {'; '.join(self.causes)}."
        if self.unasked:
            return f"{said} Mend that first: the policy was not asked."
        if self.forbidden:
            broken = ", ".join(self.forbidden)
            return (
                f"{said} Nothing can grant it: the floor below every policy forbids it ({broken})."
            )
        if self.tried is None:
            return (
                f"{said} What would grant it was not tried: the policy has no Rego at hand; name"
                " its folder."
            )
        if not self.remedies:
            return (
                f"{said} Of {self.tried} changes that were tried, alone and together, none would"
                " grant it: look at the rules that refuse."
            )
        first, *others = ["; and ".join(one.text for one in each.changes) for each in self.remedies]
        more = f" Or: {'. Or: '.join(others)}." if others else ""
        return f"{said} This would grant it: {first}.{more}"

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "scope": self.scope,
            "granted": self.granted,
            "paragraph": self.paragraph,
            "causes": list(self.causes),
            "remedies": [remedy.render() for remedy in self.remedies],
            "tried": self.tried,
            "forbidden": list(self.forbidden),
        }


def explain_early(refusal: EarlyRefusal, scope: str) -> WhyNot:
    """Return why a scope is not granted by a request that the policy was not asked about."""
    cause = f"{refusal.by} refuses the request ({refusal.reason.value})"
    return WhyNot(scope, granted=False, causes=(cause,), remedies=(), tried=None, unasked=True)


def explain_absence(policy: ExplainedPolicy, explanation: Explanation, scope: str) -> WhyNot:
    """Return why the scope is not granted. Raises ``ConfigurationError``."""
    if scope in explanation.verdict.scopes:
        return WhyNot(scope, granted=True, causes=(), remedies=(), tried=0)
    row = find_row(policy.grants, explanation.case.client)
    changes = find_changes(scope, explanation, row, policy.places)
    remedies, tried = _try(policy, explanation, scope, changes)
    causes = tuple(_causes(policy, explanation, scope))
    forbidden = () if remedies else _forbidden(policy, explanation)
    return WhyNot(
        scope,
        granted=False,
        causes=causes,
        remedies=remedies,
        tried=tried,
        forbidden=forbidden,
    )


def _forbidden(policy: ExplainedPolicy, explanation: Explanation) -> tuple[str, ...]:
    """Return what even the most generous decision would break, whatever the scope."""
    exchange = explanation.case.exchange
    decision = {
        "allow": True,
        "reasons": [],
        "targets": [*explanation.case.targets],
        "scopes": ["any"],
        "derived": [],
        "lifetime": 1,
        "mode": Mode.DELEGATION.value,
        "max_depth": max(1, exchange.delegation.max_depth),
        "reentry": True,
        "purpose": None,
        "claims": [],
        "obligations": [],
    }
    decided = assess(exchange, Evaluation("", b"", decision), ceiling=policy.ceiling)
    broken = decided.violations if isinstance(decided, Deny) else ()
    return tuple(name for name in broken if name != Invariant.SCOPE.value)


def _try(
    policy: ExplainedPolicy, explanation: Explanation, scope: str, changes: Sequence[Change]
) -> tuple[tuple[Remedy, ...], int | None]:
    """Return the remedies with the fewest changes, and how many were tried for them."""
    if policy.observer is None:
        return (), None
    tried = 0
    remedies: list[Remedy] = []
    needed = [each for each in changes if each.needed]
    for more in range(_MOST_MORE + 1):
        # Once something is found, only what takes no derivation is looked for: that makes a right
        # out of another one, and is no small thing however short it is.
        open_ones = [
            each
            for each in changes
            if not each.needed and not (remedies and each.who is Who.DERIVATION)
        ]
        together = [
            tuple(sorted((*needed, *chosen), key=changes.index))
            for chosen in combinations(open_ones, more)
            if needed or chosen
        ][: _MOST_TRIED - tried]
        cases = [_make(Supposition(explanation.case.input), each) for each in together]
        decisions = policy.observer.suppose(explanation.case.client, cases)
        tried += len(cases)
        for one, case, decision in zip(together, cases, decisions, strict=True):
            verdict = _judge(policy, case, decision)
            if verdict.allowed and scope in verdict.scopes:
                remedies.append(Remedy(one, verdict))
        if any(not each.derives for each in remedies):
            break
    return tuple(sorted(remedies, key=_effort)[:_SHOWN]), tried


def _make(case: Supposition, changes: Sequence[Change]) -> Supposition:
    for change in changes:
        case = change.make(case)
    return case


def _effort(remedy: Remedy) -> list[int]:
    return sorted((_ORDER[change.who] for change in remedy.changes), reverse=True)


def _judge(policy: ExplainedPolicy, case: Supposition, decision: Any) -> Verdict:  # noqa: ANN401 — a document
    try:
        exchange = read_exchange(case.input)
    except NotReplayable:
        return Verdict()
    evaluation = Evaluation(policy.candidate.revision, b"", decision)
    return verdict_of(assess(exchange, evaluation, ceiling=policy.ceiling))


def _causes(policy: ExplainedPolicy, explanation: Explanation, scope: str) -> Iterator[str]:
    case = explanation.case
    if scope not in case.exchange.scopes and scope not in {one.scope for one in explanation.scopes}:
        yield "the request did not ask for it"
    fate = policy.find_fate(case, scope)
    yield from _against(fate, explanation)
    yield from _refusing(explanation)
    if explanation.verdict.fault is not None:
        yield f"the policy is at fault ({explanation.verdict.fault}): {explanation.verdict.detail}"
    for reason in explanation.verdict.reasons:
        if reason in {Reason.SUBJECT_TOKEN_EXPIRED, Reason.ACTOR_TOKEN_EXPIRED}:
            yield f"nothing is left of the life of a token ({reason.value})"


def _refusing(explanation: Explanation) -> Iterator[str]:
    """Yield what refuses beside the scopes."""
    for concern in explanation.concerns:
        refuses = concern.standing in {Standing.REFUSES, Standing.UNDEFINED}
        # What the grants and the scopes refuse is said of the scope itself.
        if not refuses or concern.name in {"grants", "scopes"}:
            continue
        about = ", ".join(fact.text for fact in concern.facts)
        if concern.name == "depth":
            about = _depth(explanation)
        codes = ", ".join(concern.reasons) or "there is no answer"
        yield f"{concern.name} refuses ({codes})" + (f": {about}" if about else "")
    for own in explanation.own:
        if own.reasons:
            means = "; ".join(one.description.rstrip(".") for one in own.rules if one.description)
            yield f"broker.rules.{own.name} denies" + (f": {means}" if means else "")


def _depth(explanation: Explanation) -> str:
    number = explanation.case.exchange.delegation.depth
    least = [limit for limit in explanation.depth if limit.least]
    return f"it is exchange {number}, and " + ", ".join(
        f"{limit.of} allows {limit.value}" for limit in least
    )


def _against(fate: Fate, explanation: Explanation) -> Iterator[str]:
    case = explanation.case
    missing = [name for name in case.targets if name in set(fate.missing_in)]
    if fate.unknown_at:
        yield f"{', '.join(fate.unknown_at)} does not know it"
    if missing:
        yield f"no grant of {case.client} for {', '.join(missing)} lists or derives it"
    if fate.scope not in case.exchange.subject.scopes:
        follows = fate.would_follow_from
        what = f", nor what it could follow from ({', '.join(follows)})" if follows else ""
        if not _derivable(fate, explanation):
            yield f"the subject does not hold it{what}"
    others = [
        each.scope
        for each in explanation.scopes
        if each.scope != fate.scope
        and each.outcome is Outcome.REFUSED
        and each.cause is not Cause.NO_GRANT
    ]
    if others and not explanation.verdict.allowed:
        yield f"the request is refused as a whole for {', '.join(others)}"


def _derivable(fate: Fate, explanation: Explanation) -> bool:
    subject = explanation.case.exchange.subject
    return any(
        subject.scopeless if source == "identity" else source in subject.scopes
        for source in fate.would_follow_from
    )
