"""A token beside the one that it was exchanged for, with what became of each claim.

Legible without colour: what is gone has a ``-`` before it, what is new a ``+``.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from broker.cli.console import printable
from broker.cli.unverified import UnverifiedToken

NOTHING: Final = "·"
_BAR: Final = 14  # cells of a lifetime's bar
_LIFETIME: Final = "lifetime"
# What people look for first, in this order; whatever else a token says follows.
_FIRST: Final = ("sub", "act", "aud", "scope", "scp", _LIFETIME, "iss", "may_act", "client_id")


@dataclass(frozen=True, slots=True)
class Column:
    """One of the tokens, under the title that it is shown with."""

    title: str
    token: UnverifiedToken


def compare(
    before: Column,
    after: Column,
    *,
    claims: Collection[str] | None = None,
    notes: Mapping[str, str] | None = None,
) -> Table:
    """Return a table of both tokens, claim by claim.

    ``claims`` restricts and orders what is shown; None shows everything. ``notes`` says, of a
    scope that is new, what it follows from.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True, show_edge=False)
    table.add_column("", style="quiet", no_wrap=True, max_width=22)
    table.add_column(before.title, ratio=1, overflow="fold")
    table.add_column(after.title, ratio=1, overflow="fold")
    for name in _names(before.token, after.token) if claims is None else claims:
        for number, cells in enumerate(_rows(name, before.token, after.token, notes or {})):
            table.add_row(printable(name) if number == 0 else "", *cells)
    return table


def describe(column: Column, *, claims: Collection[str] | None = None) -> Table:
    """Return a table of one token alone; ``claims`` as for ``compare``."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", style="quiet", no_wrap=True)
    table.add_column(column.title, overflow="fold")
    for name in _names(column.token) if claims is None else claims:
        table.add_row(printable(name), _plain(name, column.token))
    return table


def render_lifetime(seconds: int) -> str:
    """Return a time of life in the unit that people would say it in."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or seconds == size:
            whole, rest = divmod(seconds, size)
            return f"{whole} {unit}" if rest == 0 else f"{seconds / size:.1f} {unit}"
    return f"{seconds} s"


def _names(*tokens: UnverifiedToken) -> list[str]:
    present = dict.fromkeys(name for token in tokens for name in token.claims)
    if any(token.lifetime is not None for token in tokens):
        present[_LIFETIME] = None
    first = [name for name in _FIRST if name in present]
    return first + sorted(present.keys() - set(first))


def _rows(
    name: str, before: UnverifiedToken, after: UnverifiedToken, notes: Mapping[str, str]
) -> Iterator[tuple[Text, Text]]:
    match name:
        case "scope" | "scp":
            yield from _changes(_clean(before.scopes), _clean(after.scopes), notes)
        case "aud":
            yield from _changes(_clean(before.audiences), _clean(after.audiences), {})
        case "lifetime":
            most = max(before.lifetime or 0, after.lifetime or 0)
            yield _life(before.lifetime, most), _life(after.lifetime, most)
        case _:
            left, right = _plain(name, before), _plain(name, after)
            if name in after.claims and (name == "act" or name not in before.claims):
                right.stylize("quiet" if left.plain == right.plain else "fresh")
            yield left, right


def _changes(
    before: tuple[str, ...], after: tuple[str, ...], notes: Mapping[str, str]
) -> Iterator[tuple[Text, Text]]:
    """Yield a pair for each value, so that what became of it stands beside it."""
    for value in before:
        if value in after:
            yield Text(value), Text(f"  {value}")
        else:
            yield Text(value), Text("- ", style="bad").append(value, "gone")
    for value in after:
        if value not in before:
            fresh = Text(f"+ {value}", style="fresh")
            if value in notes:
                fresh.append(f"\n  {notes[value]}", "quiet")
            yield Text(""), fresh
    if not before and not after:
        yield Text(NOTHING, "quiet"), Text(NOTHING, "quiet")


def _clean(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(printable, values))


def _life(seconds: int | None, most: int) -> Text:
    if seconds is None:
        return Text(NOTHING)
    # A life of a second is not none, so it gets a cell too.
    filled = max(1, round(_BAR * seconds / most)) if most else 0
    bar = Text("█" * filled, style="good").append("░" * (_BAR - filled), "quiet")
    return bar.append(f"  {render_lifetime(seconds)}", "default")


def _plain(name: str, token: UnverifiedToken) -> Text:  # noqa: PLR0911 — a case for each kind
    match name, token.claims.get(name):
        case "lifetime", _:
            return _life(token.lifetime, token.lifetime or 0)
        case _, None:
            return Text(NOTHING, style="quiet")
        case "act", dict():
            return Text(printable("\n".join(_chain(token.actors))))
        case "scope" | "scp", _:
            return Text(printable("\n".join(token.scopes)))
        case "exp" | "iat" | "nbf" | "auth_time", int() | float() as seconds:
            return Text(_time(seconds))
        case _, str() as text:
            return Text(printable(text))
        case _, list() as items if all(isinstance(item, str) for item in items):
            return Text(printable("\n".join(items)))
        case _, value:
            return Text(printable(json.dumps(value, ensure_ascii=False, sort_keys=True)))


def _chain(actors: tuple[str, ...]) -> Iterator[str]:
    # Read downwards: who acts, for whom, down to whoever acted first.
    for depth, actor in enumerate(actors):
        yield actor if depth == 0 else f"{'  ' * (depth - 1)}└ for {actor}"


def _time(value: float) -> str:
    try:
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (OverflowError, ValueError, OSError):
        return str(value)
