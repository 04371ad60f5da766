"""``broker audit detect``: what the rules would have found in the trail that there is."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.text import Text

from broker.audit.detect.alert import SEVERITIES, build_alert
from broker.audit.detect.engine import LOOKBACK, Engine, Found
from broker.audit.follow import Follower
from broker.cli.audit.alerts import print_alerts
from broker.cli.audit.source import (
    Config,
    DatabaseUrl,
    Unclear,
    find_database,
    open_reader,
    parse_moment,
    record_look,
    told,
)
from broker.cli.console import build_console
from broker.cli.options import ListFormat
from broker.db.engine import Database
from broker.settings import load_settings
from broker.settings.alerts import Alerts

DETECT_HELP: Final = (
    "Exit codes: **0** looked, **2** could not look.\n\n"
    "Example: `broker audit detect --since 30d --config broker.yaml`"
)
_SHOWN: Final = 200  # alerts of a table; the newest of them
_ROWS: Final = 2000  # rows at a time


@dataclass(slots=True)
class _Seen:
    """What came of it, but for the alerts."""

    rows: int = 0
    gaps: int = 0


def detect(
    since: Annotated[
        str, typer.Option(help="From then on: `30d` ago, or `2026-11-24T12:00:00Z`.")
    ] = "7d",
    output: Annotated[
        ListFormat, typer.Option("--format", help="How to print them.")
    ] = ListFormat.TABLE,
    config: Config = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Look through the sealed trail with the rules of the configuration, and write nothing.

    For tuning: change `audit.alerts`, and see what would have been told, and how often. What is
    usual is read from the two weeks before. With `--database-url` alone the rules are the defaults.
    """
    with told():
        begin = parse_moment("--since", since)
        if begin is None:
            raise Unclear("--since: write a duration like 7d, or a time")
        rules = _load_rules(config, database_url)
        with find_database(config, database_url) as url:
            asyncio.run(_detect(url, begin, rules, output))


def _load_rules(config: Path | None, url: str | None) -> Alerts:
    return Alerts() if config is None and url is not None else load_settings(config).audit.alerts


async def _detect(url: str, since: datetime, rules: Alerts, output: ListFormat) -> None:
    async with open_reader(url) as database:
        details = {"since": since.isoformat(), "format": output.value, "detect": True}
        await record_look(database, "audit.query", details, None)
        console, seen = build_console(stderr=True), _Seen()
        counts: Counter[tuple[str, bool]] = Counter()
        kept: list[dict[str, Any]] = []
        with console.status(Text("looking through the trail …"), spinner_style="link"):
            async for found in _find(database, since, Engine(rules), seen):
                counts[found.alert.rule, found.suppressed is not None] += 1
                document = _describe(found)
                if output is ListFormat.JSONL:
                    sys.stdout.write(f"{orjson.dumps(document).decode()}\n")
                else:
                    kept = [*kept[1 - _SHOWN :], document]
    if output is ListFormat.JSON:
        sys.stdout.write(
            f"{orjson.dumps(_summary(counts, seen, kept), option=orjson.OPT_INDENT_2).decode()}\n"
        )
    elif output is ListFormat.TABLE:
        _print(kept, counts, seen, build_console())
    if seen.gaps:
        text = f"{seen.gaps} stretches of the trail are missing: run broker audit verify"
        console.print(Text.assemble(("✗ ", "bad"), text))


async def _find(
    database: Database, since: datetime, engine: Engine, seen: _Seen
) -> AsyncIterator[Found]:
    follower = Follower(database, most=_ROWS)
    try:
        place = await follower.place_of(since - LOOKBACK)
        while (chunk := await follower.read(place)) is not None:
            seen.rows += len(chunk.rows)
            seen.gaps += len(chunk.gaps)
            for found in engine.feed(chunk.rows):
                if found.alert.at >= since:
                    yield found
            place = chunk.next_position
    finally:
        await follower.aclose()


def _describe(found: Found) -> dict[str, Any]:
    # As it would stand in the trail, but for when it was written there.
    record: dict[str, Any] = orjson.loads(build_alert(found.alert, at=found.alert.at).record)
    if found.suppressed is not None:
        record["suppressed"] = found.suppressed
    return record


def _summary(
    counts: Counter[tuple[str, bool]], seen: _Seen, alerts: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "rows": seen.rows,
        "gaps": seen.gaps,
        "counts": {rule: counts[rule, False] for rule in SEVERITIES},
        "suppressed": {rule: counts[rule, True] for rule in SEVERITIES},
        "newest": alerts,
    }


def _print(
    alerts: list[dict[str, Any]], counts: Counter[tuple[str, bool]], seen: _Seen, console: Console
) -> None:
    print_alerts(alerts, console)
    if counts.total() > len(alerts):
        console.print(Text(f"The last {len(alerts)} of {counts.total():,}.", "quiet"))
    console.print()
    for rule in SEVERITIES:
        line = Text(f"{rule:<22}").append(f"{counts[rule, False]:>7,}", "heading")
        if counts[rule, True]:
            line.append(f"  {counts[rule, True]:,} suppressed", "quiet")
        console.print(line)
    text = f"{seen.rows:,} rows were read, two weeks before among them. Nothing was written."
    console.print(Text(text, "quiet"))
