"""``broker keys``: the keys that tokens are signed with, and rotating them by hand."""

import asyncio
import getpass
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from broker.audit.commit import AuditTrail
from broker.audit.uuid7 import build_uuid7
from broker.audit.writer import AuditWriter
from broker.cli.backing import Backing, open_backing
from broker.cli.console import build_console
from broker.cli.key_tables import describe_key, print_keys, print_keys_json, print_keys_jsonl
from broker.cli.options import Config, ListFormat
from broker.db.engine import Database
from broker.errors import CommitRejected, ConfigurationError
from broker.keys.envelope import Envelope, load_kek
from broker.keys.keyring import build_schedule
from broker.keys.rotation import KeyState, Schedule, TooEarly
from broker.keys.rotator import Rotator
from broker.keys.store import GenerationLost, KeyStore, StoreUnavailable
from broker.settings import Settings, load_settings

NOT_ROTATED: Final = 1
COULD_NOT_ASK: Final = 2
_PATIENCE: Final = timedelta(seconds=5)  # for the audit trail to be ready

app = typer.Typer(
    help="List and rotate the keys that tokens are signed with.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command(
    "list",
    epilog="Exit codes: **0** listed, **2** could not ask.\n\n"
    "Example: `broker keys list --config broker.yaml`",
)
def show(
    config: Config = None,
    output: Annotated[
        ListFormat, typer.Option("--format", help="How to print them.")
    ] = ListFormat.TABLE,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are retired.")] = False,
) -> None:
    """List the signing keys: their state, since when, and what happens to them next."""
    settings = load_settings(config)
    with _told(), _backing(settings) as backing:
        asyncio.run(_list(backing, build_schedule(settings), output, everything=everything))


@app.command(
    "rotate",
    epilog="Exit codes: **0** rotated, **1** too early, or another process was faster, **2** could"
    " not ask.\n\nExample: `broker keys rotate --config broker.yaml`",
)
def rotate(
    config: Config = None,
    algorithm: Annotated[
        list[str] | None,
        typer.Option(help="Only keys of this algorithm; may be repeated. Absent: of all in use."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Though verifiers may not have seen the standby: those with an older JWKS refuse"
            " new tokens for up to five minutes.",
        ),
    ] = False,
    output: Annotated[
        ListFormat, typer.Option("--format", help="How to print them.")
    ] = ListFormat.TABLE,
) -> None:
    """Let the prepared key sign from now on, and prepare the next one.

    It is in force in every process within seconds, and recorded in the audit trail. The key that
    signed until now stays published for as long as its tokens live. Keys rotate by themselves
    every `keys.rotate_every`; this is for a day when that is too late.
    """
    settings = load_settings(config)
    used = {settings.keys.algorithm, *(target.algorithm for target in settings.targets)}
    unused = sorted(set(algorithm or ()) - used)
    if unused:
        raise ConfigurationError(
            f"--algorithm: {unused[0]} is not in use; there are keys of {', '.join(sorted(used))}"
        )
    with _told(), _backing(settings) as backing:
        asyncio.run(_rotate(settings, backing, sorted(algorithm or used), force=force))
        asyncio.run(_list(backing, build_schedule(settings), output, everything=False))


async def _list(
    backing: Backing, schedule: Schedule, output: ListFormat, *, everything: bool
) -> None:
    async with aclosing(Database(backing.app_url)) as database:
        store = KeyStore(database)
        records = await store.records()
        # The database's clock made the times, so it also says how long ago they are.
        now = (await store.table("")).at
    keys = [
        describe_key(record, schedule, now)
        for record in records
        if everything or record.state is not KeyState.RETIRED
    ]
    printers = {ListFormat.JSON: print_keys_json, ListFormat.JSONL: print_keys_jsonl}
    printers.get(output, print_keys)(keys)


async def _rotate(
    settings: Settings, backing: Backing, algorithms: list[str], *, force: bool
) -> None:
    by = f"operator {_login()}"
    envelope = Envelope(load_kek(backing.kek_file))
    async with (
        aclosing(Database(backing.app_url)) as database,
        _trail(settings, database) as trail,
    ):

        async def record(action: str, details: Mapping[str, Any]) -> None:
            await trail.record(action, {**details, "forced": force}, by=by)

        rotator = Rotator(KeyStore(database), envelope, build_schedule(settings), record)
        for algorithm in algorithms:
            if (await rotator.store.table(algorithm)).generation == 0:
                await rotator.rotate_due(algorithm)  # makes the first ones
            elif force:
                await rotator.rotate_forced(algorithm)
            else:
                await rotator.rotate(algorithm)


@asynccontextmanager
async def _trail(settings: Settings, database: Database) -> AsyncIterator[AuditTrail]:
    """Yield an audit trail with a writer of its own, for as long as one command takes."""

    def clock() -> datetime:
        return datetime.now(UTC)

    writer = AuditWriter(database, deadline=settings.audit.deadline, clock=clock)
    stop = asyncio.Event()
    running = asyncio.create_task(writer.run(stop))
    try:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            while not writer.available:  # noqa: ASYNC110 — it has no event for it, and none is due
                await asyncio.sleep(0.02)
        yield AuditTrail(
            writer, issuer=settings.issuer, clock=clock, build_id=lambda: build_uuid7(clock)
        )
    finally:
        stop.set()
        await running


@contextmanager
def _backing(settings: Settings) -> Iterator[Backing]:
    data_dir = settings.database.data_dir
    if settings.database.url is None and not (data_dir / "postgres").is_dir():
        raise ConfigurationError(
            f"database.data_dir: there is no database in {data_dir} yet; a broker makes it"
        )
    with open_backing(settings) as backing:
        yield backing


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "unknown"


@contextmanager
def _told() -> Iterator[None]:
    """Tell in a line why nothing was rotated or listed."""
    try:
        yield
    except TooEarly as early:
        minutes = -(-early.wait // timedelta(minutes=1))
        _refuse(
            "too early: verifiers that cache the JWKS do not know the standby yet",
            f"wait {minutes} min, or say --force if the active key must not sign any longer",
            NOT_ROTATED,
        )
    except GenerationLost:
        _refuse(
            "another process changed the keys at this moment",
            "see broker keys list, and try again if that was not what you wanted",
            NOT_ROTATED,
        )
    except StoreUnavailable as error:
        _refuse(
            f"the database does not answer: {_cause(error)}", "see broker doctor", COULD_NOT_ASK
        )
    except (CommitRejected, TimeoutError):
        _refuse(
            "the audit trail cannot be written, so nothing was rotated",
            "see broker doctor",
            COULD_NOT_ASK,
        )


def _cause(error: BaseException) -> str:
    # Of the library only the kind: its text may repeat a row.
    return type(getattr(error.__cause__, "orig", None) or error.__cause__).__name__


def _refuse(text: str, remedy: str, code: int) -> None:
    errors = build_console(stderr=True)
    errors.print(Text.assemble(("✗ ", "bad"), text), soft_wrap=True)
    errors.print(f"  → {remedy}", markup=False)
    raise typer.Exit(code) from None
