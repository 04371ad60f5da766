"""Ends a guest call that takes too long.

Wasmtime offers fuel and epochs. Counting every instruction (fuel) made the stock decision a third
slower; looking at one number at loops and calls (epochs), a tenth. So epochs, and no call arms
one: a thread looks in once a deadline, and only if it meets the same call twice does it step the
epoch, which traps the guest. So a call is given at least half the deadline and at most twice that,
and to be watched costs it two assignments.

What is counted is processor time of the thread that decides: on a machine with too much to do, a
decision that waits for its turn has done nothing wrong.
"""

import threading
import time
from itertools import count
from typing import Final

from wasmtime import Engine

IDLE: Final = 0


class Watchdog:
    """Watches the guest calls of one Wasmtime engine, one at a time."""

    def __init__(self, engine: Engine, deadline: float) -> None:
        self.numbers = count(IDLE + 1)
        self.current = IDLE  # the number of the call that runs now
        self.steps = 0  # of the epoch so far: whoever was armed before the last one is armed anew
        self._engine = engine
        self._deadline = deadline  # seconds
        self._stop = threading.Event()
        self._clock = time.CLOCK_MONOTONIC
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch; harmless if it has."""
        if self._thread is None and not self._stop.is_set():
            if hasattr(time, "pthread_getcpuclockid"):
                self._clock = time.pthread_getcpuclockid(threading.get_ident())
            self._thread = threading.Thread(target=self._watch, name="policy-watchdog", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop watching, for good."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _watch(self) -> None:
        seen, since = IDLE, 0.0
        while not self._stop.wait(self._deadline):
            current = self.current
            if current == IDLE:
                seen = IDLE
                continue
            used = time.clock_gettime(self._clock)
            if current != seen:
                seen, since = current, used
            elif used - since >= self._deadline / 2:
                self.steps += 1
                self._engine.increment_epoch()
