"""Token buckets in the memory of one process: how much of something each key has left."""

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Buckets(Generic[Key]):
    """How much each key has left, and when; one that has all of it takes no memory.

    At most ``max_entries`` are remembered, the least recently used go first.
    """

    def __init__(
        self, count: int, per: float, max_entries: int, *, burst: int | None = None
    ) -> None:
        """``count`` flow back in ``per`` seconds; ``burst`` is the most there can be of them."""
        self._count = count if burst is None else burst
        self._per_second = count / per
        self._max_entries = max_entries
        self._levels: dict[Key, tuple[float, float]] = {}  # what is left, and when

    def wait(self, key: Key, now: float) -> float:
        """Return the seconds until one more fits; 0 if it does now."""
        if key not in self._levels:
            return 0.0
        return max(0.0, (1.0 - self._level(key, now)) / self._per_second)

    def spend(self, key: Key, now: float) -> float:
        """Count one, or return the seconds until one fits, which is more than 0."""
        level = self._level(key, now)
        if level < 1.0:
            return (1.0 - level) / self._per_second
        self._put(key, level - 1.0, now)
        return 0.0

    def take(self, key: Key, now: float) -> None:
        """Count one, never below none left: what is in flight does not add to the wait."""
        self._put(key, max(0.0, self._level(key, now) - 1.0), now)

    def _put(self, key: Key, level: float, now: float) -> None:
        # Never an earlier time: a clock that steps back would refill twice when it comes forward.
        _, at = self._levels.pop(key, (level, now))
        self._levels[key] = level, max(at, now)
        if len(self._levels) > self._max_entries:
            del self._levels[next(iter(self._levels))]

    def __len__(self) -> int:
        return len(self._levels)

    def _level(self, key: Key, now: float) -> float:
        level, at = self._levels.get(key, (float(self._count), now))
        # A clock that steps back refills nothing, and takes nothing away.
        return min(float(self._count), level + max(0.0, now - at) * self._per_second)
