"""``broker audit verify``: whether the trail is as it was written, and if not, where."""

import asyncio
import time
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from broker.audit.verify import Report, verify_trail
from broker.cli.audit.source import (
    TAMPERED,
    Config,
    DatabaseUrl,
    find_database,
    open_reader,
    told,
)
from broker.cli.audit_tables import print_report, print_report_json
from broker.cli.console import build_console
from broker.cli.options import Format

VERIFY_HELP: Final = (
    "Exit codes: **0** intact, **1** tampered with, **2** could not look.\n\n"
    "Example: `broker audit verify --config broker.yaml`"
)


def verify(
    output: Annotated[
        Format, typer.Option("--format", help="How to print what was found.")
    ] = Format.TABLE,
    config: Config = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Read the whole trail and say whether it is as it was written, and if not, where.

    Needs no running broker and disturbs none: rows may be appended meanwhile. That the newest rows
    were cut off, or everything was replaced by an older copy, cannot be seen from the database.
    """
    with told():
        began = time.perf_counter()
        with find_database(config, database_url) as url:
            report = asyncio.run(_verify(url))
    if output is Format.JSON:
        print_report_json(report)
    else:
        print_report(report, build_console(), time.perf_counter() - began)
    raise typer.Exit(0 if report.intact else TAMPERED)


async def _verify(url: str) -> Report:
    console = build_console(stderr=True)
    async with open_reader(url) as database:
        if not console.is_terminal:
            return await verify_trail(database)
        columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"))
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("rows", total=None)
            return await verify_trail(
                database,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
