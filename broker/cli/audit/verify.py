"""``broker audit verify``: whether the trail is as it was written, and if not, where."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from broker.audit.checkpoint_key import build_origin, load_checkpoint_keys
from broker.audit.note import VerifierKey
from broker.audit.verify import Question, Report, load_outside, verify_export, verify_trail
from broker.cli.audit.public_key import load_public_keys
from broker.cli.audit.report import print_report, print_report_json
from broker.cli.audit.source import (
    TAMPERED,
    Config,
    DatabaseUrl,
    Unclear,
    find_database,
    open_reader,
    parse_moment,
    told,
)
from broker.cli.console import build_console
from broker.cli.options import Format
from broker.settings import find_key_files, load_settings

VERIFY_HELP: Final = (
    "Exit codes: **0** intact, **1** tampered with, **2** could not look.\n\n"
    "Example: `broker audit verify --config broker.yaml --checkpoints checkpoints.txt`\n\n"
    "Example: `broker audit verify --export trail.jsonl --public-key audit.pub`"
)


def verify(
    since: Annotated[
        str | None,
        typer.Option("--from", help="Batches from then on: `24h` ago, or `2026-11-24T12:00:00Z`."),
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Batches before then.")] = None,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Checkpoints that were kept outside: the file of `audit.checkpoints.file`, or a"
            " folder with the objects of a bucket. Only they show an older copy.",
            show_default=False,
        ),
    ] = None,
    public_key: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|KEY",
            help="The public key of the log, a file or its text, from somebody whom you trust;"
            " absent: the one of the configuration's key file.",
            show_default=False,
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Verify a native export instead of a database.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Format, typer.Option("--format", help="How to print what was found.")
    ] = Format.TABLE,
    config: Config = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Read the whole trail and say whether it is as it was written, and if not, where.

    Needs no running broker and disturbs none: rows may be appended meanwhile. With `--from` and
    `--to` rows outside are not read; the log of all batches is, each time. What could not be
    checked for want of a key or of checkpoints is named.
    """
    with told():
        began = time.perf_counter()
        question = Question(since=parse_moment("--from", since), until=parse_moment("--to", until))
        if question.since and question.until and question.since >= question.until:
            raise Unclear("--to: write a time after --from")
        offline = export is not None or database_url is not None
        keys = _load_keys(public_key, config, offline=offline)
        outside = load_outside(checkpoints, keys) if checkpoints is not None else []
        if export is not None:
            if question.since or question.until:
                raise Unclear("--from, --to: an export has a window of its own; leave them out")
            report = verify_export(export, keys, outside)
        else:
            question = Question(keys, outside, question.since, question.until)
            with find_database(config, database_url) as url:
                report = asyncio.run(_verify(url, question))
    if output is Format.JSON:
        print_report_json(report)
    else:
        print_report(report, build_console(), time.perf_counter() - began)
    raise typer.Exit(0 if report.intact else TAMPERED)


def _load_keys(
    public_key: str | None, config: Path | None, *, offline: bool
) -> Sequence[VerifierKey]:
    if public_key is not None:
        return load_public_keys(public_key)
    if offline:
        return ()
    settings = load_settings(config)
    path = find_key_files(settings).checkpoints
    if path is None or not path.exists():
        return ()
    return load_checkpoint_keys(path, build_origin(settings.issuer)).public


async def _verify(url: str, question: Question) -> Report:
    console = build_console(stderr=True)
    async with open_reader(url) as database:
        if not console.is_terminal:
            return await verify_trail(database, question)
        columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"))
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("rows", total=None)
            return await verify_trail(
                database,
                question,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
