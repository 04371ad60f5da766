"""Makes recorded decisions again under a candidate, and compares.

What holds of every decision that is counted:

(1) the candidate had the recorded input, whole and unchanged but for declared upgrades;
(2) what it said, and what was said before, are judged by one floor: that of this version, with the
    ceiling that is in the input. So whatever differs, differs because of the policies;
(3) where both policies said the same, to the byte, nothing differs: the floor has no other input.
    Where they did not, inputs that the floor cannot tell apart are judged once;
(4) a candidate that traps, runs too long, takes too much memory or answers what is no decision has
    refused this one exchange, and the next is made by a fresh instance.

A candidate that keeps failing costs the deadline of each decision. After ``MOST_FAILURES`` of them
the replay is over, and says that it is not whole.
"""

import gc
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson

from broker.domain import Evaluation, Exchange, Permit
from broker.policy.engine import PolicyUnavailable
from broker.policy.floor import assess
from broker.workbench.candidate import Candidate
from broker.workbench.recorded import NotReplayable, read_exchange
from broker.workbench.replay.change import Change, Said, find_changes, say_decision, say_failure
from broker.workbench.replay.disguise import Disguise, is_decision, render_kept
from broker.workbench.replay.memo import floor_key
from broker.workbench.replay.past import Cause, Lost, Past, read_past
from broker.workbench.replay.tally import Tally

MOST_FAILURES: Final = 200
# Bounds of the settings are in the recorded input already, as they were then.
CEILING: Final = sys.maxsize
_YOUNG: Final = 100_000  # objects
_MOST_JUDGED: Final = 4096  # of some hundreds of bytes each


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the garbage collector off what stays, and let it look at the rest more rarely.

    A record is thousands of objects without a circle among them, gone when the next lot comes.
    Looking for circles after each few hundred of them would take as long as to replay them.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@dataclass(frozen=True, slots=True)
class Keep:
    """Where decisions are taken along to, and what replaces the persons in them."""

    disguise: Disguise
    write: Callable[[bytes], object]


class Replayer:
    """Replays the records that it is fed, and keeps the tally."""

    def __init__(
        self,
        candidate: Candidate,
        *,
        against: Candidate | None = None,
        keep: Keep | None = None,
    ) -> None:
        """``against`` decides what was before; None: what was recorded does.

        ``keep`` is given each decision that can be taken along.
        """
        self.tally = Tally()
        self.kept = 0
        self.failures = 0  # of the candidate, and of what it is compared with
        self._candidate = candidate
        self._against = against
        self._keep = keep
        self._judged: dict[bytes, tuple[Change, ...]] = {}

    @property
    def exhausted(self) -> bool:
        """Whether a policy failed so often that nothing more is replayed."""
        return self.failures >= MOST_FAILURES

    def feed(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Replay opened records, up to the end or until it is ``exhausted``."""
        for record in records:
            if self.exhausted:
                return
            self._replay(read_past(record))

    def _replay(self, past: Past | Lost) -> None:
        if isinstance(past, Lost):
            self.tally.lose(past)
            return
        before = past.output
        if self._against is not None:
            before = self._decide(self._against, past.input)
        after = self._decide(self._candidate, past.input)
        if self._keep is not None:
            self._take_along(self._keep, past, before, after)
        if _same(before, after):
            self.tally.add(past, ())
            return
        try:
            changes = self._judge(past, before, after)
        except (NotReplayable, KeyError, TypeError, ValueError, AttributeError):
            # Its members have the names that they should have, and not the types.
            self.tally.lose(Lost(Cause.MALFORMED))
            return
        self.tally.add(past, changes)

    def _judge(self, past: Past, before: object, after: object) -> tuple[Change, ...]:
        if isinstance(before, _Failure) or isinstance(after, _Failure):
            return _find(past, before, after)
        key = floor_key(past.document, before, after)
        found = self._judged.get(key)
        if found is None:
            if len(self._judged) >= _MOST_JUDGED:
                self._judged.clear()
            found = self._judged[key] = _find(past, before, after)
        return found

    def _take_along(self, keep: Keep, past: Past, before: object, after: object) -> None:
        try:
            document = keep.disguise.input_of(past)
        except (KeyError, TypeError, AttributeError):
            return  # it is none, and is counted as that
        disguised = orjson.dumps(document)
        against = self._against
        if (
            is_decision(past.output)
            and _same(after, self._decide(self._candidate, disguised))
            and (against is None or _same(before, self._decide(against, disguised)))
        ):
            self.kept += 1
            keep.write(render_kept(past, document))

    def _decide(self, policy: Candidate, input: bytes) -> Any:  # noqa: A002, ANN401 — the word of OPA; a document
        try:
            return policy.evaluate(input).output
        except PolicyUnavailable as unavailable:
            self.failures += 1
            return _Failure(str(unavailable))


@dataclass(frozen=True, slots=True)
class _Failure:
    """Stands for an answer where there is none."""

    why: str


def _same(before: object, after: object) -> bool:
    if isinstance(before, _Failure) or isinstance(after, _Failure):
        return before == after
    # Equal is not enough: to Python 1 is True and 1.0, and the floor tells them apart.
    return before == after and _spelt(before) == _spelt(after)


def _spelt(document: object) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _find(past: Past, before: object, after: object) -> tuple[Change, ...]:
    exchange = read_exchange(past.document)
    return find_changes(_said(exchange, before), _said(exchange, after))


def _said(exchange: Exchange, output: object) -> Said:
    if isinstance(output, _Failure):
        return say_failure(output.why)
    decision = assess(exchange, Evaluation("", b"", output), ceiling=CEILING)
    # What is permitted has been read as a decision, so it has one.
    lifetime = (
        output["lifetime"] if isinstance(output, dict) and isinstance(decision, Permit) else 0
    )
    return say_decision(decision, lifetime)
