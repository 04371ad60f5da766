"""A candidate that is asked beside the policy in force, off the path of every exchange.

What holds, whatever the candidate does:

(1) an exchange is held up by no more than putting it into a queue; if that is full it is counted
    as dropped;
(2) the candidate has an instance and a thread of its own. While it runs it holds neither the
    interpreter nor anything that the policy in force needs, and it runs for at most a quarter of
    the time;
(3) what it says goes nowhere but into numbers and a few samples, which name requests and clients
    and hold nothing of tokens.
"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from broker.domain import Deny, Exchange, Permit
from broker.policy.difference import Kind, Terms, find_differences, terms_of
from broker.policy.engine import PolicyUnavailable
from broker.policy.floor import assess
from broker.policy.wasm import WasmEngine
from broker.telemetry import meter

_observed = meter.create_counter(
    "broker.policy.observed",
    unit="1",
    description="Exchanges that a candidate was asked about: same, different, failed or dropped.",
)
_differences = meter.create_counter(
    "broker.policy.differences",
    unit="1",
    description="Differences between a candidate and the policy in force, by kind.",
)

MAX_QUEUE: Final = 256  # exchanges
MAX_SAMPLES: Final = 20  # an interval, of which each differs in client or in kind
MAX_CLIENTS: Final = 100  # that are counted one by one
_BRISK: Final = 0.001  # seconds: a decision that takes less needs no rest after it
_REST: Final = 3  # times as long as a slow decision took: a quarter of the time is its own

Question = tuple[Exchange, bytes, "Permit | Deny", int]


@dataclass(slots=True)
class Tally:
    """What was observed in an interval."""

    observed: int = 0
    dropped: int = 0
    failed: int = 0  # trapped, late, undefined, malformed, or beyond the floor
    different: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    clients: Counter[str] = field(default_factory=Counter)  # with a difference
    samples: dict[tuple[str, frozenset[Kind]], str] = field(default_factory=dict)

    def describe(self) -> Mapping[str, Any]:
        """Return it as JSON has it."""
        return {
            "observed": self.observed,
            "dropped": self.dropped,
            "failed": self.failed,
            "different": self.different,
            "widening": sum(count for kind, count in self.kinds.items() if kind.widens),
            "kinds": {kind.value: self.kinds[kind] for kind in Kind if self.kinds[kind]},
            "clients": dict(self.clients.most_common(MAX_CLIENTS)),
            "samples": [
                {
                    "request_id": request,
                    "client": client,
                    "kinds": [kind.value for kind in Kind if kind in kinds],
                }
                for (client, kinds), request in self.samples.items()
            ],
        }

    def add(self, exchange: Exchange, differences: frozenset[Kind]) -> None:
        """Count how a decision differs; no differences are counted as none."""
        self.observed += 1
        if not differences:
            return
        client = exchange.client.id
        self.different += 1
        self.kinds.update(differences)
        if client in self.clients or len(self.clients) < MAX_CLIENTS:
            self.clients[client] += 1
        if len(self.samples) < MAX_SAMPLES:
            self.samples.setdefault((client, differences), exchange.request.id)


class Observer:
    """Asks one candidate, in a thread that lives from ``start`` to ``stop``."""

    def __init__(self, engine: WasmEngine) -> None:
        """``engine`` is this observer's alone from now on."""
        self.revision = engine.revision
        self._engine = engine
        self._queue: queue.Queue[Question | None] = queue.Queue(MAX_QUEUE)
        self._lock = threading.Lock()
        self._tally = Tally()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="policy-observer", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def offer(self, exchange: Exchange, input: bytes, live: Permit | Deny, ceiling: int) -> None:  # noqa: A002 — the word of OPA
        """Have the candidate asked as well, some time; (1)."""
        try:
            self._queue.put_nowait((exchange, input, live, ceiling))
        except queue.Full:
            _observed.add(1, {"outcome": "dropped"})
            with self._lock:
                self._tally.dropped += 1

    def take(self) -> Tally:
        """Return what was observed since the last time, and begin anew."""
        with self._lock:
            taken, self._tally = self._tally, Tally()
        return taken

    def stop(self) -> None:
        """End the thread and the instance; blocks for as long as one decision may take."""
        self._stop.set()
        if self._thread.is_alive():
            # It waits in ``get``; or the queue is full, and it finds the event by itself.
            with suppress(queue.Full):
                self._queue.put_nowait(None)
            self._thread.join()
        self._engine.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            question = self._queue.get()
            if question is None:
                continue
            began = time.monotonic()
            self._observe(*question)
            took = time.monotonic() - began
            if took > _BRISK:
                self._stop.wait(_REST * took)  # (2)

    def _observe(
        self,
        exchange: Exchange,
        input: bytes,  # noqa: A002 — the word of OPA
        live: Permit | Deny,
        ceiling: int,
    ) -> None:
        before = terms_of(live)
        try:
            # Without the report of ``judge``: what a candidate does wrong is counted as its own.
            after: Terms | None = terms_of(
                assess(exchange, self._engine.decide(input), ceiling=ceiling)
            )
        except PolicyUnavailable:
            after = None
        failed = after is None or after.faulty
        differences = frozenset({Kind.FAILED}) if after is None else find_differences(before, after)
        outcome = "failed" if failed else ("different" if differences else "same")
        _observed.add(1, {"outcome": outcome})
        for kind in differences:
            _differences.add(1, {"kind": kind.value})
        with self._lock:
            self._tally.failed += failed
            self._tally.add(exchange, differences)
