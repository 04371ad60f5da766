"""``broker audit retain``: remove what is old enough, and leave a tombstone for it."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from broker.app.sealing import Sealing
from broker.audit.checkpoint_key import build_origin, load_checkpoint_keys
from broker.audit.proof_source import NotSealed
from broker.audit.query import CannotRead
from broker.audit.retain import LEAST, Retention, Retired
from broker.audit.retain_store import CannotRetain, Content, Partition, PartitionStore
from broker.audit.retained import FileRejected
from broker.audit.seal_health import SealRefused
from broker.audit.seal_store import HeadLost, SealUnavailable
from broker.audit.survey import Suspicious
from broker.cli.audit.source import COULD_NOT_LOOK, TAMPERED, Unclear, open_reader
from broker.cli.backing import Backing, open_existing
from broker.cli.console import build_console
from broker.cli.options import Config, Format, Output
from broker.cli.progress import Progress
from broker.cli.recording import open_trail, operator
from broker.errors import CommitRejected, ConfigurationError
from broker.issuers.fetch import build_tls
from broker.settings import Settings, load_settings
from broker.settings.key_files import find_key_files
from broker.settings.values import parse_duration

RETAIN_HELP: Final = (
    "Exit codes: **0** removed, or nothing is that old, **1** refused: something in a partition was"
    " tampered with or is not sealed, **2** could not; run it again and it goes on.\n\n"
    "Example: `broker audit retain --older-than 400d --export-to /srv/audit --yes"
    " --config broker.yaml`"
)
_PAUSE: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Old:
    """What is old enough."""

    partitions: list[tuple[Partition, Content]]
    unprepared: int  # rows in the default partition, which stay


def retain(
    older_than: Annotated[
        str, typer.Option(help="Remove days that were over so long ago, like `400d`.")
    ],
    export_to: Annotated[
        Path,
        typer.Option(
            help="Folder for a file of each day; it has to be kept for as long as wanted."
        ),
    ] = Path("audit-retained"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask before removing it.")] = False,
    output: Output = Format.TABLE,
    config: Config = None,
) -> None:
    """Export whole days of the trail, verify them, leave a signed tombstone, and drop them.

    Needs the owner of the tables (`database.owner_url`) and the key of checkpoints. Brokers may run
    meanwhile. Batches and the sealed log stay, so whatever is left still verifies; rows that are
    missing without a tombstone still show.
    """
    with _told():
        age = _parse_age(older_than)
        settings = load_settings(config)
        with open_existing(settings) as backing:
            asyncio.run(
                _retain(settings, backing, age, export_to, output, dry_run=dry_run, yes=yes)
            )


async def _retain(
    settings: Settings,
    backing: Backing,
    age: timedelta,
    folder: Path,
    output: Format,
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    before = datetime.now(UTC) - age
    async with open_reader(backing.owner_url) as owner:
        partitions = await PartitionStore.open(owner)
        async with aclosing(partitions):
            old = await _find_old(partitions, before)
            if output is Format.TABLE:
                _print_old(old)
            if dry_run or not old.partitions:
                _print_json(output, old, [])
                return
            _confirm(old, yes=yes)
            removed = await _remove(settings, backing, age, folder, partitions, old)
    _print_json(output, old, removed)
    if output is Format.TABLE:
        rows = sum(one.rows for one in removed)
        said = f"{rows:,} rows removed; keep the files in {folder}"
        build_console().print(Text.assemble(("✓ ", "good"), said), soft_wrap=True)


async def _find_old(partitions: PartitionStore, before: datetime) -> _Old:
    found = [
        (one, await partitions.content(one.day)) for one in await partitions.partitions(before)
    ]
    return _Old(found, await partitions.count_unprepared(before))


async def _remove(
    settings: Settings,
    backing: Backing,
    age: timedelta,
    folder: Path,
    partitions: PartitionStore,
    old: _Old,
) -> list[Retired]:
    key_file = find_key_files(settings).checkpoints
    if key_file is None:
        raise ConfigurationError("audit.checkpoints.key_file: is needed to sign tombstones")
    keys = load_checkpoint_keys(key_file, build_origin(settings.issuer))
    _make(folder)
    async with (
        open_reader(backing.app_url) as database,
        aclosing(Sealing(settings, database, build_tls())) as sealing,
        open_trail(settings, database) as trail,
    ):
        # Before anything goes: nothing outside says that this database is an older copy.
        await _seal(sealing)
        retention = Retention(
            database,
            partitions,
            keys=keys,
            record=trail.record,
            seal=lambda: _seal(sealing),
            older_than=age,
            folder=folder,
            by=operator(),
            steps=Progress(build_console(stderr=True)),
        )
        return [await retention.retain(partition.day) for partition, _ in old.partitions]


async def _seal(sealing: Sealing) -> None:
    """Make a checkpoint, or wait a moment for whoever makes one just now."""
    try:
        await sealing.once()
    except (HeadLost, SealUnavailable):
        await asyncio.sleep(_PAUSE)
    except SealRefused as error:
        raise Suspicious(str(error)) from None


def _make(folder: Path) -> None:
    # Only its owner may read what is in it: it may name persons.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _parse_age(text: str) -> timedelta:
    try:
        age = parse_duration(text)
    except (ValueError, OverflowError):
        age = None
    if not isinstance(age, timedelta):
        raise Unclear("--older-than: write a duration like 400d")
    if age < LEAST:
        raise Unclear(f"--older-than: what is younger than {LEAST.days}d is still in use")
    return age


def _confirm(old: _Old, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Unclear("--yes: add it to remove them, or --dry-run to only look")
    days = len(old.partitions)
    if not typer.confirm(f"Remove {days} {'day' if days == 1 else 'days'}?"):
        raise Unclear("nothing was removed")


def _print_old(old: _Old) -> None:
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
    if old.unprepared:
        console.print(
            f"{old.unprepared:,} rows as old are in the default partition, where they stay: their"
            " days had no partition when they were written."
        )


def _print_json(output: Format, old: _Old, removed: list[Retired]) -> None:
    if output is not Format.JSON:
        return
    files = {one.day: one for one in removed}
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
    }
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


@contextmanager
def _told() -> Iterator[None]:
    """Tell in a line why it ended early; what was removed by then stays removed."""
    try:
        yield
    except (Suspicious, NotSealed) as error:
        _say(f"refused: {error}", "nothing of it was removed: run broker audit verify")
        raise typer.Exit(TAMPERED) from None
    except FileRejected as error:
        _say(str(error), "move it away, or name another folder with --export-to")
        raise typer.Exit(COULD_NOT_LOOK) from None
    except (CannotRetain, CannotRead, Unclear) as error:
        _say(str(error))
        raise typer.Exit(COULD_NOT_LOOK) from None
    except (CommitRejected, TimeoutError):
        _say("the audit trail cannot be written now", "see broker doctor, and run this again")
        raise typer.Exit(COULD_NOT_LOOK) from None
    except OSError as error:
        _say(f"--export-to: {error.filename or ''} cannot be written ({error.strerror})")
        raise typer.Exit(COULD_NOT_LOOK) from None


def _say(text: str, remedy: str = "") -> None:
    console = build_console(stderr=True)
    # Not broken into lines: what is named in it is searched for.
    console.print(Text.assemble(("✗ ", "bad"), text), soft_wrap=True)
    if remedy:
        console.print(Text(f"  → {remedy}"), soft_wrap=True)
