"""What retention would remove, and what it has removed, as it is printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from broker.audit.retain import Retired
from broker.audit.retain_store import Content, Partition
from broker.cli.console import build_console


@dataclass(frozen=True, slots=True)
class Old:
    """What is old enough."""

    partitions: Sequence[tuple[Partition, Content]]
    unprepared: int  # rows in the default partition, which stay
    kept_since: datetime  # the beginning of the first day that stays
    keys: int  # of persons, that are to be destroyed


@dataclass(frozen=True, slots=True)
class Done:
    """What was removed."""

    removed: Sequence[Retired] = ()
    forgotten: int = 0  # keys of persons


def print_done(done: Done, folder: Path) -> None:
    """Print it in a line."""
    rows = sum(one.rows for one in done.removed)
    said = (
        f"{rows:,} rows removed; keep the files in {folder}" if done.removed else "no row removed"
    )
    keys = f"; {done.forgotten:,} keys of persons destroyed" if done.forgotten else ""
    build_console().print(Text.assemble(("✓ ", "good"), said, keys), soft_wrap=True)


def print_old(old: Old) -> None:
    """Print what is old enough, a line for each day."""
    console = build_console()
    if old.partitions:
        table = Table(box=None, header_style="quiet")
        for name in ("day", "rows", "size", "oldest", "newest"):
            table.add_column(name, justify="right" if name in {"rows", "size"} else "left")
        for partition, content in old.partitions:
            table.add_row(
                str(partition.day),
                f"{content.rows:,}",
                decimal(partition.size),
                *(
                    "" if at is None else f"{at:%H:%M:%S}"
                    for at in (content.oldest, content.newest)
                ),
            )
        console.print(table)
    else:
        console.print("No day's partition is that old.")
    if old.keys:
        console.print(f"{old.keys:,} keys of persons are needed by no row that stays.")
    if old.unprepared:
        console.print(
            f"{old.unprepared:,} rows as old are in the default partition, where they stay with the"
            " keys of their persons: their days had no partition when they were written."
        )


def print_done_json(old: Old, done: Done) -> None:
    """Print what there was and what became of it as one JSON document."""
    files = {one.day: one for one in done.removed}
    document = {
        "partitions": [
            {
                "day": partition.day,
                "rows": content.rows,
                "bytes": partition.size,
                "oldest": content.oldest,
                "newest": content.newest,
                "removed": partition.day in files,
                "file": str(files[partition.day].file) if partition.day in files else None,
                "sha256": files[partition.day].sha256 if partition.day in files else None,
            }
            for partition, content in old.partitions
        ],
        "unprepared_rows": old.unprepared,
        "person_keys": {"forgettable": old.keys, "destroyed": done.forgotten},
    }
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
