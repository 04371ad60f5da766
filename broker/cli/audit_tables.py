"""How rows of the audit trail look, and a report on it. Legible without any colour."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from broker.audit.verify import Problem, Report
from broker.cli.console import printable

_WIDE: Final = 100  # columns from which on there is room for ids
_INDENT: Final = (0, 0, 1, 0)
_NOTHING: Final = "·"
_NAMED: Final = 5  # of a list that could be long
_ID: Final = 36  # characters of a UUID


def print_rows(rows: Sequence[Mapping[str, Any]], console: Console, *, more: bool) -> None:
    """Print rows as a table, the newest first; ``more``: there are others that fit."""
    if not rows:
        console.print(Text("Nothing on record fits.", "quiet"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
    table.add_column("at (UTC)", style="quiet", no_wrap=True)
    wide = console.width >= _WIDE
    table.add_column("what", overflow="fold", min_width=_ID if wide else 21)
    table.add_column("client → target", overflow="fold", ratio=3)
    table.add_column("on behalf of", overflow="fold", ratio=4)
    table.add_column("scopes", overflow="fold", ratio=3)
    for row in rows:
        table.add_row(
            f"{row['at']:%Y-%m-%d}\n{row['at']:%H:%M:%S}",
            _what(row, with_id=wide),
            _parties(row),
            _behalf(row),
            _lines(row["scopes"]),
        )
    console.print(Padding(table, _INDENT))
    text = f"The newest {len(rows)}; there are more: narrow it down, or say --limit."
    console.print(Text(text if more else f"{len(rows)} in all.", "quiet"))


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
    if report.unprotected:
        console.print(Text("\n".join(_unprotected(report)), "warning"))
    if report.unended:
        console.print(Text("\n".join(_unended(report)), "quiet"))


def print_report_json(report: Report) -> None:
    """Print the same as one JSON document."""
    document = {"intact": report.intact, **asdict(report)}
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _problems(report: Report) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("writer", no_wrap=True)
    table.add_column("batch", justify="right", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("what is wrong", style="bad", overflow="fold")
    for problem in report.problems:
        table.add_row(
            str(problem.writer),
            _NOTHING if problem.batch is None else str(problem.batch),
            _range(problem),
            problem.fault.value + (f" ({problem.column})" if problem.column else ""),
        )
    return table


def _range(problem: Problem) -> str:
    first, last = problem.first_seq, problem.last_seq
    if first is None or last is None or last < first:
        return _NOTHING
    return str(first) if first == last else f"{first}–{last}"  # noqa: RUF001 — a range


def _unprotected(report: Report) -> Iterator[str]:
    yield "! Rows of these tables can be changed: their trigger is missing or switched off."
    yield from _first(report.unprotected)


def _unended(report: Report) -> Iterator[str]:
    count = len(report.unended)
    yield f"{count} of the writers {'has' if count == 1 else 'have'} no last row:"
    yield "running still, ended by force, or cut off. A checkpoint kept elsewhere would tell."
    yield from _first(report.unended)


def _first(names: Sequence[object]) -> Iterator[str]:
    yield from (f"  {name}" for name in names[:_NAMED])
    if len(names) > _NAMED:
        yield f"  and {len(names) - _NAMED} more"


def _what(row: Mapping[str, Any], *, with_id: bool) -> Text:
    if row["outcome"] == "issued":
        text = Text("✓ issued", "good")
    elif row["outcome"] == "refused":
        text = Text(f"✗ {row['reason'] or 'counted refusals'}", "bad")
    else:
        prefix = "writer " if row["kind"] == "writer" else ""
        text = Text(f"• {prefix}{printable(row['action'] or row['kind'])}")
    return text.append(f"\n{row['id']}", "quiet") if with_id else text


def _parties(row: Mapping[str, Any]) -> Text:
    text = Text(printable(row["client"] or _NOTHING), "client" if row["client"] else "quiet")
    if row["targets"]:
        text.append("\n→ ", "quiet").append(printable(", ".join(row["targets"])), "default")
    return text


def _behalf(row: Mapping[str, Any]) -> Text:
    if row["subject"] is None:
        return Text(_NOTHING, "quiet")
    text = Text(printable(row["subject"]))
    text.append(f"\n{printable(row['subject_issuer'])}", "quiet")
    # The current actor stands first in the row; read downwards it is who came last.
    for actor in reversed(row["actors"]):
        text.append("\n└ by ", "quiet").append(printable(actor), "default")
    return text


def _lines(values: Sequence[str]) -> Text:
    return Text(printable("\n".join(values)) or _NOTHING, "" if values else "quiet")
