"""``broker audit``: who got what on whose behalf, and whether the record of it is unchanged."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from broker.audit.query import CannotRead, Filter, find_rows
from broker.audit.verify import Report, verify_trail
from broker.cli.audit_tables import print_report, print_report_json, print_rows
from broker.cli.console import build_console
from broker.cli.options import ListFormat
from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database
from broker.errors import ConfigurationError
from broker.settings import load_settings
from broker.settings.values import parse_duration

TAMPERED: Final = 1
COULD_NOT_LOOK: Final = 2
_SHOWN: Final = 100  # rows of a table, unless ``--limit`` says otherwise

app = typer.Typer(
    help="Ask who got what on whose behalf, and prove that it is unchanged.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

Config = Annotated[
    Path | None,
    typer.Option(
        help="The configuration that names the database; absent: the environment says all.",
        envvar="BROKER_CONFIG",
        show_default=False,
        rich_help_panel="Database",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        help="Read this database instead, best as broker_auditor. Keep passwords out of it:"
        " others see command lines.",
        show_default=False,
        rich_help_panel="Database",
    ),
]


class ReportFormat(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    JSON = "json"


@app.command(
    epilog="Exit codes: **0** asked and answered, **2** could not look.\n\n"
    "Example: `broker audit query --subject alice --since 24h --outcome issued`"
)
def query(
    since: Annotated[
        str | None, typer.Option(help="From then on: `24h` ago, or `2026-11-24T12:00:00Z`.")
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
        str | None, typer.Option(help="`exchange`, `refusals`, `administration` or `writer`.")
    ] = None,
    request_id: Annotated[str | None, typer.Option(help="As answered in X-Request-Id.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Rows at most; absent: 100 as a table, else everything."),
    ] = None,
    output: Annotated[
        ListFormat, typer.Option("--format", help="How to print it.")
    ] = ListFormat.TABLE,
    config: Config = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Find rows, the newest first; whatever is named must be as it says, exactly.

    As `json` and `jsonl` the whole records are printed, byte for byte as they were hashed: the
    SHA-256 of a zero byte and such a line is the row's leaf.
    """
    with _told():
        wanted = Filter(
            since=_moment("--since", since),
            until=_moment("--until", until),
            client=client,
            subject=subject,
            subject_issuer=subject_issuer,
            actor=actor,
            actor_issuer=actor_issuer,
            target=target,
            outcome=outcome,
            reason=reason,
            txn=txn,
            jti=_uuid(jti),
            parent=parent,
            kind=kind,
            request_id=request_id,
        )
        with _database_url(config, database_url) as url:
            asyncio.run(_query(url, wanted, limit, output))


@app.command(
    epilog="Exit codes: **0** intact, **1** tampered with, **2** could not look.\n\n"
    "Example: `broker audit verify --config broker.yaml`"
)
def verify(
    output: Annotated[
        ReportFormat, typer.Option("--format", help="How to print what was found.")
    ] = ReportFormat.TABLE,
    config: Config = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Read the whole trail and say whether it is as it was written, and if not, where.

    Needs no running broker and disturbs none: rows may be appended meanwhile. That the newest rows
    were cut off, or everything was replaced by an older copy, cannot be seen from the database.
    """
    with _told():
        began = time.perf_counter()
        with _database_url(config, database_url) as url:
            report = asyncio.run(_verify(url))
    if output is ReportFormat.JSON:
        print_report_json(report)
    else:
        print_report(report, build_console(), time.perf_counter() - began)
    raise typer.Exit(0 if report.intact else TAMPERED)


async def _query(url: str, wanted: Filter, limit: int | None, output: ListFormat) -> None:
    async with _reader(url) as database:
        if output is ListFormat.TABLE:
            most = limit or _SHOWN
            # One more than is shown, to know whether there is more.
            rows = [row async for row in find_rows(database, wanted, limit=most + 1)]
            print_rows(rows[:most], build_console(), more=len(rows) > most)
            return
        records = (row["record"] async for row in find_rows(database, wanted, limit=limit))
        await (_print_json if output is ListFormat.JSON else _print_jsonl)(records)


async def _print_jsonl(records: AsyncIterator[str]) -> None:
    async for record in records:
        sys.stdout.write(f"{record}\n")


async def _print_json(records: AsyncIterator[str]) -> None:
    separator = "["
    async for record in records:
        sys.stdout.write(f"{separator}\n{record}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


async def _verify(url: str) -> Report:
    console = build_console(stderr=True)
    async with _reader(url) as database:
        if not console.is_terminal:
            return await verify_trail(database)
        columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"))
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("rows", total=None)
            return await verify_trail(
                database,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )


@asynccontextmanager
async def _reader(url: str) -> AsyncIterator[Database]:
    # No statement timeout: what is read by the chunk takes as long as there are chunks.
    database = Database(url, timeout=None)
    try:
        yield database
    finally:
        await database.aclose()


@contextmanager
def _database_url(config: Path | None, url: str | None) -> Iterator[str]:
    """Yield where to read; an embedded database that nobody runs is started for as long."""
    if url is not None:
        yield url
        return
    database = load_settings(config).database
    if database.url is not None:
        yield database.url.get_secret_value()
        return
    if not (database.data_dir / "postgres").is_dir():
        raise ConfigurationError(f"database.data_dir: nothing was recorded in {database.data_dir}")
    with EmbeddedPostgres(database.data_dir) as postgres:
        yield postgres.auditor_url


@contextmanager
def _told() -> Iterator[None]:
    """Tell why nothing could be looked at, in a line."""
    try:
        yield
    except (CannotRead, _Unclear) as error:
        build_console(stderr=True).print(Text.assemble(("✗ ", "bad"), str(error)))
        raise typer.Exit(COULD_NOT_LOOK) from None


@dataclass(frozen=True)
class _Unclear(Exception):  # noqa: N818 — an answer to whoever asks
    text: str

    def __str__(self) -> str:
        return self.text


def _moment(option: str, value: str | None) -> datetime | None:
    """Return a duration as a time so long ago, and a time as it is; without a zone it is UTC."""
    if value is None:
        return None
    try:
        if re.fullmatch(r"\d+[a-z]+", value):
            ago = parse_duration(value)
            return datetime.now(UTC) - (ago if isinstance(ago, timedelta) else timedelta())
        moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        raise _Unclear(f"{option}: write 24h for a day ago, or 2026-11-24T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _uuid(value: str | None) -> str | None:
    try:
        return None if value is None else str(UUID(value))
    except ValueError:
        raise _Unclear(
            "--jti: tokens issued here have UUIDs; for a foreign one ask with --parent"
        ) from None
