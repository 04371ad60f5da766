"""``broker audit export``: the trail, or a part of it, as a file for others."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer
from rich.progress import MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from broker.audit.access import describe_filter
from broker.audit.checkpoint import CheckpointRejected, parse_checkpoint
from broker.audit.export.commas import CommaRows
from broker.audit.export.events import EventRows
from broker.audit.export.output import open_output
from broker.audit.export.parquet import NoParquet, ParquetRows
from broker.audit.export.places import Places
from broker.audit.export.rows import Enricher, Rows, opening, write_rows
from broker.audit.export.window import load_window, write_window
from broker.audit.head import Head
from broker.audit.proof_source import NotSealed, load_seal, read_snapshot
from broker.audit.query import Filter, find_rows
from broker.audit.reader import RecordReader
from broker.audit.vault import Vault
from broker.cli.audit import asked
from broker.cli.audit.asked import option_of
from broker.cli.audit.source import (
    Config,
    DatabaseUrl,
    KeyFile,
    Unclear,
    find_database,
    find_vault,
    open_reader,
    record_look,
    told,
)
from broker.cli.console import build_console
from broker.db.engine import Database

EXPORT_HELP: Final = (
    "Exit codes: **0** exported, **2** could not; then there is no file.\n\n"
    "Example: `broker audit export --format csv --since 30d --client checkout --out checkout.csv`"
)


class ExportFormat(StrEnum):
    """What can be written."""

    NATIVE = "native"
    CSV = "csv"
    PARQUET = "parquet"
    OCSF = "ocsf"


@dataclass(frozen=True, slots=True)
class _Wanted:
    format: ExportFormat
    out: Path | None
    filter: Filter
    integrity: bool
    opened: bool
    vault: Vault | None  # of whoever holds the audit key


def export(
    output: Annotated[
        ExportFormat,
        typer.Option("--format", help="`native` verifies on its own; the others are for reading."),
    ],
    out: Annotated[str, typer.Option(metavar="FILE|-", help="Where to; `-`: standard output.")],
    since: asked.Since = None,
    until: asked.Until = None,
    client: asked.Client = None,
    subject: asked.Subject = None,
    subject_issuer: asked.SubjectIssuer = None,
    actor: asked.Actor = None,
    actor_issuer: asked.ActorIssuer = None,
    target: asked.Target = None,
    outcome: asked.Outcome = None,
    reason: asked.Why = None,
    txn: asked.Txn = None,
    jti: asked.Jti = None,
    parent: asked.Parent = None,
    kind: asked.Kind = None,
    request_id: asked.RequestId = None,
    action: asked.Action = None,
    timezone: asked.Zone = None,
    record_integrity: Annotated[
        bool,
        typer.Option(
            "--record-integrity",
            help="With `ocsf`: add that profile, which no released version of OCSF has yet.",
        ),
    ] = False,
    opened: Annotated[
        bool,
        typer.Option(
            "--open",
            help="Put what identifies persons in plain, with the audit key; not for `native`.",
        ),
    ] = False,
    config: Config = None,
    database_url: DatabaseUrl = None,
    key_file: KeyFile = None,
) -> None:
    """Write rows to a file that is there as a whole or not at all.

    `native` takes whole batches with their proofs and the signed checkpoint, so of the filters only
    `--since` and `--until`; `broker audit verify` takes it instead of the database.

    `csv` opens in a spreadsheet, `parquet` in a query engine, `ocsf` (class 3002) in a SIEM.

    Persons are found by name with the audit key, and stand in the file as pseudonyms unless you
    say `--open`.
    """
    given = {
        "since": since,
        "until": until,
        "tz": timezone,
        "client": client,
        "subject": subject,
        "subject_issuer": subject_issuer,
        "actor": actor,
        "actor_issuer": actor_issuer,
        "target": target,
        "outcome": outcome,
        "reason": reason,
        "txn": txn,
        "jti": jti,
        "parent": parent,
        "kind": kind,
        "request_id": request_id,
        "action": action,
    }
    with told():
        wanted = _Wanted(
            output,
            _parse_out(out, output),
            asked.parse_asked(given).wanted,
            record_integrity,
            opened,
            find_vault(config, database_url, key_file),
        )
        _check(wanted)
        with find_database(config, database_url) as url, _explained(wanted):
            asyncio.run(_export(url, wanted))


def _parse_out(out: str, output: ExportFormat) -> Path | None:
    if out == "-":
        if output is ExportFormat.PARQUET and sys.stdout.isatty():
            raise Unclear("--out: Parquet is not for a terminal; name a file")
        return None
    path = Path(out)
    if path.is_dir() or not path.parent.is_dir():
        raise Unclear(f"--out: {out} is no file in a folder that is there")
    return path


def _check(wanted: _Wanted) -> None:
    named = describe_filter(wanted.filter).keys() - {"since", "until"}
    filters = sorted(option_of(name) for name in named)
    if wanted.format is ExportFormat.NATIVE and filters:
        raise Unclear(
            f"{filters[0]}: --format native has whole batches, or nothing could be proven of it;"
            " leave it out, or take another format"
        )
    if wanted.opened and wanted.format is ExportFormat.NATIVE:
        raise Unclear(
            "--open: --format native has records as they were hashed, or nothing could be proven of"
            " them; take another format"
        )
    if wanted.opened and wanted.vault is None:
        raise Unclear("--open: takes the audit key; name it with --key-file")
    if wanted.integrity and wanted.format is not ExportFormat.OCSF:
        raise Unclear("--record-integrity: this is a profile of --format ocsf")


@contextmanager
def _explained(wanted: _Wanted) -> Iterator[None]:
    """Tell whatever ends an export early as what it is about."""
    try:
        yield
    except (NotSealed, NoParquet, CheckpointRejected) as error:
        raise Unclear(str(error)) from None
    except BrokenPipeError:
        # Whoever read has gone. What Python still holds for it must not raise once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise Unclear("--out: whoever reads it stopped before the end") from None
    except OSError as error:
        where = "standard output" if wanted.out is None else str(wanted.out)
        raise Unclear(f"--out: {where} cannot be written ({error.strerror})") from None


async def _export(url: str, wanted: _Wanted) -> None:
    console = build_console(stderr=True)
    async with open_reader(url) as database:
        details = describe_filter(wanted.filter) | {
            "format": wanted.format.value,
            "names": wanted.opened,
        }
        await record_look(database, "audit.export", details, wanted.vault)
        with (
            Progress(
                TextColumn("exporting"),
                MofNCompleteColumn(),
                TextColumn("{task.fields[unit]}"),
                console=console,
                transient=True,
                # Both on one terminal would be drawn over each other.
                disable=not console.is_terminal or (wanted.out is None and sys.stdout.isatty()),
            ) as progress,
            open_output(wanted.out) as file,
        ):
            unit = "batches" if wanted.format is ExportFormat.NATIVE else "rows"
            task = progress.add_task("", total=None, unit=unit)

            def advance(done: int, total: int | None = None) -> None:
                progress.update(task, completed=done, total=total)

            if wanted.format is ExportFormat.NATIVE:
                said = await _export_native(database, wanted, file, advance)
            else:
                said = await _export_rows(database, wanted, file, advance)
    console.print(Text.assemble(("✓ ", "good"), said))


async def _export_native(
    database: Database, wanted: _Wanted, file: BinaryIO, advance: Callable[[int, int], None]
) -> str:
    async with read_snapshot(database) as connection:
        window = await load_window(
            connection,
            lambda note: parse_checkpoint(note).origin,
            since=wanted.filter.since,
            until=wanted.filter.until,
            at=datetime.now(UTC),
        )
        footer = await write_window(connection, window, file.write, progress=advance)
    later = "; newer rows are not sealed yet, and not in it" if window.unsealed else ""
    return (
        f"{footer.rows:,} rows in {footer.batches:,} batches, under the checkpoint of size"
        f" {window.size:,}{later}"
    )


async def _export_rows(
    database: Database, wanted: _Wanted, file: BinaryIO, advance: Callable[[int], None]
) -> str:
    rows = _build_rows(wanted, file)
    async with AsyncExitStack() as stack:
        enrichers: list[Enricher] = []
        if wanted.integrity:
            connection = await stack.enter_async_context(read_snapshot(database))
            enrichers.append(Places(connection, await _find_head(connection)).enrich)
        reader = RecordReader(database, wanted.vault)
        if wanted.filter.names_somebody:
            await reader.require_fit()
        if wanted.opened:
            enrichers.append(opening(reader.open_all))
        pseudonym = None if wanted.vault is None else wanted.vault.pseudonym
        found = find_rows(database, wanted.filter, pseudonym=pseudonym)
        count = await write_rows(found, rows, enrichers=enrichers, progress=advance)
    return f"{count:,} rows"


def _build_rows(wanted: _Wanted, file: BinaryIO) -> Rows:
    match wanted.format:
        case ExportFormat.CSV:
            return CommaRows(file, opened=wanted.opened)
        case ExportFormat.PARQUET:
            return ParquetRows(file, opened=wanted.opened)
        case _:
            return EventRows(file, product_version=version("token-exchange-broker"))


async def _find_head(connection: Any) -> Head | None:  # noqa: ANN401 — the driver's
    try:
        return parse_checkpoint((await load_seal(connection)).note)
    except NotSealed:
        return None
