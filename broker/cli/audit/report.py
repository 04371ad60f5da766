"""How a report on the trail looks. Legible without any colour."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final

import orjson
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from broker.audit.verify import Problem, Report

_INDENT: Final = (0, 0, 1, 0)
_NOTHING: Final = "·"
_NAMED: Final = 5  # of a list that could be long


def print_report(report: Report, console: Console, seconds: float) -> None:
    """Print whether the trail is intact, and if not, the first things that are wrong."""
    read = (
        f"{report.rows:,} rows in {report.batches:,} batches of {report.writers:,} writers"
        f" read in {seconds:.1f} s"
    )
    if report.intact:
        console.print(Text.assemble(("✓ intact", "good"), f": {read}"))
    else:
        console.print(Text.assemble(("✗ tampered with", "bad"), f": {read}\n"))
        console.print(Padding(_problems(report), _INDENT))
        hidden = report.problem_count - len(report.problems)
        if hidden:
            console.print(Text(f"and {hidden:,} more", "bad"))
    for line in _sealed(report):
        console.print(Text(line, "quiet"))
    if report.unprotected:
        console.print(Text("\n".join(_unprotected(report)), "warning"))
    if report.unended:
        console.print(Text("\n".join(_unended(report)), "quiet"))
    for text in report.not_checked:
        console.print(Text(f"! not checked: {text}", "warning"))


def print_report_json(report: Report) -> None:
    """Print the same as one JSON document."""
    document = {"intact": report.intact, **asdict(report)}
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _problems(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("where", overflow="fold")
    table.add_column("batch", justify="right", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("what is wrong", style="bad", overflow="fold")
    for problem in report.problems:
        table.add_row(
            _where(problem),
            _NOTHING if problem.batch is None else str(problem.batch),
            _range(problem),
            problem.fault.value + (f" ({problem.column})" if problem.column else ""),
        )
    return table


def _where(problem: Problem) -> str:
    """Return what finds it: the writer and the row, the place in the log, or the checkpoint."""
    parts = []
    if problem.writer is not None:
        parts.append(f"writer {problem.writer}")
    if problem.id is not None:
        parts.append(f"row {problem.id}")
    if problem.at is not None:
        parts.append(f"{problem.at:%Y-%m-%d %H:%M:%S} UTC")
    if problem.position is not None:
        parts.append(f"log position {problem.position}")
    if problem.size is not None:
        parts.append(f"checkpoint of size {problem.size}")
    if problem.source is not None:
        parts.append(problem.source)
    return "\n".join(parts) or _NOTHING


def _range(problem: Problem) -> str:
    first, last = problem.first_seq, problem.last_seq
    if first is None or last is None or last < first:
        return _NOTHING
    return str(first) if first == last else f"{first}–{last}"  # noqa: RUF001 — a range


def _sealed(report: Report) -> Iterator[str]:
    newest = f", the newest of {report.newest:%Y-%m-%d %H:%M:%S} UTC" if report.newest else ""
    outside = f", {report.outside:,} kept elsewhere" if report.outside else ""
    if report.checkpoints:
        yield (
            f"{report.sealed:,} batches under {report.checkpoints:,} checkpoints{newest}{outside}"
        )
    if report.removed:
        yield f"{report.removed:,} rows were removed, with tombstones that say so"
    if report.unsealed:
        since = report.unsealed_since
        yield (
            f"{report.unsealed:,} batches wait for a checkpoint"
            + (f", the oldest since {since:%Y-%m-%d %H:%M:%S} UTC" if since else "")
        )


def _unprotected(report: Report) -> Iterator[str]:
    yield "! Rows of these tables can be changed: their trigger is missing or switched off."
    yield from _first(report.unprotected)


def _unended(report: Report) -> Iterator[str]:
    count = len(report.unended)
    yield f"{count} of the writers {'has' if count == 1 else 'have'} no last row:"
    yield "running still, ended by force, or cut off before a checkpoint was over it."
    yield from _first(report.unended)


def _first(names: Sequence[object]) -> Iterator[str]:
    yield from (f"  {name}" for name in names[:_NAMED])
    if len(names) > _NAMED:
        yield f"  and {len(names) - _NAMED} more"
