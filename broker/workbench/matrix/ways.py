"""By which ways a scope is obtained: the least that has to be held, found by asking.

(1) Every way that is told was asked and permitted, with exactly what it says is held.
(2) A way is least: without any one of its names the same was refused.
(3) Where holding more never obtains less, every way of one name is found: what is held alone, and,
    taking away each source that the policy names until it refuses, all that it follows from.
(4) Where holding more obtains less, as by a rule that refuses who holds too much, what is found is
    what holding nothing, the scope, or one other configured scope obtains, alone. It shows by who
    holds everything being refused for another reason than holding too little.
(5) Of ways that need several names together as many are found as differ in what the policy names
    as the source, and one more.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from broker.domain import Deny, Permit
from broker.errors import Reason
from broker.policy.floor import IDENTITY
from broker.workbench.matrix.answer import Decision, Failed
from broker.workbench.matrix.vocabulary import Vocabulary

MOST: Final = 64  # ways to one scope
Holding = frozenset[str]
# What comes of it if a subject holds this. Asked again with the same it need not be asked again.
Ask = Callable[[Holding], Decision]
# With these holding something else makes no difference.
_SETTLED: Final = frozenset(
    {
        Reason.POLICY_TARGET_NOT_GRANTED,
        Reason.POLICY_ISSUER_NOT_ALLOWED,
        Reason.POLICY_SCOPE_UNKNOWN,
        Reason.POLICY_SCOPE_NOT_GRANTED,
        Reason.POLICY_PURPOSE_MISSING,
        Reason.POLICY_PURPOSE_NOT_ALLOWED,
    }
)
_TOO_LITTLE: Final = frozenset({Reason.POLICY_SCOPE_NOT_HELD, Reason.POLICY_SCOPE_NOTHING_LEFT})
_NOTHING: Final[Holding] = frozenset()


@dataclass(frozen=True, slots=True)
class Way:
    """What is held, and what that permits."""

    holds: Holding
    permit: Permit
    source: str | None


def find_ways(
    ask: Ask, scope: str, vocabulary: Vocabulary, *, barred: bool = False
) -> tuple[list[Way], list[Deny | Failed]]:
    """Return the ways to a scope, and, if there are none, how it was refused.

    ``barred``: the target was refused for another scope, whoever holds nothing or everything. If
    it is again for who holds everything, it is not asked for who holds nothing.
    """
    decisions: dict[Holding, Decision] = {}

    def decide(holds: Holding) -> Decision:
        if holds not in decisions:
            decisions[holds] = ask(holds)
        return decisions[holds]

    ways: dict[Holding, Way] = {}
    for holds in _search(decide, scope, vocabulary, barred=barred):
        decision = decide(holds)
        if isinstance(decision, Permit) and len(ways) < MOST:
            ways[holds] = Way(holds, decision, _source(decision, scope))
    # One that is part of another says more.
    least = [way for way in ways.values() if not any(other < way.holds for other in ways)]
    if least:
        return least, []
    return [], [one for one in decisions.values() if not isinstance(one, Permit)]


def _search(
    decide: Callable[[Holding], Decision], scope: str, vocabulary: Vocabulary, *, barred: bool
) -> Iterator[Holding]:
    """Yield what may be a least way; whoever asks sees whether it is permitted."""
    everything = vocabulary.scopes
    if _is_settled(decide(everything)) and (barred or _is_settled(decide(_NOTHING))):
        return
    yield _NOTHING
    if isinstance(decide(_NOTHING), Permit):
        return  # least of all
    own = frozenset({scope}) & everything
    yield own
    yield from _take_away(decide, scope, everything - own)
    if not isinstance(decide(own), Permit):
        yield _shrink(decide, everything)
    if any(_hides(decide(holds)) for holds in (everything, everything - own)):
        for name in sorted(vocabulary.likely):
            yield frozenset({name})


def _take_away(
    decide: Callable[[Holding], Decision], scope: str, everything: Holding
) -> Iterator[Holding]:
    rest = everything
    for _ in range(MOST):
        decision = decide(rest)
        if not isinstance(decision, Permit):
            return
        source = _source(decision, scope)
        if source is None or source == IDENTITY or source not in rest:
            yield _shrink(decide, rest)
            return
        alone = frozenset({source})
        yield alone if isinstance(decide(alone), Permit) else _shrink(decide, rest)
        rest -= alone


def _shrink(decide: Callable[[Holding], Decision], holds: Holding) -> Holding:
    """Return a part of it that is still permitted, and none of whose own parts by one less is."""
    if not isinstance(decide(holds), Permit):
        return holds
    kept, size = sorted(holds), max(1, len(holds) // 2)
    while True:
        start, removed = 0, False
        while start < len(kept):
            fewer = kept[:start] + kept[start + size :]
            if isinstance(decide(frozenset(fewer)), Permit):
                kept, removed = fewer, True
            else:
                start += size
        if size == 1 and not removed:
            return frozenset(kept)
        size = max(1, size // 2)


def _is_settled(decision: Decision) -> bool:
    return not isinstance(decision, Permit) and decision.reasons[0] in _SETTLED


def _hides(decision: Decision) -> bool:
    """Whether it is refused for another reason than that too little is held."""
    return not isinstance(decision, Permit) and decision.reasons[0] not in _TOO_LITTLE


def _source(permit: Permit, scope: str) -> str | None:
    """Return what a granted scope follows from; None: it is held."""
    if scope in permit.exchange.subject.scopes:
        # A policy may name a source of what is held as well; held it is all the same.
        return None
    return next((one.source for one in permit.derived if one.scope == scope), None)
