"""How the demo's story looks: each token beside its parent, what was refused, what was recorded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from rich import box
from rich.console import Console
from rich.json import JSON
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from broker.cli.comparison import Column, compare, describe
from broker.cli.unverified import decode_unverified
from broker.demo.story import Hop

# The claims that the story is about; the rest would only be in the way.
_CLAIMS: Final = ("sub", "act", "aud", "scope", "lifetime", "delegation_depth", "txn")
_INDENT: Final = (0, 2)


def print_title(console: Console) -> None:
    """Print what this is, for somebody who has never seen it."""
    text = Text.assemble(
        ("A token exchange broker", "heading"),
        "\nA service presents the token that it was called with, and gets a narrower one for its"
        " own call: fewer scopes, one audience, minutes of life, and who acts for whom in it.",
    )
    console.print()
    console.print(Panel(text, box=box.ROUNDED, border_style="link", padding=(0, 2)))
    console.print()


def print_chapter(console: Console, title: str, aside: str = "") -> None:
    """Print where the next part begins."""
    text = Text.assemble(("━━ ", "link"), (title, "heading"), (f"  {aside}" if aside else "", "quiet"))
    console.print()
    console.print(Rule(text, align="left", characters="━", style="link"))
    console.print()


def print_token(console: Console, token: str, title: str) -> None:
    """Print the token that everything begins with."""
    decoded = decode_unverified(token)
    console.print(Padding(describe(Column(title, decoded), claims=_CLAIMS[:5]), _INDENT))


def print_exchange(
    console: Console, hop: Hop, titles: tuple[str, str], sources: Mapping[str, str]
) -> None:
    """Print the issued token beside the one presented; ``sources``: scope → what it follows from."""
    print_chapter(console, hop.title, f"{hop.status}, {hop.seconds * 1000:.0f} ms")
    console.print(Padding(hop.why, _INDENT))
    console.print()
    if hop.issued is None:
        print_answer(console, hop)
        return
    before, after = (decode_unverified(token) for token in (hop.presented, hop.issued))
    notes = {scope: f"follows from {source}" for scope, source in sources.items()}
    table = compare(
        Column(titles[0], before), Column(titles[1], after), claims=_CLAIMS, notes=notes
    )
    console.print(Padding(table, _INDENT))


def print_answer(console: Console, hop: Hop) -> None:
    """Print a refusal: why the story tells it, what was asked, and the OAuth error as it came."""
    sign = ("✓ ", "good") if hop.is_as_expected else ("✗ not as expected: ", "bad")
    body = JSON(orjson.dumps(dict(hop.body)).decode(), indent=2).text
    asked = Text.assemble(
        (hop.ask.client, "client"), (" asks ", "quiet"), (hop.ask.audience, "client"),
        (" for ", "quiet"), hop.ask.scope, "\n",
        (hop.why, "quiet"), "\n\n",
    )
    title = Text.assemble(sign, (f"refused: {hop.title}", "heading"))
    console.print(
        Panel(
            asked.append(body),
            title=title,
            title_align="left",
            subtitle=Text(f"{hop.status}", style="quiet"),
            subtitle_align="right",
            box=box.ROUNDED,
            border_style="good" if hop.is_as_expected else "bad",
            padding=(0, 2),
        )
    )


def print_audit(console: Console, rows: list[dict[str, Any]]) -> None:
    """Print what the database recorded of all this, the oldest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
    table.add_column("at", style="quiet", no_wrap=True)
    table.add_column("client", no_wrap=True)
    table.add_column("target", no_wrap=True)
    table.add_column("subject", overflow="fold")
    table.add_column("by way of", overflow="fold")
    table.add_column("outcome", overflow="fold")
    for row in rows:
        refused = row["outcome"] == "refused"
        outcome = Text(row["reason"] if refused else row["outcome"])
        outcome.stylize("bad" if refused else "good")
        table.add_row(
            f"{row['at']:%H:%M:%S}",
            row["client"] or "",
            ", ".join(row["targets"]),
            row["subject"] or "",
            " for ".join(row["actors"]),
            outcome,
        )
    console.print(Padding(table, _INDENT))


def print_next(console: Console, *, broker: str, issuer: str, secret_file: Path, program: str) -> None:
    """Print what to try: a line that works as it is pasted, so nothing wraps or frames it."""
