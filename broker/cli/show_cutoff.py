"""How the end of the demo looks: what was cut off, and what resource servers were told of it."""

from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from broker.cli.comparison import Column, compare
from broker.cli.console import printable
from broker.cli.unverified import UnverifiedToken
from broker.demo.cutoff import Cut, Introspected
from broker.demo.story import Hop

_CLAIMS: Final = ("active", "sub", "act", "aud", "scope")
_BLOCK: Final = (0, 2, 1, 2)


def print_cut(console: Console, cut: Cut) -> None:
    """Print what was asked for, and what it hit: the two numbers apart."""
    text = "Her laptop was stolen. The help desk cuts off whatever was ever issued for her."
    console.print(Padding(Text(text), _BLOCK))
    asked = Text("POST /admin/revocations", "link")
    for name in ("scope", "issuer", "key"):
        asked.append(f"  {name} ", "quiet").append(printable(cut.order[name]), "default")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=5, justify="right", style="quiet")
    table.add_column(overflow="fold")
    table.add_row("→", asked)
    sign = ("✓ ", "good") if cut.is_as_expected else ("✗ not as expected: ", "bad")
    table.add_row(str(cut.status), Text.assemble(sign, _hit(cut)))
    until = cut.hits.get("accepted_offline_until")
    if isinstance(until, str):
        end = datetime.fromisoformat(until)
        seconds = (end - datetime.now(end.tzinfo)).total_seconds()
        table.add_row("", Text("The broker refuses them at once."))
        offline = f"Who verifies offline accepts the last one for {max(0, round(seconds))} s more."
        table.add_row("", Text(offline))
    console.print(table)
    console.print()


def print_introspected(console: Console, told: Introspected) -> None:
    """Print what a resource server was told of a token before the cut, and after it."""
    sign = ("✓ ", "good") if told.is_as_expected else ("✗ not as expected: ", "bad")
    title = f"{told.client} asks about the token that {told.issued_to} called it with"
    console.print(Text.assemble("  ", sign, (title, "heading")))
    table = compare(
        Column("before", _said(told.before)), Column("after", _said(told.after)), claims=_CLAIMS
    )
    console.print(Padding(table, _BLOCK))


def print_login(console: Console, hop: Hop) -> None:
    """Print that whoever logs in again can work again."""
    sign = ("✓ ", "good") if hop.is_as_expected else ("✗ not as expected: ", "bad")
    console.print(Text.assemble("  ", sign, (hop.title, "heading")))
    console.print(Padding(Text(hop.why, "quiet"), (0, 2, 0, 4)))
    said = "a new token" if hop.issued else printable(str(hop.body.get("error_description", "")))
    console.print(Text(f"  {hop.status}  ", "quiet").append(said, "default"))
    console.print()


def _hit(cut: Cut) -> str:
    clients = cut.hits.get("clients")
    if not isinstance(clients, list):
        return printable(str(cut.body.get("error_description", "")))
    held = ", ".join(f"{one['tokens']} of {printable(one['client'])}" for one in clients)
    return f"{cut.hits.get('tokens')} live tokens: {held}"


def _said(body: Any) -> UnverifiedToken:  # noqa: ANN401 — whatever the broker answered
    return UnverifiedToken("", {}, body)
