"""What a replay found, as a value: to be printed, written, or compared with another one."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from broker.policy.difference import Kind
from broker.workbench.replay.tally import Group, Tally

FORMAT: Final = "broker-policy-replay"
VERSION: Final = 1


class Outcome(StrEnum):
    """What it amounts to."""

    SAME = "same"
    CHANGES = "changes"
    WIDENS = "widens"
    UNFINISHED = "unfinished"  # nothing could be replayed, or a policy kept failing


@dataclass(frozen=True, slots=True)
class Report:
    """A replay that has ended."""

    candidate: str  # revision
    against: str | None  # revision; None: what was recorded
    since: datetime | None
    until: datetime | None
    client: str | None
    target: str | None
    limit: int | None  # the newest so many rows; None: all
    sample: float  # which part of the rows was looked at; 1: all
    whole: bool  # False: a policy failed so often that it was given up
    tally: Tally

    @property
    def outcome(self) -> Outcome:
        """The worst that can be said. What was not compared is no clean result."""
        if not self.whole or not self.tally.decisions:
            return Outcome.UNFINISHED
        if self.tally.widening:
            return Outcome.WIDENS
        return Outcome.CHANGES if self.tally.changed else Outcome.SAME

    def per_day(self, count: int) -> float:
        """Return about how many that is on a day with any decision, were all rows looked at."""
        return count / self.sample / max(1, len(self.tally.days))

    @property
    def kinds(self) -> dict[Kind, int]:
        """How many decisions change in which way, in the order of ``Kind``."""
        counts = dict.fromkeys(Kind, 0)
        for group in self.tally.groups:
            counts[group.kind] += group.count
        return {kind: count for kind, count in counts.items() if count}

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it; ``docs/how-to/replay-a-policy.md`` says what it means."""
        tally = self.tally
        return {
            "format": FORMAT,
            "version": VERSION,
            "outcome": self.outcome.value,
            "candidate": self.candidate,
            "against": self.against,
            "recorded_revisions": dict(tally.revisions.most_common()),
            "asked": {
                "since": self.since and self.since.isoformat(),
                "until": self.until and self.until.isoformat(),
                "client": self.client,
                "target": self.target,
                "limit": self.limit,
                "sample": self.sample,
            },
            "whole": self.whole,
            "first": tally.first,
            "last": tally.last,
            "decisions": tally.decisions,
            "unchanged": tally.decisions - tally.changed,
            "changed": tally.changed,
            "widening": tally.widening,
            "breaking": tally.breaking,
            "days": dict(sorted(tally.days.items())),
            "not_replayable": {cause.value: count for cause, count in tally.lost.most_common()},
            "kinds": {kind.value: count for kind, count in self.kinds.items()},
            "groups": [self._render_group(group) for group in tally.groups],
        }

    def _render_group(self, group: Group) -> dict[str, Any]:
        return {
            "client": group.client,
            "target": group.target,
            "kind": group.kind.value,
            "what": group.what,
            "widens": group.kind.widens,
            "breaks": group.kind.breaks,
            "count": group.count,
            "per_day": round(self.per_day(group.count), 1),
            "days": dict(sorted(group.days.items())),
            "examples": [{"id": one.id, "at": one.at} for one in group.examples],
        }
