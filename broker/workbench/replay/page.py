"""The report of a replay as one file of HTML: opened from a disk, mailed, printed.

It fetches nothing and runs no script; a policy of its own in it says so to the browser. It looks as
the explorer does, for it has the explorer's style sheet in it. What clients have named is text.
"""

from dataclasses import dataclass
from typing import Final

from broker.workbench.document import build_sheet, find_templates
from broker.workbench.replay.report import Outcome, Report
from broker.workbench.replay.tally import Group
from broker.workbench.replay.words import (
    CAUSES,
    KINDS,
    say_compared,
    say_outcome,
    say_rate,
    say_span,
    short,
)

_SHOWN: Final = 500  # groups: a page with more is slow to open
_BARS: Final = 60  # days of a picture, the newest
_LEAST: Final = 14  # days that a picture has room for
_STYLES: Final = {
    Outcome.SAME: "good",
    Outcome.CHANGES: "warn",
    Outcome.WIDENS: "bad",
    Outcome.UNFINISHED: "bad",
}
_SIGNS: Final = {
    Outcome.SAME: "✓",
    Outcome.CHANGES: "!",
    Outcome.WIDENS: "✗",
    Outcome.UNFINISHED: "✗",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """One day of a picture; ``height`` in per cent of the fullest day."""

    day: str
    count: int
    height: float


def render_page(report: Report) -> str:
    """Return the page."""
    groups = report.tally.groups
    return (
        find_templates()
        .get_template("replay.html")
        .render(
            report=report,
            tally=report.tally,
            said=say_outcome(report),
            style=_STYLES[report.outcome],
            sign=_SIGNS[report.outcome],
            compared=say_compared(report),
            span=say_span(report),
            groups=groups[:_SHOWN],
            left=max(0, len(groups) - _SHOWN),
            bars=lambda group: find_bars(report, group),
            least=_LEAST,
            rate=lambda group: say_rate(report.per_day(group.count)),
            kinds=KINDS,
            causes=CAUSES,
            short=short,
            sheet=build_sheet("replay.css"),
        )
    )


def find_bars(report: Report, group: Group) -> list[Bar]:
    """Return the days of a group, those without one of it among them, the oldest first."""
    days = sorted(report.tally.days)[-_BARS:]
    fullest = max((group.days[day] for day in days), default=0)
    if not fullest:
        return []
    return [Bar(day, group.days[day], 100 * group.days[day] / fullest) for day in days]
