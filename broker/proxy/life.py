"""How long a token is kept, renewed and served. Never past its expiry, whatever a clock does.

A token's life is counted from when it was asked for, not from when it came, and by two clocks: the
monotonic one, which nobody can set, and the wall clock, which goes on while a machine is suspended.
Whichever says that it is over is believed. So a step of the wall clock makes tokens expire early,
a step back changes nothing, and a machine that wakes up serves nothing from the day before.
"""

from dataclasses import dataclass
from math import floor
from typing import Final

LEAST_MARGIN: Final = 15.0  # seconds
LONGEST: Final = 24 * 3600  # seconds that any token is kept, however long it lives


@dataclass(frozen=True, slots=True)
class Moment:
    """A time by both clocks, in seconds."""

    monotonic: float
    wall: float


@dataclass(frozen=True, slots=True)
class Life:
    """From when a token was asked for to its expiry; nothing here knows the token."""

    began: Moment
    seconds: float  # until it expires, or is no longer kept
    expires_in: int  # as the upstream said
    margin: float  # seconds before the end in which it is renewed

    @classmethod
    def build(cls, asked: Moment, expires_in: int, *, margin: float) -> "Life":
        """Return the life of a token; ``margin`` is a share of it."""
        seconds = float(min(expires_in, LONGEST))
        # Of a very short life only half, or it would be renewed at each request.
        least = min(LEAST_MARGIN, seconds / 2)
        return cls(asked, seconds, expires_in, max(margin * seconds, least))

    def elapsed(self, now: Moment) -> float:
        """Return how long ago it was asked for, by the clock that says more."""
        by_wall = now.wall - self.began.wall
        return max(now.monotonic - self.began.monotonic, by_wall, 0.0)

    def remaining(self, now: Moment) -> int:
        """Return the whole seconds until it expires; 0: it is not to be served any more."""
        elapsed = self.elapsed(now)
        if elapsed >= self.seconds:
            return 0
        return max(0, floor(self.expires_in - elapsed))

    def is_fresh(self, now: Moment) -> bool:
        """Whether it needs no renewal yet."""
        return self.elapsed(now) < self.seconds - self.margin
