"""Whose exchange is worked on next: each client's in turn, however many one of them sends.

A process works on one exchange at a time, so whoever sends a thousand at once would have everybody
else wait behind all of them. Here each client has a queue of its own, and in each round of the loop
so many go on, one client after another: somebody who sends one request waits for at most one of
each other client. While nobody waits, nobody is delayed.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final
from weakref import WeakSet

from opentelemetry.metrics import CallbackOptions, Observation

from broker.telemetry import meter

# Exchanges that are worked on between two looks at what has arrived: one while there are several
# clients, for each of whom every look that its exchange needs, its commit's too, comes sooner; more
# for one alone, since a look costs.
ROUND: Final = 1
ROUND_ALONE: Final = 8
TOGETHER: Final = 1.0  # seconds after the last change of client in which there are several

_all: WeakSet["Turns"] = WeakSet()  # looked at when somebody asks, not counted each time


def _observe(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(sum(map(len, _all)))]


meter.create_observable_gauge(
    "broker.exchange.waiting",
    callbacks=[_observe],
    unit="1",
    description="Exchanges that wait for their turn.",
)


class Turns:
    """The queues of one process. Used by one loop."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._waiting = 0
        self._gone_on = 0  # in this round
        self._latest = ""  # the client that came last
        self._together_until = 0.0
        self._round_is_due = False
        _all.add(self)

    def __len__(self) -> int:
        """Return how many wait."""
        return self._waiting

    async def wait(self, client_id: str) -> None:
        """Return when it is this client's turn."""
        loop = asyncio.get_running_loop()
        if client_id != self._latest:
            self._latest, self._together_until = client_id, loop.time() + TOGETHER
        if not self._round_is_due:
            self._round_is_due = True
            loop.call_soon(self._begin_round)
        if not self._waiting and self._gone_on < self._most_in_a_round(loop):
            self._gone_on += 1
            return
        turn = loop.create_future()
        self._queues.setdefault(client_id, deque()).append(turn)
        self._waiting += 1
        await turn

    def _begin_round(self) -> None:
        loop = asyncio.get_running_loop()
        self._gone_on = 0
        most = self._most_in_a_round(loop)
        while self._queues and self._gone_on < most:
            client_id, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            self._waiting -= 1
            if queue:
                self._queues[client_id] = queue  # behind all others
            if not turn.done():  # whoever has left has no turn
                turn.set_result(None)
                self._gone_on += 1
        self._round_is_due = bool(self._queues)
        if self._round_is_due:
            loop.call_soon(self._begin_round)

    def _most_in_a_round(self, loop: asyncio.AbstractEventLoop) -> int:
        return ROUND if loop.time() < self._together_until else ROUND_ALONE
