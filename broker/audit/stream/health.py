"""How the streams of a broker fare: what metrics and the log say of them, each trouble once."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from broker.audit.follow import Followed, Gap
from broker.telemetry import meter

_log = logging.getLogger(__name__)
_lag = meter.create_gauge(
    "broker.audit.stream.lag",
    unit="s",
    description="Age of the oldest sealed batch that a receiver has not, by stream.",
)
_rows = meter.create_counter(
    "broker.audit.stream.rows", unit="1", description="Rows delivered, by stream."
)
_failures = meter.create_counter(
    "broker.audit.stream.failures",
    unit="1",
    description="Lots of rows that were not delivered and are sent again, by stream.",
)
_refused = meter.create_counter(
    "broker.audit.stream.refused",
    unit="1",
    description="Rows that a receiver has refused for good, by stream.",
)
_gaps = meter.create_counter(
    "broker.audit.stream.gaps",
    unit="1",
    description="Stretches of the trail that are missing without a tombstone, by stream.",
)


class StreamHealth:
    """Told by one stream what becomes of its rows."""

    def __init__(self, name: str, clock: Callable[[], datetime]) -> None:
        self._labels: Final = {"stream": name}
        self._clock = clock
        self._reached = clock()  # everything that was sealed by then has arrived, or is another's
        self.fault: str | None = None  # what is wrong, for people

    def began(self, position: int, size: int) -> None:
        """Say where it goes on."""
        _log.info(
            "the audit trail is streamed",
            extra={**self._labels, "position": position, "size": size},
        )

    def delivered(self, found: Followed, refused: int) -> None:
        """Count what arrived."""
        _rows.add(len(found.rows) - refused, self._labels)
        behind = found.next_position < found.size
        self._reach(found.at if behind and found.at is not None else self._clock())
        if refused:
            _refused.add(refused, self._labels)
            _log.error("a receiver refuses rows of the audit trail for good", extra=self._labels)
        self._recover()

    def missing(self, gap: Gap) -> None:
        """Tell of what somebody has taken away."""
        _gaps.add(1, self._labels)
        _log.critical(
            "%s, and no tombstone says why: run `broker audit verify`", gap, extra=self._labels
        )

    def failed(self, text: str, wait: float) -> None:  # noqa: ARG002 — others show it
        """Tell of a trouble that is new."""
        _failures.add(1, self._labels)
        self._tell_lag()
        if text != self.fault:
            self.fault = text
            _log.error("the audit trail is not streamed: %s", text, extra=self._labels)

    def idle(self) -> None:
        """Have nothing to wait for."""
        self._reach(self._clock())
        self._recover()

    def waits(self) -> None:
        """Have nothing to answer for: another process does."""
        self.fault = None
        self._reach(self._clock())

    def _recover(self) -> None:
        if self.fault is not None:
            self.fault = None
            _log.info("the audit trail is streamed again", extra=self._labels)

    def _reach(self, at: datetime) -> None:
        self._reached = at
        self._tell_lag()

    def _tell_lag(self) -> None:
        _lag.set(max(0.0, (self._clock() - self._reached).total_seconds()), self._labels)
