"""What a rule says: which rule, about whom, what was seen, and what was to be expected."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from broker.audit.event import VERSION, Event, build_event, render_time
from broker.audit.uuid7 import name_uuid7
from broker.settings.alerts import RuleName

MOST_EVIDENCE: Final = 8  # rows that an alert names

SEVERITIES: Final[Mapping[RuleName, str]] = {
    "client_rate": "medium",
    "new_pair": "medium",
    "probing": "medium",
    "replay": "high",
    "deep_chain": "low",
    "use_after_revocation": "high",
    "widening": "medium",
    "obliged": "high",
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. The same trail gives the same ones, under the same ids."""

    rule: RuleName
    client: str | None  # None: whoever did not authenticate
    issuer: str | None  # of the subject of the row that made it
    subject: str | None  # a pseudonym, where the rule is about a subject
    at: datetime  # of that row
    since: datetime  # the window that was counted in
    observed: int
    expected: float
    threshold: float
    meaning: str
    evidence: tuple[str, ...] = ()  # ids of rows, the last one made it
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its id: one a rule, client, subject and day, however often it is looked for."""
        day = self.at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        parts = (self.rule, self.client or "", self.issuer or "", self.subject or "")
        # Each with its length, so that no two lists of parts are one text. By its day an id sorts
        # among those of all other rows.
        return name_uuid7(day, "".join(f"{len(part)}:{part}" for part in parts))

    @property
    def severity(self) -> str:
        """How bad that is."""
        return SEVERITIES[self.rule]

    def describe(self) -> dict[str, Any]:
        """Return the numbers, for a record and for people."""
        subject = {"subject": self.subject} if self.subject else {}
        return {
            "meaning": self.meaning,
            "observed": self.observed,
            "expected": round(self.expected, 1),
            "threshold": round(self.threshold, 1),
            "since": render_time(self.since),
            "until": render_time(self.at),
            **({"issuer": self.issuer} if self.issuer else {}),
            **subject,
            **self.more,
            "evidence": list(self.evidence),
        }


def build_alert(alert: Alert, *, at: datetime) -> Event:
    """Return the event of an alert. Persons are pseudonyms in it, so nothing of it is sealed."""
    return build_event(
        {
            "version": VERSION,
            "kind": "alert",
            "id": alert.id,
            "at": render_time(at),
            "outcome": "done",
            "action": alert.rule,
            "rule": alert.rule,
            "severity": alert.severity,
            "client": {"id": alert.client} if alert.client else None,
            "details": alert.describe(),
        }
    )
