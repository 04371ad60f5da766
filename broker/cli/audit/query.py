"""``broker audit query``: rows of the trail by what is in their columns."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final

import orjson
import typer

from broker.audit.access import describe_filter
from broker.audit.event import canonical_json
from broker.audit.export.columns import plain_columns
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
from broker.cli.audit_tables import print_rows
from broker.cli.console import build_console
from broker.cli.options import ListFormat

QUERY_HELP: Final = (
    "Exit codes: **0** asked and answered, **2** could not look.\n\n"
    "Example: `broker audit query --subject alice --since 24h --outcome issued`"
)
_SHOWN: Final = 100  # rows of a table, unless ``--limit`` says otherwise


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
    opened: Annotated[
        bool,
        typer.Option(
            "--open",
            help="With `json` and `jsonl`: what is personal in plain. Such a line has no leaf.",
        ),
    ] = False,
    config: Config = None,
    database_url: DatabaseUrl = None,
    key_file: KeyFile = None,
) -> None:
    """Find rows, the newest first; whatever is named must be as it says, exactly.

    Persons are found and shown by name with the audit key, and as pseudonyms without it. As `json`
    and `jsonl` the whole records are printed, byte for byte as they were hashed: the SHA-256 of a
    zero byte and such a line is the row's leaf.
    """
    with told():
        wanted = Filter(
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
            request_id=request_id,
        )
        vault = find_vault(config, database_url, key_file)
        if opened and vault is None:
            raise Unclear("--open: takes the audit key; name it with --key-file")
        with find_database(config, database_url) as url:
            try:
                asyncio.run(_query(url, vault, wanted, limit, output, opened=opened))
            except BrokenPipeError:
                # Who reads has seen enough. What is still buffered must not fail at the exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _query(
    url: str,
    vault: Vault | None,
    wanted: Filter,
    limit: int | None,
    output: ListFormat,
    *,
    opened: bool,
) -> None:
    pseudonym = None if vault is None else vault.pseudonym
    async with open_reader(url) as database:
        reader = RecordReader(database, vault)
        if wanted.names_somebody:
            await reader.require_fit()
        names = vault is not None and (opened or output is ListFormat.TABLE)
        details = describe_filter(wanted) | {"format": output.value, "names": names}
        await record_look(database, "audit.query", details, vault)
        if output is ListFormat.TABLE:
            most = limit or _SHOWN
            # One more than is shown, to know whether there is more.
            found = find_rows(database, wanted, limit=most + 1, pseudonym=pseudonym)
            rows = [row async for row in found]
            shown = await reader.open_all([orjson.loads(row["record"]) for row in rows[:most]])
            plain = [plain_columns(row, record) for row, record in zip(rows, shown, strict=False)]
            print_rows(plain, build_console(), more=len(rows) > most)
            return
        # Closed here, whoever stops reading: a generator that is left behind outlives its database.
        async with aclosing(find_rows(database, wanted, limit=limit, pseudonym=pseudonym)) as found:
            records: AsyncIterator[str] = (row["record"] async for row in found)
            if opened:
                records = (
                    canonical_json(record).decode() async for record in reader.open_each(records)
                )
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
