"""How rows of the audit trail look, and a report on it. Legible without any colour."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from broker.audit.outcome import REUSE
from broker.cli.console import printable

_WIDE: Final = 100  # columns from which on there is room for ids
_INDENT: Final = (0, 0, 1, 0)
_KINDS: Final = ("alert", "writer")  # of whose action alone nobody knows what it is
_NOTHING: Final = "·"
_NAMED: Final = 5  # of a list that could be long
_ID: Final = 36  # characters of a UUID


def print_rows(rows: Sequence[Mapping[str, Any]], console: Console, zone: ZoneInfo) -> None:
    """Print rows as a table, the newest first, with their times in ``zone``."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
    # The name of a zone may be longer than any time.
    table.add_column(f"at ({zone.key})", style="quiet", overflow="fold", min_width=10, max_width=15)
    wide = console.width >= _WIDE
    table.add_column("what", overflow="fold", min_width=_ID if wide else 21)
    table.add_column("client → target", overflow="fold", ratio=3)
    table.add_column("on behalf of", overflow="fold", ratio=4)
    table.add_column("scopes", overflow="fold", ratio=3)
    for row in rows:
        table.add_row(
            f"{(at := row['at'].astimezone(zone)):%Y-%m-%d}\n{at:%H:%M:%S}",
            _what(row, with_id=wide),
            _parties(row),
            _behalf(row),
            _lines(row["scopes"]),
        )
    console.print(Padding(table, _INDENT))


def _what(row: Mapping[str, Any], *, with_id: bool) -> Text:
    if row["outcome"] == "issued":
        text = Text("✓ issued again" if row.get("action") == REUSE else "✓ issued", "good")
    elif row["outcome"] == "refused":
        text = Text(f"✗ {row['reason'] or 'counted refusals'}", "bad")
    else:
        prefix = f"{row['kind']} " if row["kind"] in _KINDS else ""
        style = "warning" if row["kind"] == "alert" else ""
        text = Text(f"• {prefix}{printable(row['action'] or row['kind'])}", style)
    return text.append(f"\n{row['id']}", "quiet") if with_id else text


def _parties(row: Mapping[str, Any]) -> Text:
    text = Text(printable(row["client"] or _NOTHING), "client" if row["client"] else "quiet")
    if row["targets"]:
        text.append("\n→ ", "quiet").append(printable(", ".join(row["targets"])), "default")
    return text


def _behalf(row: Mapping[str, Any]) -> Text:
    if row["subject"] is None:
        return Text(_NOTHING, "quiet")
    text = Text(printable(row["subject"]))
    text.append(f"\n{printable(row['subject_issuer'])}", "quiet")
    # The current actor stands first in the row; read downwards it is who came last.
    for actor in reversed(row["actors"]):
        text.append("\n└ by ", "quiet").append(printable(actor), "default")
    return text


def _lines(values: Sequence[str]) -> Text:
    return Text(printable("\n".join(values)) or _NOTHING, "" if values else "quiet")
