"""``broker audit alerts``: what the rules have found, from the trail."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from broker.audit.access import describe_filter
from broker.audit.members import find_list, find_member, find_text
from broker.audit.query import Filter, find_rows
from broker.cli.audit.source import (
    Config,
    DatabaseUrl,
    find_database,
    open_reader,
    parse_moment,
    record_look,
    told,
)
from broker.cli.console import build_console, printable
from broker.cli.options import ListFormat

ALERTS_HELP: Final = (
    "Exit codes: **0** asked and answered, **2** could not look.\n\n"
    "Example: `broker audit alerts --since 7d --config broker.yaml`"
)
_STYLES: Final = {"low": "quiet", "medium": "warning", "high": "bad", "critical": "bad"}


def alerts(
    since: Annotated[
        str, typer.Option(help="From then on: `24h` ago, or `2026-11-24T12:00:00Z`.")
    ] = "7d",
    rule: Annotated[
        str | None, typer.Option(help="Of this rule, like `probing`.", show_default=False)
    ] = None,
    client: Annotated[
        str | None, typer.Option(help="About this client.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    output: Annotated[
        ListFormat, typer.Option("--format", help="How to print them.")
    ] = ListFormat.TABLE,
    config: Config = None,
    database_url: DatabaseUrl = None,
) -> None:
    """List alerts, the newest first: which rule, about whom, what was seen and what is usual.

    Persons are pseudonyms in them. As `json` and `jsonl` each is the whole record, byte for byte as
    it was hashed; `evidence` in it names rows for `broker audit show`.
    """
    with told():
        wanted = Filter(
            since=parse_moment("--since", since), client=client, kind="alert", action=rule
        )
        with find_database(config, database_url) as url:
            asyncio.run(_alerts(url, wanted, limit, output))


async def _alerts(url: str, wanted: Filter, limit: int, output: ListFormat) -> None:
    async with open_reader(url) as database:
        details = describe_filter(wanted) | {"format": output.value}
        await record_look(database, "audit.query", details, None)
        found = [row async for row in find_rows(database, wanted, limit=limit + 1)]
    records = [row["record"] for row in found[:limit]]
    if output is ListFormat.JSONL:
        sys.stdout.writelines(f"{record}\n" for record in records)
    elif output is ListFormat.JSON:
        sys.stdout.write(f"[{','.join(f'{chr(10)}{record}' for record in records)}\n]\n")
    else:
        print_alerts([orjson.loads(record) for record in records], console := build_console())
        if len(found) > limit:
            text = f"The newest {limit}; there are more: narrow it down, or say --limit."
            console.print(Text(text, "quiet"))


def print_alerts(records: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print alerts as a table, in the order in which they come."""
    if not records:
        console.print(Text("✓ No alerts.", "good"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
    table.add_column("until (UTC)", style="quiet", no_wrap=True)
    table.add_column("rule", overflow="fold", min_width=20)
    table.add_column("what was seen", overflow="fold", ratio=1)
    for record in records:
        table.add_row(_when(record), _rule(record), _numbers(record))
    console.print(table)


def _when(record: Mapping[str, Any]) -> str:
    until = find_text(record, "details", "until") or find_text(record, "at") or ""
    return printable(until[:19].replace("T", "\n"))


def _rule(record: Mapping[str, Any]) -> Text:
    severity = find_text(record, "severity") or "medium"
    text = Text(printable(find_text(record, "rule") or "·"))
    text.append(f"\n{printable(severity)}", _STYLES.get(severity, "warning"))
    return text.append(f"\n{printable(find_text(record, 'client', 'id') or 'nobody')}", "client")


def _numbers(record: Mapping[str, Any]) -> Text:
    def number(name: str) -> str:
        return printable(str(find_member(record, "details", name)))

    text = Text(f"{number('observed')} ", "heading")
    text.append(printable(find_text(record, "details", "meaning") or ""), "default")
    text.append(f"\nusual {number('expected')}, threshold {number('threshold')}", "quiet")
    text.append(
        f", since {printable((find_text(record, 'details', 'since') or '·')[:19])}", "quiet"
    )
    if suppressed := find_text(record, "suppressed"):
        text.append(f"\nsuppressed: {printable(suppressed)}", "warning")
    evidence = find_list(record, "details", "evidence")
    if evidence:
        text.append(f"\nrow {printable(str(evidence[-1]))}", "quiet")
        if len(evidence) > 1:
            text.append(f" and {len(evidence) - 1} more", "quiet")
    return text
