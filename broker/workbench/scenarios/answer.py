"""What came out of a step, held against what must: every difference in words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from broker.domain import Deny, Permit, Principal
from broker.errors import Reason
from broker.settings import Settings
from broker.settings.values import render_duration
from broker.workbench.scenarios.scenario import Expectation, party_in_words
from broker.workbench.verdict import Verdict, verdict_of


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that came out otherwise."""

    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What came out of one step."""

    verdict: Verdict
    chain: tuple[Principal, ...] = ()
    reuse: timedelta = timedelta()
    permit: Permit | None = field(default=None, repr=False)


def answer_of(decision: Permit | Deny | Verdict) -> Answer:
    """Return the answer that a judged decision is."""
    if isinstance(decision, Verdict):
        return Answer(decision)
    if isinstance(decision, Deny):
        return Answer(verdict_of(decision))
    return Answer(verdict_of(decision), decision.chain, decision.reuse, decision)


def refused_by(reason: Reason) -> Answer:
    """Return the answer of an exchange that was refused before the policy was asked."""
    return Answer(Verdict(reasons=(reason,)))


def compare(
    answer: Answer, expected: Expectation, asked: tuple[str, ...], settings: Settings
) -> tuple[Difference, ...]:
    """Return every difference; none where it is as it must be. ``asked`` are scopes."""
    verdict = answer.verdict
    if expected.refused is not None or not verdict.allowed:
        same = not verdict.allowed and verdict.reasons[:1] == (expected.refused,)
        return () if same else (Difference(_expected(expected), _got(verdict)),)
    return tuple(_differences(answer, expected, asked, settings))


def _differences(
    answer: Answer, expected: Expectation, asked: tuple[str, ...], settings: Settings
) -> Iterator[Difference]:
    verdict = answer.verdict
    if _granted(verdict) != dict(expected.granted):
        yield Difference(_expected(expected), _got(verdict))
    cut = frozenset(asked) - frozenset(verdict.scopes)
    if expected.narrowed is not None and expected.narrowed != cut:
        yield Difference(f"narrowed {_names(expected.narrowed)}", f"narrowed {_names(cut)}")
    yield from _bounds(verdict, expected)
    if expected.reuse is not None and expected.reuse != answer.reuse:
        yield Difference(
            f"given out again for {render_duration(expected.reuse)}",
            f"given out again for {render_duration(answer.reuse)}",
        )
    if expected.chain is not None and expected.chain != answer.chain:
        yield Difference(
            f"chain {_parties(expected.chain, settings)}",
            f"chain {_parties(answer.chain, settings)}",
        )
    if expected.purpose is not None and expected.purpose != verdict.purpose:
        got = "no purpose" if verdict.purpose is None else f"purpose {verdict.purpose}"
        yield Difference(f"purpose {expected.purpose}", got)
    for what, wanted, have in (
        ("claims", expected.claims, frozenset(verdict.claims)),
        ("obligations", expected.obligations, frozenset(verdict.obligations)),
    ):
        if wanted is not None and wanted != have:
            yield Difference(f"{what} {_names(wanted)}", f"{what} {_names(have)}")


def _bounds(verdict: Verdict, expected: Expectation) -> Iterator[Difference]:
    lives = timedelta(seconds=verdict.lifetime)
    got = f"lives {render_duration(lives)}"
    if expected.lifetime is not None and lives != expected.lifetime:
        yield Difference(f"lives {render_duration(expected.lifetime)}", got)
    if expected.lifetime_at_most is not None and lives > expected.lifetime_at_most:
        yield Difference(f"lives {render_duration(expected.lifetime_at_most)} at most", got)
    if expected.max_depth is not None and verdict.max_depth != expected.max_depth:
        yield Difference(
            f"{expected.max_depth} exchanges at most", f"{verdict.max_depth} exchanges at most"
        )
    if expected.mode is not None and verdict.mode is not expected.mode:
        mode = "none" if verdict.mode is None else verdict.mode.value
        yield Difference(expected.mode.value, mode)


def _granted(verdict: Verdict) -> dict[str, str | None]:
    sources = {each.scope: each.source for each in verdict.derived}
    return {scope: sources.get(scope) for scope in verdict.scopes}


def _expected(expected: Expectation) -> str:
    if expected.refused is not None:
        return f"refused because {expected.refused}"
    return f"granted {_items(expected.granted.items())}"


def _got(verdict: Verdict) -> str:
    if verdict.allowed:
        return f"granted {_items(_granted(verdict).items())}"
    if verdict.fault is not None and not verdict.reasons:
        return f"the policy failed: {verdict.detail}"
    first, *rest = (str(reason) for reason in verdict.reasons)
    text = f"refused because {first}"
    if rest:
        text += f" (and {', '.join(rest)})"
    return text if not verdict.detail else f"{text}: the decision breaks {verdict.detail}"


def _items(granted: Iterable[tuple[str, str | None]]) -> str:
    return ", ".join(
        scope if source is None else f"{scope} from {source}" for scope, source in sorted(granted)
    )


def _names(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _parties(chain: tuple[Principal, ...], settings: Settings) -> str:
    return ", ".join(party_in_words(each, settings) for each in chain) or "nobody"
