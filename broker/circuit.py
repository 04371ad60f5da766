"""When to stop asking a server that does not answer, and when to try it again.

Closed: everyone asks. After ``failures`` in a row it opens: nobody asks, so that a dead server
costs a request no deadline, and a struggling one is left in peace. After ``cooldown`` one asks
(half open): if that succeeds the circuit closes, and if not it stays open for another one.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Final

FAILURES: Final = 5
COOLDOWN: Final = 1.0  # seconds


class State(IntEnum):
    """Who may ask."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Circuit:
    """A breaker of one server. Each ``admit`` that says yes is followed by one of the others."""

    def __init__(
        self,
        monotonic: Callable[[], float],
        *,
        failures: int = FAILURES,
        cooldown: float = COOLDOWN,
        report: Callable[[State], None] = lambda _: None,
    ) -> None:
        """``report`` is told the state, now and whenever it changes."""
        self._monotonic = monotonic
        self._allowed = failures
        self._cooldown = cooldown
        self._failures = 0  # in a row
        self._opened_at = 0.0
        self._state = State.CLOSED
        self._report = report
        report(self._state)

    @property
    def state(self) -> State:
        """Who may ask now."""
        return self._state

    def admit(self) -> bool:
        """Whether the caller may ask; if the circuit is open, one may after each cooldown."""
        if self._state is State.CLOSED:
            return True
        if self._state is State.OPEN and self._monotonic() - self._opened_at >= self._cooldown:
            self._become(State.HALF_OPEN)
            return True
        return False

    def succeeded(self) -> None:
        """Note that the server has answered."""
        self._failures = 0
        self._become(State.CLOSED)

    def failed(self) -> None:
        """Note that the server has not answered, or not sensibly."""
        self._failures += 1
        if self._state is State.HALF_OPEN or self._failures >= self._allowed:
            self._opened_at = self._monotonic()
            self._become(State.OPEN)

    def abandoned(self) -> None:
        """Note that whoever asked has left before there was an answer: nothing was learnt."""
        if self._state is State.HALF_OPEN:
            self._become(State.OPEN)  # since when has not changed, so the next one may try at once

    def _become(self, state: State) -> None:
        if state is not self._state:
            self._state = state
            self._report(state)
