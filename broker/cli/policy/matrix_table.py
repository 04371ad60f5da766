"""The matrix on a terminal: a line for each client and target, and what changes before them."""

from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from broker.cli.console import printable, short_revision
from broker.workbench.matrix.difference import CellChange, MatrixDifference
from broker.workbench.matrix.matrix import Matrix
from broker.workbench.matrix.rows import Row, build_rows
from broker.workbench.replay.report import Outcome
from broker.workbench.replay.words import KINDS

_SHOWN: Final = 200  # rows, and changes
_FAULTS: Final = 5
_STYLES: Final = {
    Outcome.SAME: ("✓", "good", "Nothing changes."),
    Outcome.CHANGES: ("!", "warning", "Something changes, and nobody gets more."),
    Outcome.WIDENS: ("✗", "bad", "Somebody may get more than before."),
    Outcome.UNFINISHED: ("✗", "bad", "Not all of it was compared."),
}


def print_matrix(matrix: Matrix, difference: MatrixDifference | None, console: Console) -> None:
    """Print the matrix; of a difference only what is another."""
    if difference is None:
        rows = build_rows(matrix)
        if rows:
            console.print(_rows(rows[:_SHOWN]))
        _print_left(len(rows), console)
        console.print()
    else:
        before = short_revision(difference.before.revision)
        console.print(Text(f"{before} → {short_revision(matrix.revision)}", "heading"))
        console.print()
        if difference.changes:
            console.print(_changes(difference.changes[:_SHOWN]))
            _print_left(len(difference.changes), console)
            console.print()
    _print_about(matrix, console)
    if difference is not None:
        sign, style, text = _STYLES[difference.outcome]
        console.print(Text(f"{sign} {text}", style=style))


def _rows(rows: list[Row]) -> Table:
    table = _table()
    table.add_column("client", overflow="fold", style="client")
    table.add_column("target", overflow="fold")
    table.add_column("subjects of", overflow="fold")
    table.add_column("scopes", overflow="fold", ratio=1)
    table.add_column("lives", no_wrap=True)
    table.add_column("hops", justify="right", no_wrap=True)
    unusual = any(row.more for row in rows)
    if unusual:
        table.add_column("besides", overflow="fold")
    for row in rows:
        cells = (
            Text(printable(row.client)),
            Text(printable(row.target)),
            Text(printable(", ".join(row.issuers))),
            Text(printable("\n".join(line.text for line in row.lines))),
            row.lives,
            row.hops,
            *([Text(printable("; ".join(row.more)))] if unusual else ()),
        )
        table.add_row(*cells)
    return table


def _changes(changes: tuple[CellChange, ...]) -> Table:
    table = _table()
    table.add_column("change", no_wrap=True)
    table.add_column("client", overflow="fold", style="client")
    table.add_column("target", overflow="fold")
    table.add_column("subjects of", overflow="fold")
    table.add_column("what", overflow="fold", ratio=1)
    for change in changes:
        sign, style = ("+", "bad") if change.kind.widens else ("·", "")
        if change.kind.breaks:
            sign, style = "✗", "warning"
        table.add_row(
            Text(f"{sign} {KINDS[change.kind]}", style=style),
            Text(printable(change.client)),
            Text(printable(change.target)),
            Text(printable(", ".join(change.issuers))),
            Text(printable(change.what), style=style if change.kind.widens else ""),
        )
    return table


def _table() -> Table:
    return Table(box=None, padding=(0, 2, 0, 0), header_style="quiet")


def _print_left(count: int, console: Console) -> None:
    if count > _SHOWN:
        text = f"  … and {count - _SHOWN:,} more: --format json has all of them"
        console.print(Text(text, "quiet"))


def _print_about(matrix: Matrix, console: Console) -> None:
    """Print what was looked at, and what that leaves open."""
    text = f"{len(matrix.cells):,} cells, {len(matrix.filled):,} with something to obtain"
    console.print(Text(f"{text}; the policy was asked {matrix.evaluations:,} times", "quiet"))
    for reason, count in matrix.reasons.items():
        console.print(Padding(Text(f"{count:,} empty: {reason.value}", "quiet"), (0, 0, 0, 2)))
    for issuer, claim in matrix.assumed:
        text = f"! tokens of {issuer} must have {claim}: name it with --claim {claim}=…"
        console.print(Text(text, "warning"))
    if not matrix.asked.vocabulary.complete:
        text = "! the policy has more names than are tried: what follows from others is not seen"
        console.print(Text(text, "warning"))
    for cell in matrix.faulty[:_FAULTS]:
        text = f"✗ the policy is at fault for {cell.client} at {cell.target}: "
        console.print(Text(printable(text + "; ".join(cell.faults)), "bad"))
    if matrix.stopped:
        console.print(Text(f"✗ stopped {matrix.stopped}: not all cells are here", "bad"))
