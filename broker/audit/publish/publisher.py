"""Brings checkpoints out, to each place on its own: one that is down holds nobody up.

Every replica runs one. Whoever has just sealed brings it out at once; the others only what has
waited for so long that nobody else seems to. So the same may arrive twice, and never not at all.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from broker.audit.publish.outbox import Outbox, OutboxUnavailable
from broker.audit.publish.sink import Contradiction, Sink, SinkUnavailable
from broker.audit.seal_health import SealRefused
from broker.telemetry import meter

_log = logging.getLogger(__name__)
_published = meter.create_counter(
    "broker.audit.publish.checkpoints", unit="1", description="Checkpoints brought out, by sink."
)
_failures = meter.create_counter(
    "broker.audit.publish.failures",
    unit="1",
    description="Failed attempts to bring checkpoints out, by sink.",
)
_refuted = meter.create_counter(
    "broker.audit.publish.contradictions",
    unit="1",
    description="Times that something outside contradicted the database, by sink.",
)

_AT_ONCE: Final = timedelta(0)
_WITHIN: Final = 15.0  # seconds for one comparison, before the first seal
_FIRST_PAUSE: Final = 1.0  # seconds after a failure, doubled each time
_LONGEST_PAUSE: Final = 60.0


class Publisher:
    """``run`` for as long as the process lives; ``publish`` for once."""

    def __init__(self, sinks: Sequence[Sink], outbox: Outbox, *, every: timedelta) -> None:
        self._sinks = sinks
        self._outbox = outbox
        self._every = every
        self._wakes = {sink.name: asyncio.Event() for sink in sinks}
        self._compared: set[str] = set()  # sinks that did not contradict the database
        self._contradictions: dict[str, str] = {}
        self._faults: dict[str, str] = {}

    @property
    def faults(self) -> dict[str, str]:
        """What is wrong with each place that does not take checkpoints, for people."""
        return self._faults | self._contradictions

    def wake(self) -> None:
        """There is a checkpoint of this process's own: bring it out."""
        for event in self._wakes.values():
            event.set()

    async def examine(self) -> None:
        """Raise ``SealRefused`` if any place that answers contradicts the database."""
        for sink in self._sinks:
            try:
                async with asyncio.timeout(_WITHIN):
                    await self._compare(sink)
            except (SinkUnavailable, OutboxUnavailable, TimeoutError) as error:
                self._failed(sink, error)
        for text in self._contradictions.values():
            raise SealRefused(text)

    async def publish(self) -> dict[str, str | None]:
        """Bring out everything that is due; returns by name what went wrong, None: nothing."""
        for sink in self._sinks:
            await self._catch_up(sink, _AT_ONCE)
        return {sink.name: self.faults.get(sink.name) for sink in self._sinks}

    async def run(self, stop: asyncio.Event, contradicted: Callable[[], None]) -> None:
        """Bring checkpoints out until ``stop`` is set. ``contradicted``: sealing is to end."""
        try:
            async with asyncio.TaskGroup() as group:
                for sink in self._sinks:
                    group.create_task(self._follow(sink, stop, contradicted))
                await stop.wait()
                self.wake()
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Close what is open at each of the places."""
        for sink in self._sinks:
            await sink.aclose()

    async def _follow(
        self, sink: Sink, stop: asyncio.Event, contradicted: Callable[[], None]
    ) -> None:
        wake = self._wakes[sink.name]
        pause = _FIRST_PAUSE
        while not stop.is_set():
            own = wake.is_set()
            wake.clear()
            if await self._catch_up(sink, _AT_ONCE if own else 2 * self._every):
                wait, pause = self._every.total_seconds(), _FIRST_PAUSE
            else:
                wait, pause = pause, min(2 * pause, _LONGEST_PAUSE)
                if sink.name in self._contradictions:
                    contradicted()
            with suppress(TimeoutError):
                await asyncio.wait_for(wake.wait(), wait)

    async def _catch_up(self, sink: Sink, patience: timedelta) -> bool:
        """Return whether everything that is due is there now."""
        try:
            if sink.name not in self._compared:
                await self._compare(sink)
            if sink.name in self._contradictions:
                return False
            count = await sink.catch_up(self._outbox, patience)
        except Contradiction as error:
            self._contradict(sink, error)
            return False
        except (SinkUnavailable, OutboxUnavailable) as error:
            self._failed(sink, error)
            return False
        except Exception:  # noqa: BLE001 — the edge: nothing that a library does ends the broker
            _log.exception("a checkpoint was not brought out, and will be")
            _failures.add(1, {"sink": sink.kind})
            return False
        _published.add(count, {"sink": sink.kind})
        if self._faults.pop(sink.name, None) is not None:
            _log.info("checkpoints are brought out again", extra={"sink": sink.name})
        return True

    async def _compare(self, sink: Sink) -> None:
        try:
            await sink.examine(self._outbox)
        except Contradiction as error:
            self._contradict(sink, error)
            return
        self._contradictions.pop(sink.name, None)
        self._compared.add(sink.name)

    def _contradict(self, sink: Sink, error: Contradiction) -> None:
        self._compared.discard(sink.name)
        self._contradictions[sink.name] = str(error)
        _refuted.add(1, {"sink": sink.kind})

    def _failed(self, sink: Sink, error: Exception) -> None:
        _failures.add(1, {"sink": sink.kind})
        said = str(error) or "no answer in time"
        if self._faults.get(sink.name) != said:
            self._faults[sink.name] = said
            _log.error("a checkpoint was not brought out, and will be: %s", said)
