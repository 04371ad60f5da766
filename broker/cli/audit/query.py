"""``broker audit query``: rows of the trail by what is in their columns."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, Final

import orjson
import typer
from rich.text import Text

from broker.audit.access import describe_filter
from broker.audit.event import canonical_json
from broker.audit.export.columns import plain_columns
from broker.audit.export.commas import CommaRows
from broker.audit.export.rows import opening, write_rows
from broker.audit.page import CursorRejected, Position, parse_cursor, position_of, render_cursor
from broker.audit.query import find_rows
from broker.audit.reader import RecordReader
from broker.audit.vault import Vault
from broker.cli.audit import asked, saved
from broker.cli.audit.asked import parse_asked
from broker.cli.audit.place import load_cursor_key
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
from broker.cli.audit_tables import print_rows
from broker.cli.console import build_console
from broker.cli.options import RowFormat
from broker.explorer.question import Question

QUERY_HELP: Final = (
    "Exit codes: **0** asked and answered, **2** could not look.\n\n"
    "Example: `broker audit query --subject alice --since 24h --outcome issued`"
)
_SHOWN: Final = 100  # rows of a table, unless ``--limit`` says otherwise
_READABLE: Final = 10_000  # rows of a table, which is held as a whole


@dataclass(frozen=True, slots=True)
class _Query:
    question: Question
    limit: int | None
    output: RowFormat
    opened: bool
    vault: Vault | None  # of whoever holds the audit key
    after: Position | None


def query(
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
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000_000_000,
            help="Rows at most; absent: 100 as a table, else everything.",
        ),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="CURSOR",
            help="Go on where the same query ended, as it said.",
            show_default=False,
        ),
    ] = None,
    use: Annotated[
        str | None,
        typer.Option(
            "--saved",
            metavar="NAME",
            help="What was saved as that; what you say besides goes before it.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            "--save",
            metavar="NAME",
            help="Save what you look for, for `--saved`; `24h` stays a day ago.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        RowFormat, typer.Option("--format", help="How to print it.")
    ] = RowFormat.TABLE,
    opened: Annotated[
        bool,
        typer.Option(
            "--open",
            help="With `json`, `jsonl` and `csv`: what is personal in plain. Such a line has no"
            " leaf.",
        ),
    ] = False,
    config: Config = None,
    database_url: DatabaseUrl = None,
    key_file: KeyFile = None,
) -> None:
    """Find rows, the newest first; whatever is named must be as it says, exactly.

    Persons are found and shown by name with the audit key, and as pseudonyms without it. As `json`
    and `jsonl` the whole records are printed, byte for byte as they were hashed: the SHA-256 of a
    zero byte and such a line is the row's leaf. `csv` is safe to open in a spreadsheet.

    Where there is more, it says with which `--after` to go on, also once newer rows were added.
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
        question = parse_asked(_with_saved(given, use))
        vault = find_vault(config, database_url, key_file)
        _check(limit, output, vault, opened=opened)
        place = None if after is None else _parse_after(after, question, vault)
        wanted = _Query(question, limit, output, opened, vault, place)
        if keep is not None:
            saved.save(keep, question.given)
        with find_database(config, database_url) as url:
            try:
                asyncio.run(_answer(url, wanted))
            except BrokenPipeError:
                # Who reads has seen enough. What is still buffered must not fail at the exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _with_saved(given: Mapping[str, str | None], name: str | None) -> Mapping[str, str | None]:
    said = {field: value for field, value in given.items() if value is not None}
    return said if name is None else {**saved.find_saved(name), **said}


def _check(limit: int | None, output: RowFormat, vault: Vault | None, *, opened: bool) -> None:
    if opened and vault is None:
        raise Unclear("--open: takes the audit key; name it with --key-file")
    if output is RowFormat.TABLE and (limit or 0) > _READABLE:
        raise Unclear(
            f"--limit: nobody reads a table of more than {_READABLE:,} rows; say --format jsonl"
        )


def _parse_after(after: str, question: Question, vault: Vault | None) -> Position:
    try:
        return parse_cursor(after, load_cursor_key(vault), question.context)
    except CursorRejected:
        raise Unclear(
            "--after: that is no cursor, or one of another query or somebody else; leave it out to"
            " begin with the newest"
        ) from None


class _Page:
    """Rows up to a limit; afterwards it is known where they end, and whether there are more."""

    def __init__(self, found: AsyncIterator[dict[str, Any]], most: int | None) -> None:
        self._found = found
        self._most = most
        self.count = 0
        self.last: Position | None = None
        self.more = False

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        async for row in self._found:
            if self.count == self._most:
                self.more = True
                return
            self.count += 1
            self.last = position_of(row)
            yield row


async def _answer(url: str, query: _Query) -> None:
    wanted, vault = query.question.wanted, query.vault
    table = query.output is RowFormat.TABLE
    async with open_reader(url) as database:
        reader = RecordReader(database, vault)
        if wanted.names_somebody:
            await reader.require_fit()
        names = vault is not None and (query.opened or table)
        most = query.limit or (_SHOWN if table else None)
        asked = {"format": query.output.value, "names": names, "most": most}
        await record_look(database, "audit.query", describe_filter(wanted) | asked, vault)
        found = find_rows(
            database,
            wanted,
            # One more than is shown, to know whether there is more.
            limit=None if most is None else most + 1,
            pseudonym=None if vault is None else vault.pseudonym,
            after=query.after,
        )
        # Closed here, whoever stops reading: a generator that is left behind outlives its database.
        async with aclosing(found):
            page = _Page(found, most)
            await _print(page, reader, query)
    _print_end(page, query)


async def _print(page: _Page, reader: RecordReader, query: _Query) -> None:
    match query.output:
        case RowFormat.TABLE:
            await _print_table(page, reader, query)
        case RowFormat.CSV:
            enrichers = [opening(reader.open_all)] if query.opened else []
            rows = CommaRows(sys.stdout.buffer, opened=query.opened)
            await write_rows(aiter(page), rows, enrichers=enrichers)
            sys.stdout.buffer.flush()
        case _:
            records = _records(page, reader, opened=query.opened)
            await (_print_json if query.output is RowFormat.JSON else _print_jsonl)(records)


async def _print_table(page: _Page, reader: RecordReader, query: _Query) -> None:
    rows = [row async for row in page]
    if rows:
        shown = await reader.open_all([orjson.loads(row["record"]) for row in rows])
        plain = [plain_columns(row, record) for row, record in zip(rows, shown, strict=True)]
        print_rows(plain, build_console(), query.question.zone)


async def _records(page: _Page, reader: RecordReader, *, opened: bool) -> AsyncIterator[str]:
    raw: AsyncIterator[str] = (row["record"] async for row in page)
    if not opened:
        async for record in raw:
            yield record
        return
    async for plain in reader.open_each(raw):
        yield canonical_json(plain).decode()


async def _print_jsonl(records: AsyncIterator[str]) -> None:
    async for record in records:
        sys.stdout.write(f"{record}\n")


async def _print_json(records: AsyncIterator[str]) -> None:
    separator = "["
    async for record in records:
        sys.stdout.write(f"{separator}\n{record}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def _print_end(page: _Page, query: _Query) -> None:
    """Tell how many there were, and how to go on: beside what a program reads, not in it."""
    table = query.output is RowFormat.TABLE
    console = build_console(stderr=not table)
    if table:
        console.print(Text(_counted(page, query), "quiet"))
    if page.more and page.last is not None:
        try:
            key = load_cursor_key(query.vault)
        except Unclear:
            return  # it was answered; to go on, ``--after`` will say what is missing
        cursor = render_cursor(page.last, key, query.question.context)
        # On one line, however narrow, so that it can be copied.
        console.print(Text(f"more: the same with --after {cursor}"), soft_wrap=True)


def _counted(page: _Page, query: _Query) -> str:
    if not page.count:
        return "Nothing more on record fits." if query.after else "Nothing on record fits."
    if page.more:
        which = "The next" if query.after else "The newest"
        return f"{which} {page.count}; there are more."
    return f"The last {page.count}." if query.after else f"{page.count} in all."
