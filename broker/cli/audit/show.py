"""``broker audit show``: a transaction as a tree, from the first token to the last."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from broker.audit.event import render_time
from broker.audit.reader import RecordReader
from broker.audit.transaction import Step, Transaction, find_transaction
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
    record_look,
    told,
)
from broker.cli.console import build_console, printable, short_revision
from broker.cli.options import Format

_DONE: Final = "done"
_TIMES: Final = 3  # that a token was given out again; more are counted
_SAID: Final = frozenset({"version", "id", "at", "kind", "action", "outcome"})
SHOW_HELP: Final = (
    "Exit codes: **0** shown, **2** could not look, or there is no such row.\n\n"
    "Example: `broker audit show 019a2b3c-4d5e-7f60-8a9b-0c1d2e3f4a5b --config broker.yaml`"
)


def show(
    jti: Annotated[
        str,
        typer.Argument(
            metavar="JTI", help="The `jti` of a token, or the id of any row.", show_default=False
        ),
    ],
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
    config: Config = None,
    database_url: DatabaseUrl = None,
    key_file: KeyFile = None,
) -> None:
    """Show everything that began with one token: who exchanged what for what, and why.

    Each token stands below the one that it was exchanged for, with the scopes that it kept (and
    those that it lost), its life, and the policy revision that decided; refusals with their
    reasons; and each time that a token was given out again.
    """
    with told():
        wanted = parse_jti(jti)
        vault = find_vault(config, database_url, key_file)
        with find_database(config, database_url) as url:
            found = asyncio.run(_find(url, vault, str(wanted)))
        if found is None:
            raise Unclear("there is no row with this id")
    if output is Format.JSON:
        print(orjson.dumps(_document(found), option=orjson.OPT_INDENT_2).decode())
    else:
        print_transaction(found, build_console(), str(wanted))


async def _find(url: str, vault: Vault | None, wanted: str) -> Transaction | None:
    async with open_reader(url) as database:
        await record_look(
            database, "audit.show", {"row": wanted, "names": vault is not None}, vault
        )
        return await find_transaction(RecordReader(database, vault), wanted)


def print_transaction(found: Transaction, console: Console, asked: str) -> None:
    """Print the tree; the row that was asked for is marked. What is no exchange stands alone."""
    if found.txn is None and [step.row["outcome"] for step in found.steps] == [_DONE]:
        print_event(found.steps[0], console)
        return
    tree = Tree(Text(f"txn {printable(found.txn or 'none')}", "heading"), guide_style="quiet")
    for step in found.steps:
        below = tree.add(_foreign(step))
        _grow(below, step, asked)
    console.print(tree)
    if any(_is_exchange(step, asked) for step in found.steps):
        said = f"why, rule by rule: broker policy explain {asked}"
        # On one line, however narrow, so that it can be copied.
        console.print(Text(said, "quiet"), soft_wrap=True)
    if found.more:
        console.print(Text("There are more rows: broker audit query --txn", "warning"))


def print_event(step: Step, console: Console) -> None:
    """Print a row that is no exchange: an alert, a revocation, what an operator did."""
    row = step.row
    head = Text(f"• {printable(row['kind'])} {printable(row['action'] or '')}", "heading")
    console.print(head, Text(f"{row['at']:%Y-%m-%d %H:%M:%S} UTC  {row['id']}", "quiet"), sep="\n")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="quiet", overflow="fold")
    table.add_column(overflow="fold")
    for name, value in _members(step.record):
        table.add_row(printable(name), printable(value))
    console.print(Padding(table, (1, 0, 0, 0)))


def _members(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield what a record says, a line each, but for what the head has said."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            if name or key not in _SAID:
                yield from _members(member, f"{name}.{key}" if name else str(key))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield name, "\n".join(map(str, value))
    else:
        yield name, str(value)


def _grow(tree: Tree, step: Step, asked: str) -> None:
    below = tree.add(Text("\n").join(_lines(step, asked)))
    again = [each for each in step.steps if each.again is not None]
    many = len(again) > _TIMES
    if many:
        last = max(each.row["at"] for each in again)
        text = f"↻ given out again {len(again)} times, the last time {last:%Y-%m-%d %H:%M:%S} UTC"
        below.add(Text(text, "quiet"))
    for each in step.steps:
        if each.again is None or not many or str(each.row["id"]) == asked:
            _grow(below, each, asked)


def _is_exchange(step: Step, asked: str) -> bool:
    """Whether this is the row that was asked for, or one below it is, and can be explained."""
    if str(step.row["id"]) == asked:
        return bool(step.row["kind"] == "exchange")
    return any(_is_exchange(each, asked) for each in step.steps)


def _foreign(step: Step) -> Text:
    token = step.record.get("subject_token") or {}
    issuer = token.get("issuer") or "somebody that was not established"
    text = Text.assemble(("a token of ", "quiet"), printable(str(issuer)))
    if step.held:
        text.append(f"  {printable(' '.join(step.held))}", "quiet")
    return text


def _lines(step: Step, asked: str) -> Iterator[Text]:
    row, record = step.row, step.record
    mark = "  ← asked for" if str(row["id"]) == asked else ""
    targets = printable(", ".join(row["targets"]) or "·")
    if step.again is not None:
        head = Text.assemble(("↻ ", "good"), (printable(row["client"] or "·"), "client"))
        head.append(f" → {targets}", "default").append("  given out again", "quiet")
        yield head.append(mark, "link")
        yield Text(f"{row['at']:%Y-%m-%d %H:%M:%S} UTC  {row['id']}", "quiet")
        yield Text(f"the token {printable(step.again)}", "quiet")
        return
    if row["outcome"] == "issued":
        head = Text.assemble(("✓ ", "good"), (printable(row["client"] or "·"), "client"))
        head.append(f" → {targets}", "default").append(f"  {record.get('lifetime')} s", "quiet")
    else:
        head = Text.assemble(("✗ ", "bad"), (printable(row["client"] or "·"), "client"))
        head.append(f" → {targets}", "default")
        head.append(f"  {', '.join(record.get('reasons') or ())}", "bad")
    yield head.append(mark, "link")
    yield Text(f"{row['at']:%Y-%m-%d %H:%M:%S} UTC  {row['id']}", "quiet")
    who = printable(" for ".join((*reversed(_actors(step)), _subject(step))))
    yield Text(f"by {who}", "default")
    if row["scopes"] or step.dropped:
        scopes = Text(printable(" ".join(row["scopes"])))
        for scope in step.dropped:
            # In words as well: a terminal may strike nothing through.
            scopes.append(" -", "quiet").append(printable(scope), "strike dim")
        yield scopes
    for one in record.get("derived") or ():
        yield Text(f"{printable(one['scope'])} follows from {printable(one['from'])}", "quiet")
    obligations = record.get("obligations")
    if obligations:
        yield Text(
            f"the policy obliges to: {printable(', '.join(map(str, obligations)))}", "warning"
        )
    revision = (record.get("policy") or {}).get("revision")
    if revision:
        yield Text(f"policy {short_revision(revision)}", "quiet")


def _subject(step: Step) -> str:
    personal = step.record.get("personal") or {}
    party = personal.get("subject") or step.record.get("subject") or {}
    return str(party.get("subject", "nobody that was established"))


def _actors(step: Step) -> list[str]:
    personal = step.record.get("personal") or {}
    actors = personal.get("actors") or step.record.get("actors") or ()
    # The current actor stands first in a record, and is named first here.
    return [str(actor["subject"]) for actor in actors][::-1]


def _document(found: Transaction) -> dict[str, Any]:
    return {
        "txn": found.txn,
        "more": found.more,
        "steps": [_describe(step) for step in found.steps],
    }


def _describe(step: Step) -> dict[str, Any]:
    return {
        "id": str(step.row["id"]),
        "at": render_time(step.row["at"]),
        "outcome": step.row["outcome"],
        "client": step.row["client"],
        "targets": step.row["targets"],
        "scopes": step.row["scopes"],
        "dropped": list(step.dropped),
        "record": dict(step.record),
        "steps": [_describe(each) for each in step.steps],
    }
