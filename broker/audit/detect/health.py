"""How detection fares, and what it finds: metrics and the log. Persons are pseudonyms here too."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from broker.audit.detect.engine import Found
from broker.audit.follow import Followed, Gap
from broker.telemetry import meter

_log = logging.getLogger(__name__)
_alerts = meter.create_counter(
    "broker.audit.alerts",
    unit="1",
    description="Alerts, by rule, severity and whether they are suppressed and so not written.",
)
_lag = meter.create_gauge(
    "broker.audit.detect.lag",
    unit="s",
    description="Age of the oldest sealed batch of the trail that no rule has seen.",
)
_failures = meter.create_counter(
    "broker.audit.detect.failures",
    unit="1",
    description="Times that the trail could not be looked through; that is tried again.",
)
_PRIMING: Final = "reading what was usual"


class DetectionHealth:
    """Told by the one who looks what becomes of it."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._reached = clock()
        self.fault: str | None = None  # what is wrong, for people
        self.state = "starting"  # what it does, for people

    def primes(self) -> None:
        """Say that it learns what is usual, as long as it does."""
        if self.state != _PRIMING:
            self.state = _PRIMING
            _log.info("detection reads in the trail what was usual")
        self._tell_lag()

    def unkept(self, text: str) -> None:
        """Tell that the next one who takes over has to read the trail anew."""
        _log.warning("what detection remembers is not kept: %s", text)

    def found(self, found: Found) -> None:
        """Count an alert, and tell of it once it is on record."""
        alert = found.alert
        suppressed = found.suppressed is not None
        labels: dict[str, str] = {
            "rule": alert.rule,
            "severity": alert.severity,
            "suppressed": "yes" if suppressed else "no",
        }
        _alerts.add(1, labels)
        if not suppressed:
            _log.warning(
                "alert: %s: %d %s; usual are %.0f, the threshold is %.0f",
                *(alert.rule, alert.observed, alert.meaning, alert.expected, alert.threshold),
                extra={
                    "rule": alert.rule,
                    "severity": alert.severity,
                    "client": alert.client,
                    "row": alert.id,
                    "observed": alert.observed,
                    "expected": alert.expected,
                    "threshold": alert.threshold,
                },
            )

    def seen(self, chunk: Followed) -> None:
        """Say how far it has come."""
        behind = chunk.next_position < chunk.size
        self._reach(chunk.at if behind and chunk.at is not None else self._clock())

    def missing(self, gap: Gap) -> None:
        """Tell of what somebody has taken away, and no rule will see."""
        _log.critical("%s, and no tombstone says why: run `broker audit verify`", gap)

    def idle(self) -> None:
        """Have nothing to wait for."""
        self._reach(self._clock())

    def waits(self) -> None:
        """Have nothing to answer for: another process looks."""
        self.state = "another process looks"
        self.fault = None
        self._reached = self._clock()
        self._tell_lag()

    def failed(self, text: str) -> None:
        """Tell of a trouble that is new."""
        _failures.add(1)
        self._tell_lag()
        if text != self.fault:
            self.fault = text
            _log.error("no alerts: the audit trail is not looked through: %s", text)

    def _reach(self, at: datetime) -> None:
        self._reached = at
        self.state = "looking"
        self._tell_lag()
        if self.fault is not None:
            self.fault = None
            _log.info("the audit trail is looked through again")

    def _tell_lag(self) -> None:
        _lag.set(max(0.0, (self._clock() - self._reached).total_seconds()))
