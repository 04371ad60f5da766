"""The report of a replay as a comment on a change: short, whatever was found."""

from typing import Final

from broker.workbench.replay.report import Outcome, Report
from broker.workbench.replay.tally import Group
from broker.workbench.replay.words import (
    CAUSES,
    KINDS,
    say_compared,
    say_outcome,
    say_rate,
    say_span,
)

MARK: Final = "<!-- broker policy replay -->"  # by which a comment is found again, to be replaced
MOST: Final = 30_000  # characters, which twenty rows cannot reach; GitHub takes 65,536
_SHOWN: Final = 20  # groups
_NAME: Final = 60  # characters of what others have named
_SIGNS: Final = {
    Outcome.SAME: "✅",
    Outcome.CHANGES: "🟡",
    Outcome.WIDENS: "🔴",
    Outcome.UNFINISHED: "⛔",
}
_SPECIAL: Final = frozenset("\\`*_{}[]()<>#+-.!|~&@:/")


def render_markdown(report: Report) -> str:
    """Return it in GitHub's Markdown, at most ``MOST`` characters.

    What clients have named stands there as text: no link, no mention, no HTML.
    """
    tally = report.tally
    lines = [
        MARK,
        "### Policy replay",
        "",
        f"{_SIGNS[report.outcome]} **{say_outcome(report)}**",
        "",
        f"Compared: {escape(say_compared(report))}. Decisions: {say_span(report)}."
        + ("" if report.sample == 1 else f" Sample: {report.sample:g} of the rows."),
    ]
    groups = tally.groups
    if groups:
        lines += [
            "",
            "| change | client | target | what | calls | a day |",
            "|---|---|---|---|---:|---:|",
            *(_row(report, group) for group in groups[:_SHOWN]),
        ]
        if len(groups) > _SHOWN:
            lines += ["", f"… and {len(groups) - _SHOWN:,} more, in the whole report."]
        lines += ["", f"Examples: {_examples(groups)}"]
    if tally.lost:
        lost = "; ".join(f"{count:,} {CAUSES[cause]}" for cause, count in tally.lost.most_common())
        lines += ["", f"Not replayed: {lost}."]
    return "\n".join(lines)[:MOST] + "\n"


def escape(text: str) -> str:
    """Return text so that nothing in it is Markdown."""
    cut = text if len(text) <= _NAME else f"{text[: _NAME - 1]}…"
    plain = "".join(char if char.isprintable() else " " for char in cut)
    return "".join(f"&#{ord(char)};" if char in _SPECIAL else char for char in plain)


def _row(report: Report, group: Group) -> str:
    kind = KINDS[group.kind]
    said = f"🔴 **{kind}**" if group.kind.widens else f"⚠️ {kind}" if group.kind.breaks else kind
    cells = (
        said,
        escape(group.client),
        escape(group.target),
        escape(group.what),
        f"{group.count:,}",
        say_rate(report.per_day(group.count)),
    )
    return f"| {' | '.join(cells)} |"


def _examples(groups: list[Group]) -> str:
    return ", ".join(f"`{_id(group.examples[0].id)}`" for group in groups[:3])


def _id(id: str) -> str:  # noqa: A002 — the column's name
    return "".join(char for char in id[:_NAME] if char.isalnum() or char == "-")
