"""``broker audit retain``: remove what is old enough, and leave a tombstone for it."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from broker.app.sealing import Sealing
from broker.audit.checkpoint_key import build_origin, load_checkpoint_keys
from broker.audit.forget import count_forgettable, forget_persons
from broker.audit.proof_source import NotSealed
from broker.audit.query import CannotRead
from broker.audit.retain import LEAST, Retention
from broker.audit.retain_store import CannotRetain, PartitionStore
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
from broker.cli.retention_tables import Done, Old, print_done, print_done_json, print_old
from broker.db.engine import Database
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
class _Asked:
    age: timedelta
    folder: Path
    output: Format
    forget: bool
    dry: bool
    yes: bool


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
    forget: Annotated[
        bool,
        typer.Option(
            "--forget-persons",
            help="Also destroy the keys of persons that only removed rows were sealed under: what"
            " identifies them can then be read in no file either.",
        ),
    ] = False,
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
        asked = _Asked(
            age=_parse_age(older_than),
            folder=export_to,
            output=output,
            forget=forget,
            dry=dry_run,
            yes=yes,
        )
        settings = load_settings(config)
        with open_existing(settings) as backing:
            asyncio.run(_retain(settings, backing, asked))


async def _retain(settings: Settings, backing: Backing, asked: _Asked) -> None:
    before = datetime.now(UTC) - asked.age
    done = Done()
    async with open_reader(backing.owner_url) as owner:
        partitions = await PartitionStore.open(owner)
        async with aclosing(partitions):
            old = await _find_old(owner, partitions, before, forget=asked.forget)
            if asked.output is Format.TABLE:
                print_old(old)
            if not asked.dry and (old.partitions or old.keys):
                _confirm(old, yes=asked.yes)
                done = await _remove(settings, backing, asked, partitions, old)
    if asked.output is Format.JSON:
        print_done_json(old, done)
    elif done.removed or done.forgotten:
        print_done(done, asked.folder)


async def _find_old(
    owner: Database, partitions: PartitionStore, before: datetime, *, forget: bool
) -> Old:
    found = [
        (one, await partitions.content(one.day)) for one in await partitions.partitions(before)
    ]
    unprepared = await partitions.count_unprepared(before)
    kept_since = await partitions.kept_since(before)
    # Rows that stay in the default partition need theirs.
    keys = await count_forgettable(owner, kept_since) if forget and not unprepared else 0
    return Old(found, unprepared, kept_since, keys)


async def _remove(
    settings: Settings, backing: Backing, asked: _Asked, partitions: PartitionStore, old: Old
) -> Done:
    key_file = find_key_files(settings).checkpoints
    if key_file is None:
        raise ConfigurationError("audit.checkpoints.key_file: is needed to sign tombstones")
    keys = load_checkpoint_keys(key_file, build_origin(settings.issuer))
    _make(asked.folder)
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
            older_than=asked.age,
            folder=asked.folder,
            by=operator(),
            steps=Progress(build_console(stderr=True)),
        )
        removed = [await retention.retain(partition.day) for partition, _ in old.partitions]
        forgotten = 0
        if old.keys:
            # Not before every day is gone in which one of them was used.
            forgotten = await forget_persons(
                database, trail.record, before=old.kept_since, by=operator()
            )
    return Done(removed, forgotten)


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


def _confirm(old: Old, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise Unclear("--yes: add it to remove them, or --dry-run to only look")
    days = len(old.partitions)
    keys = f", and destroy {old.keys:,} keys of persons" if old.keys else ""
    if not typer.confirm(f"Remove {days} {'day' if days == 1 else 'days'}{keys}?"):
        raise Unclear("nothing was removed")


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
