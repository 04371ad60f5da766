"""``broker audit seal``: sign the head of the log now."""

import asyncio
import sys
from contextlib import aclosing
from typing import Final

import typer
from rich.text import Text

from broker.app.sealing import Sealing
from broker.audit.seal_health import SealRefused
from broker.audit.seal_store import HeadLost, SealUnavailable
from broker.audit.sealer import Progress
from broker.cli.audit.source import COULD_NOT_LOOK, TAMPERED, open_reader
from broker.cli.backing import open_existing
from broker.cli.console import build_console
from broker.cli.options import Config
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.migrate import pending
from broker.errors import ConfigurationError
from broker.issuers.fetch import build_tls
from broker.settings import Settings, load_settings

SEAL_HELP: Final = (
    "Exit codes: **0** sealed and brought out, **1** refused: what is outside contradicts the"
    " database, **2** could not seal, or not bring it out.\n\n"
    "Example: `broker audit seal --config broker.yaml`"
)

_Sealed = tuple[Progress, dict[str, str | None]]


def seal(config: Config = None) -> None:
    """Seal what no checkpoint covers yet, publish it, and print the newest checkpoint.

    Brokers do so by themselves while one runs; this is for when none does, or not to wait. Nothing
    is sealed while a file or an object store has what the database lacks.
    """
    settings = load_settings(config)
    console = build_console(stderr=True)
    try:
        with open_existing(settings) as backing:
            progress, sinks = asyncio.run(_seal(settings, backing.app_url))
    except SealRefused as error:
        console.print(Text.assemble(("✗ ", "bad"), f"not sealed: {error}"))
        raise typer.Exit(TAMPERED) from None
    except (SealUnavailable, HeadLost) as error:
        console.print(Text.assemble(("✗ ", "bad"), str(error)))
        raise typer.Exit(COULD_NOT_LOOK) from None
    if progress.note is None:
        console.print(Text.assemble(("• ", "warning"), "there is nothing to seal yet"))
        return
    sys.stdout.write(progress.note)
    new = f"{progress.added:,} batches sealed" if progress.added else "nothing new"
    console.print(Text.assemble(("✓ ", "good"), f"{new}; the log has {progress.size:,}"))
    failed = {name: fault for name, fault in sinks.items() if fault is not None}
    for name in sinks.keys() - failed.keys():
        console.print(Text.assemble(("✓ ", "good"), f"brought to {name}"))
    for fault in failed.values():
        console.print(Text.assemble(("✗ ", "bad"), f"not brought out: {fault}"))
    if failed:
        raise typer.Exit(COULD_NOT_LOOK)


async def _seal(settings: Settings, url: str) -> _Sealed:
    async with (
        open_reader(url) as database,
        aclosing(Sealing(settings, database, build_tls())) as sealing,
    ):
        await _check_schema(database)
        return await sealing.once()


async def _check_schema(database: Database) -> None:
    try:
        missing = await pending(database)
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise SealUnavailable(f"the database cannot be read ({type(error).__name__})") from error
    if missing:
        raise ConfigurationError(
            f"database: {len(missing)} migrations are not applied; run: broker migrate"
        )
