"""Explains one exchange by one policy."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson

from broker.policy.bundle import Bundle, build_bundle, find_opa, load_bundle, read_bundle
from broker.policy.engine import PolicyUnavailable
from broker.policy.floor import assess
from broker.policy.grants import read_grants
from broker.policy.snapshot import take_snapshot
from broker.workbench.candidate import Candidate
from broker.workbench.explain.case import Case
from broker.workbench.explain.concerns import find_concerns, find_own, find_stop
from broker.workbench.explain.explanation import Agreement, Explanation
from broker.workbench.explain.fates import Fate, find_fates
from broker.workbench.explain.floor import find_floor
from broker.workbench.explain.limits import depth_limits, lifetime_limits
from broker.workbench.explain.observation import Observation, Observer, open_observer
from broker.workbench.explain.written import DataPlaces, find_row
from broker.workbench.verdict import Fault, Verdict, verdict_of

# Lists of the decision that stand for sets, whose order is the engine's own.
_SETS: Final = ("scopes", "derived", "claims", "obligations")


@dataclass(frozen=True, slots=True)
class ExplainedPolicy:
    """One policy, asked and looked into. Used by one thread."""

    candidate: Candidate
    ceiling: int  # ``max_delegation_depth``
    grants: object  # the data, whatever it is
    places: DataPlaces
    observer: Observer | None  # None: a built bundle without Rego

    def explain(self, case: Case) -> Explanation:
        """Return why this exchange is decided as it is. Raises ``ConfigurationError``."""
        decision, verdict = self._decide(case)
        seen = None if self.observer is None else self.observer.observe(case.input)
        row = find_row(self.grants, case.client)
        said = decision if isinstance(decision, dict) else {}
        permits = said.get("allow") is True
        reasons = said.get("reasons") if isinstance(said.get("reasons"), list) else []
        return Explanation(
            case=case,
            revision=self.candidate.revision,
            verdict=verdict,
            agreement=_compare(decision, verdict, seen),
            decision=decision,
            observed=None if seen is None else seen.decision,
            error="" if seen is None else seen.error,
            concerns=find_concerns(
                case, row, self.places, seen, allowed=permits, reasons=reasons or ()
            ),
            scopes=find_fates(
                case, verdict, row, self.places, lambda scope: self.ask_alone(case, scope)
            ),
            lifetime=lifetime_limits(
                case, row, self.places, _number(said, "lifetime") if permits else None
            ),
            depth=depth_limits(
                *(case, row, self.places, self.ceiling),
                _number(said, "max_depth") if permits else None,
            ),
            own=find_own(seen),
            floor=find_floor(verdict),
            stopped=None if permits else find_stop(seen),
            rules=() if seen is None else seen.rules,
        )

    def find_fate(self, case: Case, scope: str) -> Fate:
        """Return what would become of one scope, were nothing else asked for."""
        alone = Case({}, replace(case.exchange, scopes=(scope,)))
        verdict = self.ask_alone(case, scope)
        row = find_row(self.grants, case.client)
        fates = find_fates(alone, verdict, row, self.places, lambda _: verdict)
        return next(fate for fate in fates if fate.scope == scope)

    def ask_alone(self, case: Case, scope: str) -> Verdict:
        """Return the verdict on the same request for one scope."""
        return self.candidate.ask(replace(case.exchange, scopes=(scope,)))

    def _decide(self, case: Case) -> tuple[Any, Verdict]:
        try:
            evaluation = self.candidate.evaluate(case.raw)
        except PolicyUnavailable as unavailable:
            return None, Verdict(fault=Fault.FAILED, detail=str(unavailable))
        decided = assess(case.exchange, evaluation, ceiling=self.ceiling)
        return evaluation.output, verdict_of(decided)


@contextmanager
def open_policy(path: Path, *, ceiling: int) -> Iterator[ExplainedPolicy]:
    """Open the policy of a folder, or of a built bundle. Raises ``ConfigurationError``."""
    if path.is_dir():
        bundle, places = build_bundle(path), DataPlaces(take_snapshot(path))
    else:
        bundle, places = load_bundle(path), DataPlaces({})
    with _open(bundle, places, path, ceiling) as policy:
        yield policy


@contextmanager
def open_archive(content: bytes, shown: Path, *, ceiling: int) -> Iterator[ExplainedPolicy]:
    """Open a built bundle that is at hand; errors call it ``shown``.

    Raises ``ConfigurationError``.
    """
    bundle = read_bundle(content, str(shown))
    with _open(bundle, DataPlaces({}), shown, ceiling) as policy:
        yield policy


@contextmanager
def _open(
    bundle: Bundle, places: DataPlaces, shown: Path, ceiling: int
) -> Iterator[ExplainedPolicy]:
    with ExitStack() as stack:
        observer = None
        if bundle.modules:
            # What was compiled, and not what an editor has written meanwhile.
            files = {**bundle.modules, "data.json": bundle.data}
            observer = stack.enter_context(open_observer(find_opa(), files, shown))
        candidate = Candidate(bundle, ceiling=ceiling)
        stack.callback(candidate.close)
        yield ExplainedPolicy(candidate, ceiling, read_grants(bundle.data), places, observer)


def _compare(decision: object, verdict: Verdict, seen: Observation | None) -> Agreement:
    if seen is None:
        return Agreement.NOT_COMPARED
    if seen.error or verdict.fault is Fault.FAILED:
        # Both fail, or one does: in the one case there is no decision, in the other there are two.
        both = bool(seen.error) and verdict.fault is Fault.FAILED
        return Agreement.SAME if both else Agreement.DIFFERENT
    same = normal_decision(decision) == normal_decision(seen.decision)
    return Agreement.SAME if same else Agreement.DIFFERENT


def normal_decision(decision: object) -> object:
    """Return a decision document in a form in which equal ones are equal."""
    if not isinstance(decision, Mapping):
        return decision
    return {
        name: sorted(value, key=_spelling) if name in _SETS and isinstance(value, list) else value
        for name, value in decision.items()
    }


def _spelling(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _number(said: Mapping[str, Any], member: str) -> int | None:
    value = said.get(member)
    return value if type(value) is int else None
