"""The report of a replay on a terminal: what widens in red and first, then who is refused."""

from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from broker.cli.console import printable
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

_SHOWN: Final = 40  # groups
_STYLES: Final = {
    Outcome.SAME: ("✓", "good"),
    Outcome.CHANGES: ("!", "warning"),
    Outcome.WIDENS: ("✗", "bad"),
    Outcome.UNFINISHED: ("✗", "bad"),
}


def print_report(report: Report, console: Console) -> None:
    """Print it all: at most forty groups, for the rest say how many there are."""
    console.print(
        Text.assemble((say_compared(report), "heading"), (f"  {say_span(report)}", "quiet"))
    )
    console.print()
    groups = report.tally.groups
    if groups:
        console.print(_table(report, groups[:_SHOWN]))
        if len(groups) > _SHOWN:
            left = len(groups) - _SHOWN
            console.print(Text(f"  … and {left:,} more: --format json has all of them", "quiet"))
        console.print()
        example = groups[0].examples[0]
        console.print(
            Text.assemble(("one of the first: ", "quiet"), f"broker audit show {example.id}"),
            soft_wrap=True,
        )
        console.print()
    _print_lost(report, console)
    sign, style = _STYLES[report.outcome]
    console.print(Text(f"{sign} {say_outcome(report)}", style=style))


def _table(report: Report, groups: list[Group]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="quiet")
    table.add_column("change", no_wrap=True)
    table.add_column("client", overflow="fold")
    table.add_column("target", overflow="fold")
    table.add_column("what", overflow="fold", ratio=1)
    table.add_column("calls", justify="right", no_wrap=True)
    table.add_column("a day", justify="right", no_wrap=True)
    for group in groups:
        sign, style = _mark(group)
        table.add_row(
            Text(f"{sign} {KINDS[group.kind]}", style=style),
            Text(printable(group.client), style="client"),
            Text(printable(group.target)),
            Text(printable(group.what), style=style if group.kind.widens else ""),
            f"{group.count:,}",
            say_rate(report.per_day(group.count)),
        )
    return table


def _mark(group: Group) -> tuple[str, str]:
    if group.kind.widens:
        return "+", "bad"
    return ("✗", "warning") if group.kind.breaks else ("·", "")


def _print_lost(report: Report, console: Console) -> None:
    lost = report.tally.lost
    if not lost:
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column()
    for cause, count in lost.most_common():
        table.add_row(f"{count:,}", CAUSES[cause])
    console.print(Text("not replayed", "quiet"))
    console.print(Padding(table, (0, 0, 1, 2)))
