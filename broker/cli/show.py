"""How the demo's story looks: each token beside its parent, what was refused, what was recorded."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from broker.cli.comparison import Column, compare, describe
from broker.cli.console import printable
from broker.cli.unverified import decode_unverified
from broker.demo.story import Hop
from broker.demo.watch import Reloaded
from broker.oauth import GRANT_TYPE_TOKEN_EXCHANGE, TokenType

# The claims that the story is about; the rest would only be in the way.
_CLAIMS: Final = ("sub", "act", "aud", "scope", "lifetime", "delegation_depth", "txn")
_OF_A_USER: Final = ("iss", "sub", "aud", "scope", "lifetime")
_BLOCK: Final = (0, 2, 1, 2)
_INNER: Final = (0, 2, 0, 4)
_WIDE: Final = 100  # columns; narrower, and names would break in their middle


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row of the audit trail, as much of it as fits on a line."""

    at: datetime
    client: str
    target: str
    subject: str
    actors: Sequence[str]  # the current one first
    outcome: str  # ``issued``, or why not
    refused: bool
    request_id: str
    derived: Mapping[str, str]  # scope → what it follows from


@dataclass(frozen=True, slots=True)
class Next:
    """What a newcomer can try now, and where it is."""

    broker: str  # URLs
    issuer: str
    secret_file: Path
    configuration: Path
    policies: Path
    checkpoints: Path  # kept outside of the database
    program: str


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
    """Print where the next part begins; what is printed before it ends with an empty line."""
    text = Text.assemble((title, "heading"), (f"  {aside}" if aside else "", "quiet"))
    console.print(Rule(text, align="left", characters="─", style="link"))
    console.print()


def print_token(console: Console, token: str, title: str) -> None:
    """Print the token that everything begins with."""
    print_chapter(console, title)
    _print_text(console, "Her token, as the identity provider issued it for checkout.")
    table = describe(Column("it says", decode_unverified(token)), claims=_OF_A_USER)
    console.print(Padding(table, _BLOCK))


def print_exchange(
    console: Console, hop: Hop, titles: tuple[str, str], sources: Mapping[str, str]
) -> None:
    """Print the issued token beside the presented one.

    ``sources`` says of a scope that is new what it follows from.
    """
    print_chapter(console, hop.title, f"{hop.status} in {hop.seconds * 1000:.0f} ms")
    _print_text(console, hop.why)
    if hop.issued is None:
        console.print(_answer(hop))
        console.print()
        return
    before, after = (decode_unverified(token) for token in (hop.presented, hop.issued))
    notes = {scope: f"from {source}" for scope, source in sources.items()}
    table = compare(
        Column(titles[0], before), Column(titles[1], after), claims=_CLAIMS, notes=notes
    )
    console.print(Padding(table, _BLOCK))


def print_refusal(console: Console, hop: Hop) -> None:
    """Print a refusal: what was asked, why the story tells it, and the OAuth error."""
    sign = ("✓ ", "good") if hop.is_as_expected else ("✗ not as expected: ", "bad")
    console.print(Text.assemble("  ", sign, (hop.title, "heading")))
    console.print(Padding(Text(hop.why, "quiet"), _INNER))
    console.print(_answer(hop))
    console.print()


def _answer(hop: Hop) -> Table:
    """Return what was asked for and what was answered, one above the other."""
    asked = Text.assemble(
        (hop.ask.client, "client"),
        (" asks for ", "quiet"),
        hop.ask.scope,
        (" at ", "quiet"),
        (hop.ask.audience, "client"),
    )
    said = {name: printable(str(hop.body.get(name, ""))) for name in ("error", "error_description")}
    answer = Text.assemble((said["error"], "code"), "  ", said["error_description"])
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=5, justify="right", style="quiet")
    table.add_column()
    table.add_row("→", asked)
    table.add_row(str(hop.status), answer)
    return table


def print_audit(console: Console, rows: Sequence[Recorded]) -> None:
    """Print what the database recorded of all this, the oldest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    wide = console.width >= _WIDE
    columns = ("at", "client", "target", "for", *(("acting",) if wide else ()), "outcome")
    for name in columns:
        table.add_column(name, overflow="fold", style="quiet" if name == "at" else "")
    for row in rows:
        outcome = Text(f"{'✗' if row.refused else '✓'} {row.outcome}", no_wrap=True)
        outcome.stylize("bad" if row.refused else "good")
        acting = (Text(" for ".join(row.actors)),) if wide else ()
        table.add_row(
            f"{row.at.astimezone():%H:%M:%S}", row.client, row.target, row.subject, *acting, outcome
        )
    console.print(Padding(table, _BLOCK))


def print_row(console: Console, row: Recorded) -> None:
    """Print an exchange that was just recorded, on a line."""
    sign = ("✗ ", "bad") if row.refused else ("✓ ", "good")
    line = _stamped(row.at).append_text(
        Text.assemble(sign, (row.client or "nobody known", "client"), (" at ", "quiet"))
    )
    line.append(printable(row.target) or "nowhere", "client")
    if row.subject:
        line.append(" for ", "quiet").append(printable(row.subject))
    console.print(line.append(f"  {row.outcome}", "bad" if row.refused else "good"))


def print_reloaded(console: Console, reloaded: Reloaded, revision: str) -> None:
    """Print what came of a saved policy; ``revision`` is the one that is in force now."""
    names = ", ".join(shown(path) for path in reloaded.files)
    line = _stamped(datetime.now(UTC))
    if reloaded.fault is None:
        line.append("✓ ", "good").append(f"{names}: live as {revision}")
        console.print(line.append(f" after {reloaded.seconds:.1f} s", "quiet"))
        return
    console.print(line.append("✗ ", "bad").append(f"{names}: not live, {revision} stays in force"))
    fault = reloaded.fault.removeprefix("policy.path: ").replace(f"{Path.cwd()}/", "")
    console.print(Padding(Text(printable(fault)), (0, 2, 0, 12)))


def _stamped(at: datetime) -> Text:
    return Text().append(f"  {at.astimezone():%H:%M:%S}  ", "quiet")


def print_next(console: Console, what: Next) -> None:
    """Print what to try: lines that work as they are pasted, so nothing wraps or frames them."""
    print_chapter(console, "your turn")
    _print_text(console, "An exchange by hand:")
    _print_lines(console, render_curl(what))
    _print_text(
        console,
        f"Edit a grant in {shown(what.policies)}, save, and it is live in two seconds. A file that"
        " does not compile changes nothing, and is shown here.",
    )
    configuration, policies = (
        shlex.quote(shown(path)) for path in (what.configuration, what.policies)
    )
    _print_text(
        console,
        "Or edit a copy, and see first what that would have changed for whoever has asked;"
        " docs/how-to/change-a-policy.md goes on from there:",
    )
    _print_lines(
        console,
        f"cp -r {policies} next\n"
        f"{what.program} policy replay --policies next --config {configuration}",
    )
    _print_text(
        console,
        "Ask who got what, whether that is unchanged, whether all is well, and whom a"
        " revocation would hit:",
    )
    _print_lines(
        console,
        f"{what.program} audit query --config {configuration}\n"
        f"{what.program} audit verify --config {configuration}"
        f" --checkpoints {shlex.quote(shown(what.checkpoints))}\n"
        f"{what.program} doctor --config {configuration}\n"
        f"{what.program} revoke --client checkout --reason leaked --dry-run"
        f" --config {configuration}",
    )


def render_curl(what: Next) -> str:
    """Return the command line of an exchange that works as it is pasted."""
    secret = shlex.quote(shown(what.secret_file))
    return "\n".join(
        (
            f"curl -s {what.broker}/token \\",
            f'  -u "{what.secret_file.stem}:$(cat {secret})" \\',
            f"  -d grant_type={GRANT_TYPE_TOKEN_EXCHANGE} \\",
            f"  -d subject_token=$(curl -s '{what.issuer}/alice?audience=checkout') \\",
            f"  -d subject_token_type={TokenType.ACCESS_TOKEN.value} \\",
            "  -d audience=inventory -d scope=inventory.read",
        )
    )


def shown(path: Path) -> str:
    """Return a path as one would type it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _print_text(console: Console, text: str) -> None:
    console.print(Padding(Text(text), _BLOCK))


def _print_lines(console: Console, text: str) -> None:
    for line in text.splitlines():
        console.print(Text(line, "link"), soft_wrap=True)
    console.print()
