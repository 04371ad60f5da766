"""``broker audit export``: the trail, or a part of it, as a file for others."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, fields
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
from broker.cli.audit.source import (
    Config,
    DatabaseUrl,
    KeyFile,
    Unclear,
    find_database,
    find_vault,
    open_reader,
    parse_jti,
    parse_moment,
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
class _Asked:
    format: ExportFormat
    out: Path | None
    wanted: Filter
    integrity: bool
    opened: bool
    vault: Vault | None  # of whoever holds the audit key


def export(
    output: Annotated[
        ExportFormat,
        typer.Option("--format", help="`native` verifies on its own; the others are for reading."),
    ],
    out: Annotated[str, typer.Option(metavar="FILE|-", help="Where to; `-`: standard output.")],
    since: Annotated[
        str | None, typer.Option(help="From then on: `30d` ago, or `2026-11-24T12:00:00Z`.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Before then.")] = None,
    client: Annotated[str | None, typer.Option(help="The client that asked.")] = None,
    subject: Annotated[str | None, typer.Option(help="On whose behalf: its `sub`.")] = None,
    subject_issuer: Annotated[str | None, typer.Option(help="The `iss` of that.")] = None,
    actor: Annotated[
        str | None, typer.Option(help="Who acted, anywhere in the chain: its `sub`.")
    ] = None,
    actor_issuer: Annotated[str | None, typer.Option(help="The `iss` of that.")] = None,
    target: Annotated[str | None, typer.Option(help="Name of the target.")] = None,
    outcome: Annotated[str | None, typer.Option(help="`issued`, `refused` or `done`.")] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why it was refused, like `policy.scope_not_granted`.")
    ] = None,
    txn: Annotated[
        str | None, typer.Option(help="Everything that began with one exchange.")
    ] = None,
    jti: Annotated[str | None, typer.Option(help="The one token.")] = None,
    parent: Annotated[
        str | None, typer.Option(help="What the token with this `jti` was exchanged for.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="Like `exchange`, `administration` or `writer`.")
    ] = None,
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
    with told():
        asked = _Asked(
            output,
            _parse_out(out, output),
            Filter(
                since=parse_moment("--since", since),
                until=parse_moment("--until", until),
                client=client,
                subject=subject,
                subject_issuer=subject_issuer,
                actor=actor,
                actor_issuer=actor_issuer,
                target=target,
                outcome=outcome,
                reason=reason,
                txn=txn,
                jti=parse_jti(jti),
                parent=parent,
                kind=kind,
            ),
            record_integrity,
            opened,
            find_vault(config, database_url, key_file),
        )
        _check(asked)
        with find_database(config, database_url) as url, _explained(asked):
            asyncio.run(_export(url, asked))


def _parse_out(out: str, output: ExportFormat) -> Path | None:
    if out == "-":
        if output is ExportFormat.PARQUET and sys.stdout.isatty():
            raise Unclear("--out: Parquet is not for a terminal; name a file")
        return None
    path = Path(out)
    if path.is_dir() or not path.parent.is_dir():
        raise Unclear(f"--out: {out} is no file in a folder that is there")
    return path


def _check(asked: _Asked) -> None:
    wanted = asked.wanted
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise Unclear("--since: this is not before --until, so nothing is between them")
    filters = sorted(
        f"--{one.name.replace('_', '-')}"
        for one in fields(wanted)
        if one.name not in {"since", "until"} and getattr(wanted, one.name) is not None
    )
    if asked.format is ExportFormat.NATIVE and filters:
        raise Unclear(
            f"{filters[0]}: --format native has whole batches, or nothing could be proven of it;"
            " leave it out, or take another format"
        )
    if asked.opened and asked.format is ExportFormat.NATIVE:
        raise Unclear(
            "--open: --format native has records as they were hashed, or nothing could be proven of"
            " them; take another format"
        )
    if asked.opened and asked.vault is None:
        raise Unclear("--open: takes the audit key; name it with --key-file")
    if asked.integrity and asked.format is not ExportFormat.OCSF:
        raise Unclear("--record-integrity: this is a profile of --format ocsf")


@contextmanager
def _explained(asked: _Asked) -> Iterator[None]:
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
        where = "standard output" if asked.out is None else str(asked.out)
        raise Unclear(f"--out: {where} cannot be written ({error.strerror})") from None


async def _export(url: str, asked: _Asked) -> None:
    console = build_console(stderr=True)
    async with open_reader(url) as database:
        details = describe_filter(asked.wanted) | {
            "format": asked.format.value,
            "names": asked.opened,
        }
        await record_look(database, "audit.export", details, asked.vault)
        with (
            Progress(
                TextColumn("exporting"),
                MofNCompleteColumn(),
                TextColumn("{task.fields[unit]}"),
                console=console,
                transient=True,
                # Both on one terminal would be drawn over each other.
                disable=not console.is_terminal or (asked.out is None and sys.stdout.isatty()),
            ) as progress,
            open_output(asked.out) as file,
        ):
            unit = "batches" if asked.format is ExportFormat.NATIVE else "rows"
            task = progress.add_task("", total=None, unit=unit)

            def advance(done: int, total: int | None = None) -> None:
                progress.update(task, completed=done, total=total)

            if asked.format is ExportFormat.NATIVE:
                said = await _export_native(database, asked, file, advance)
            else:
                said = await _export_rows(database, asked, file, advance)
    console.print(Text.assemble(("✓ ", "good"), said))


async def _export_native(
    database: Database, asked: _Asked, file: BinaryIO, advance: Callable[[int, int], None]
) -> str:
    async with read_snapshot(database) as connection:
        window = await load_window(
            connection,
            lambda note: parse_checkpoint(note).origin,
            since=asked.wanted.since,
            until=asked.wanted.until,
            at=datetime.now(UTC),
        )
        footer = await write_window(connection, window, file.write, progress=advance)
    later = "; newer rows are not sealed yet, and not in it" if window.unsealed else ""
    return (
        f"{footer.rows:,} rows in {footer.batches:,} batches, under the checkpoint of size"
        f" {window.size:,}{later}"
    )


async def _export_rows(
    database: Database, asked: _Asked, file: BinaryIO, advance: Callable[[int], None]
) -> str:
    rows = _build_rows(asked, file)
    async with AsyncExitStack() as stack:
        enrichers: list[Enricher] = []
        if asked.integrity:
            connection = await stack.enter_async_context(read_snapshot(database))
            enrichers.append(Places(connection, await _find_head(connection)).enrich)
        reader = RecordReader(database, asked.vault)
        if asked.wanted.names_somebody:
            await reader.require_fit()
        if asked.opened:
            enrichers.append(opening(reader.open_all))
        pseudonym = None if asked.vault is None else asked.vault.pseudonym
        found = find_rows(database, asked.wanted, pseudonym=pseudonym)
        count = await write_rows(found, rows, enrichers=enrichers, progress=advance)
    return f"{count:,} rows"


def _build_rows(asked: _Asked, file: BinaryIO) -> Rows:
    match asked.format:
        case ExportFormat.CSV:
            return CommaRows(file, opened=asked.opened)
        case ExportFormat.PARQUET:
            return ParquetRows(file, opened=asked.opened)
        case _:
            return EventRows(file, product_version=version("token-exchange-broker"))


async def _find_head(connection: Any) -> Head | None:  # noqa: ANN401 — the driver's
    try:
        return parse_checkpoint((await load_seal(connection)).note)
    except NotSealed:
        return None
