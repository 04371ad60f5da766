"""What ``check`` and ``doctor`` found: a line for each thing looked at, and what to do about it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Final

import orjson
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from broker.cli.console import printable


class Mark(IntEnum):
    """How good it is; the number is what the command exits with if nothing is worse."""

    GOOD = 0
    WARNING = 1
    BAD = 2


_SIGNS: Final = {Mark.GOOD: "✓", Mark.WARNING: "!", Mark.BAD: "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    mark: Mark
    subject: str  # what was looked at, as the configuration calls it
    text: str
    remedy: str = ""  # what to do; empty when there is nothing to do


def good(subject: str, text: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(Mark.GOOD, subject, text)


def hint(subject: str, text: str, remedy: str) -> Finding:
    """Return that something is as it should be, and could be better."""
    return Finding(Mark.GOOD, subject, text, remedy)


def warning(subject: str, text: str, remedy: str) -> Finding:
    """Return that something works and should not stay so."""
    return Finding(Mark.WARNING, subject, text, remedy)


def bad(subject: str, text: str, remedy: str) -> Finding:
    """Return that something will fail."""
    return Finding(Mark.BAD, subject, text, remedy)


def worst(findings: Iterable[Finding]) -> Mark:
    """Return the mark of the worst; good if nothing was looked at."""
    return max((finding.mark for finding in findings), default=Mark.GOOD)


def print_findings(findings: list[Finding], console: Console) -> None:
    """Print a line for each, what to do under it, and a summary."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    # What is named must stay whole: it is what one searches the configuration for.
    table.add_column(overflow="fold", max_width=console.width // 3)
    table.add_column(overflow="fold", ratio=1)
    for finding in findings:
        style = finding.mark.name.lower()
        # Some of it comes from servers, which have no business with this terminal.
        said = Text(printable(finding.text))
        if finding.remedy:
            said.append(f"\n→ {printable(finding.remedy)}", style=style)
        subject = Text(printable(finding.subject))
        table.add_row(Text(_SIGNS[finding.mark], style=style), subject, said)
    console.print(Padding(table, (0, 0, 1, 0)))
    console.print(_summary(findings))


def print_findings_json(findings: list[Finding]) -> None:
    """Print the same as one JSON document."""
    document = {
        "ok": worst(findings) is Mark.GOOD,
        "findings": [
            {**asdict(finding), "mark": finding.mark.name.lower()} for finding in findings
        ],
    }
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _summary(findings: list[Finding]) -> Text:
    counts = {mark: sum(finding.mark is mark for finding in findings) for mark in Mark}
    if worst(findings) is Mark.GOOD:
        return Text(f"All {counts[Mark.GOOD]} are well.", style="good")
    parts = [
        f"{counts[mark]} {name}"
        for mark, name in ((Mark.BAD, "will fail"), (Mark.WARNING, "to look at"))
        if counts[mark]
    ]
    text = f"{', '.join(parts)}, {counts[Mark.GOOD]} well."
    return Text(text, style=worst(findings).name.lower())
