"""Numbers of rows as intervals, from the first to the last and both included."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

Span = tuple[int, int]


def spans_of(seqs: Iterable[int]) -> tuple[Span, ...]:
    """Return ascending numbers as intervals that do not touch."""
    spans: list[Span] = []
    for seq in seqs:
        if spans and seq == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], seq)
        else:
            spans.append((seq, seq))
    return tuple(spans)


def count_rows(spans: Iterable[Span]) -> int:
    """Return how many numbers are in intervals that do not overlap."""
    return sum(last - first + 1 for first, last in spans)


class Spans:
    """A set of numbers that is kept as intervals."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans: list[Span] = []
        self.add(spans)

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def add(self, spans: Iterable[Span]) -> None:
        """Add intervals; they may overlap with what is there."""
        merged: list[Span] = []
        for first, last in sorted((*self._spans, *spans)):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        self._spans = merged

    def covers(self, first: int, last: int) -> bool:
        """Whether every number from ``first`` to ``last`` is in it."""
        index = bisect_right(self._spans, first, key=lambda span: span[0]) - 1
        return index >= 0 and self._spans[index][1] >= last
