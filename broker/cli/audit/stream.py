"""``broker audit stream``: the trail as it grows, brought to a receiver."""

import asyncio
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from broker.audit.cursor import Cursor, CursorBusy, StoredCursor, may_keep
from broker.audit.cursor_file import FileCursor
from broker.audit.follow import Follower, OtherLog
from broker.audit.query import CannotRead
from broker.audit.reader import RecordReader
from broker.audit.stream.load import PRODUCT_VERSION, TlsFiles, build_sink
from broker.audit.stream.render import Renderer
from broker.audit.stream.sink import Sink, Undelivered
from broker.audit.stream.stream import Start, Stream
from broker.audit.vault import Vault
from broker.cli.audit.source import (
    COULD_NOT_LOOK,
    TAMPERED,
    Config,
    DatabaseUrl,
    KeyFile,
    Unclear,
    find_vault,
    parse_moment,
    record_look,
    told,
)
from broker.cli.backing import open_existing
from broker.cli.console import build_console
from broker.cli.streaming import StreamConsole
from broker.db.engine import Database
from broker.errors import ConfigurationError
from broker.settings import load_settings
from broker.settings.streams import Destination, FileDestination, Form, parse_destination

STREAM_HELP: Final = (
    "Exit codes: **0** told to end, or with `--once` all is delivered; **1** rows of it are missing"
    " without a tombstone; **2** could not read, or not deliver.\n\n"
    "Example: `broker audit stream --to syslog+tls://siem.example.com:6514 --config broker.yaml`"
    "\n\n"
    "Example: `broker audit stream --to file:audit.jsonl --once --config broker.yaml`"
)
_NAME: Final = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_PATIENCE: Final = timedelta(minutes=1)  # for one statement


class StreamForm(StrEnum):
    """What is sent of a row."""

    NATIVE = "native"
    OCSF = "ocsf"


@dataclass(frozen=True, slots=True)
class _Asked:
    to: Destination
    sink: Sink
    name: str
    start: Start
    form: Form
    vault: Vault | None  # None: persons stay pseudonyms
    once: bool
    cursor: Path | None  # None: in the database


def stream(
    to: Annotated[
        str,
        typer.Option(
            metavar="WHERE",
            help="`syslog+tls://HOST:6514`, `otlp+https://HOST:4318` or `file:PATH`.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            help="How far it has come is kept under this; absent: under where it goes.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="start|now|TIME",
            help="Where a name begins that is new: `24h` ago, or `2026-11-24T12:00:00Z`.",
        ),
    ] = "start",
    form: Annotated[
        StreamForm,
        typer.Option("--as", help="The record as it is stored, or an event of OCSF."),
    ] = StreamForm.NATIVE,
    once: Annotated[
        bool, typer.Option("--once", help="End when all is delivered that is sealed now.")
    ] = False,
    cursor: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep there how far it has come, instead of in the database: for broker_auditor,"
            " which may only read.",
            show_default=False,
        ),
    ] = None,
    opened: Annotated[
        bool,
        typer.Option("--open", help="Send what identifies persons in plain, with the audit key."),
    ] = False,
    ca: Annotated[
        Path | None,
        typer.Option(
            help="Whom to believe (PEM), instead of the authorities of the system.",
            show_default=False,
            rich_help_panel="TLS",
        ),
    ] = None,
    cert: Annotated[
        Path | None,
        typer.Option(
            help="Certificate to come with (PEM).", show_default=False, rich_help_panel="TLS"
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="The private key of that (PEM).", show_default=False, rich_help_panel="TLS"
        ),
    ] = None,
    config: Config = None,
    database_url: DatabaseUrl = None,
    key_file: KeyFile = None,
) -> None:
    """Send every sealed row to a receiver, in the order of the log, and go on as the trail grows.

    Each arrives at least once: whoever is interrupted sends the last ones again, with the same id.
    A receiver that takes nothing is waited for, and no token waits for it.

    Persons are pseudonyms unless you say `--open`. Headers for OTLP are those of the environment,
    `OTEL_EXPORTER_OTLP_HEADERS`. SIGTERM finishes what is under way.
    """
    with told():
        asked = _Asked(
            destination := _parse_to(to),
            _build_sink(destination, TlsFiles(ca, cert, key)),
            _parse_name(name, destination),
            _parse_start(since),
            "ocsf" if form is StreamForm.OCSF else "native",
            _find_key(config, database_url, key_file) if opened else None,
            once,
            cursor,
        )
        with _find_database(config, database_url) as url:
            code = asyncio.run(_stream(url, asked))
    raise typer.Exit(code)


def _parse_to(to: str) -> Destination:
    try:
        return parse_destination(to)
    except ValueError as error:
        raise Unclear(f"--to: {error}") from None


def _build_sink(to: Destination, files: TlsFiles) -> Sink:
    if (files.certificate is None) != (files.key is None):
        raise Unclear("--cert, --key: write both or neither")
    if isinstance(to, FileDestination) and files != TlsFiles():
        raise Unclear("--ca, --cert, --key: a file has no TLS; leave them out")
    try:
        return build_sink(to, files)
    except ConfigurationError as error:
        raise Unclear(f"--{error}") from None


def _parse_name(name: str | None, to: Destination) -> str:
    if name is None:
        return str(to)
    if not _NAME.fullmatch(name):
        raise Unclear("--name: write 1 to 64 of A-Z a-z 0-9 . _ ~ -")
    return name


def _parse_start(since: str) -> Start:
    match since:
        case "start" | "now":
            return since
    moment = parse_moment("--from", since)
    return "start" if moment is None else moment


def _find_key(config: Path | None, url: str | None, key_file: Path | None) -> Vault:
    vault = find_vault(config, url, key_file)
    if vault is None:
        raise Unclear("--open: takes the audit key; name it with --key-file")
    return vault


@contextmanager
def _find_database(config: Path | None, url: str | None) -> Iterator[str]:
    """Yield the database as who may keep a cursor in it, unless another one is named."""
    if url is not None:
        yield url
        return
    with open_existing(load_settings(config)) as backing:
        yield backing.app_url


async def _stream(url: str, asked: _Asked) -> int:
    database = Database(url, timeout=_PATIENCE, pool_size=1)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # What rotates files says so; a file is opened anew for each lot, so there is nothing to do.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    try:
        console = StreamConsole(build_console(stderr=True), str(asked.to))
        with console:
            await _send(await _build(database, asked, console), stop, asked, console)
    except Undelivered as error:
        raise Unclear(str(error)) from None
    finally:
        await asked.sink.aclose()
        await database.aclose()
    if asked.once and console.gaps:
        return TAMPERED
    return COULD_NOT_LOOK if asked.once and console.refused else 0


async def _send(stream: Stream, stop: asyncio.Event, asked: _Asked, console: StreamConsole) -> None:
    try:
        await stream.send(stop, once=asked.once)
    except (CursorBusy, OtherLog):
        raise
    except CannotRead as error:
        # What could be read once can be again: the database has gone away.
        if asked.once or not console.begun:
            raise
        console.failed(str(error), 0)
        await stream.run(stop)


async def _build(database: Database, asked: _Asked, console: StreamConsole) -> Stream:
    if asked.cursor is None and not await may_keep(database):
        raise Unclear(
            "--cursor: this role may not keep in the database how far it has come; name a file"
        )
    reader = None if asked.vault is None else RecordReader(database, asked.vault)
    if reader is not None:
        await reader.require_fit()
    details = {
        "to": str(asked.to),
        "name": asked.name if asked.cursor is None else str(asked.cursor),
        "format": asked.form,
        "open": asked.vault is not None,
    }
    return Stream(
        follower=Follower(database),
        cursor=_build_cursor(database, asked),
        sink=asked.sink,
        renderer=Renderer(asked.form, product_version=PRODUCT_VERSION, reader=reader),
        start=asked.start,
        watcher=console,
        record=partial(record_look, database, "audit.stream", details, asked.vault),
    )


def _build_cursor(database: Database, asked: _Asked) -> Cursor:
    if asked.cursor is not None:
        return FileCursor(asked.cursor, database)
    return StoredCursor(database, f"stream:{asked.name}")
