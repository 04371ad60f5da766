"""How a revocation looks, and the rules in force. Legible without any colour."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from broker.audit.reach import Reach
from broker.blocklist.feed import STALE_AFTER
from broker.blocklist.rule import Rule, Scope
from broker.cli.comparison import render_lifetime
from broker.cli.console import printable
from broker.revocation.operator import Hit

_SHOWN: Final = 100  # rows of a table
_INDENT: Final = (0, 0, 1, 2)
_NOTHING: Final = "·"
_WORDS: Final = {
    Scope.SUBJECT: "subject",
    Scope.ACTOR: "actor",
    Scope.CLIENT: "client",
    Scope.ISSUER: "everybody of",
    Scope.KID: "key",
    Scope.TXN: "transaction",
    Scope.JTI: "token",
    Scope.ALL: "everything",
}


def print_hit(console: Console, hit: Hit, *, dry_run: bool) -> None:
    """Print what was revoked, or would be, and what that reaches."""
    rule = hit.rule
    sign = ("· would revoke ", "quiet") if dry_run else ("✓ revoked ", "good")
    number = "" if dry_run else f", rule {rule.seq}"
    console.print(Text.assemble(sign, _what(rule), (number, "quiet")))
    console.print(Padding(Text(_from_when(rule)), _INDENT))
    if hit.reach is None:
        return
    if hit.reach.holders:
        console.print(Padding(_holders(hit.reach), _INDENT))
    for line in _when(hit.reach, dry_run=dry_run):
        console.print(Text(f"  {line}"))


def print_hit_json(hit: Hit, *, dry_run: bool) -> None:
    """Print the same as one JSON document."""
    document = {"dry_run": dry_run, **hit.describe()}
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def print_rules(console: Console, rules: Sequence[Rule]) -> None:
    """Print rules as a table, the newest first."""
    if not rules:
        console.print(Text("Nothing is revoked.", "quiet"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
    table.add_column("rule", justify="right", style="quiet", no_wrap=True)
    table.add_column("what is revoked", overflow="fold", ratio=4)
    table.add_column("if issued before (UTC)", no_wrap=True)
    table.add_column("why, and who", overflow="fold", ratio=4)
    for rule in rules[: -_SHOWN - 1 : -1]:
        why = Text(printable(rule.reason)).append(f"\n{printable(rule.by)}", "quiet")
        before = "whenever" if rule.not_before is None else _instant(rule.not_before)
        table.add_row(str(rule.seq), _what(rule, apart="\n"), before, why)
    console.print(table)
    hidden = len(rules) - _SHOWN
    text = f"{len(rules)} in force." + (" --format json has all of them." if hidden > 0 else "")
    console.print(Text(f"\n{text}", "quiet"))


def print_rules_json(rules: Sequence[Rule], *, lines: bool) -> None:
    """Print rules as one JSON document, or one a line; the newest first."""
    documents = [rule.describe() for rule in reversed(rules)]
    if lines:
        for document in documents:
            print(orjson.dumps(document).decode())
        return
    print(orjson.dumps(documents, option=orjson.OPT_INDENT_2).decode())


def _what(rule: Rule, *, apart: str = " ") -> Text:
    text = Text(_WORDS[rule.scope])
    if rule.key:
        text.append(f" {printable(rule.key)}", "client")
    if rule.issuer:
        joint = "" if rule.scope is Scope.ISSUER else "of "
        text.append(f"{apart}{joint}{printable(rule.issuer)}", "quiet")
    return text


def _from_when(rule: Rule) -> str:
    refused = f"refused by every broker within {STALE_AFTER.seconds} s, mostly at once."
    if rule.not_before is None:
        return f"It and whatever descends from it is {refused}"
    when = "until" if rule.not_before > rule.at + timedelta(minutes=1) else "before"
    return f"What is issued {when} {_instant(rule.not_before)} UTC is {refused}"


def _holders(reach: Reach) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("issued to")
    table.add_column("live tokens", justify="right")
    table.add_column("the last expires (UTC)")
    for holder in reach.holders:
        table.add_row(
            Text(printable(holder.client), "client"),
            str(holder.tokens),
            _instant(holder.expires_at),
        )
    return table


def _when(reach: Reach, *, dry_run: bool) -> Sequence[str]:
    until = reach.expires_at
    if until is None:
        return ["No token of ours that it reaches is alive; others' are refused here all the same."]
    count = f"{reach.tokens} live token{'s' * (reach.tokens != 1)} on record"
    seconds = max(1, round((until - reach.counted_at).total_seconds()))
    would = "would be refused" if dry_run else "refused"
    return [
        f"{count}: {would} by exchange and introspection in seconds.",
        (
            f"Who verifies offline accepts the last one for {render_lifetime(seconds)},"
            f" until {_instant(until)} UTC."
        ),
    ]


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
