"""Where ``broker audit`` reads, how it tells why it could not, and what its options mean."""

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import typer
from rich.text import Text

from broker.audit.access import Look, record_access
from broker.audit.query import CannotRead
from broker.audit.vault import Vault, load_vault
from broker.cli.console import build_console
from broker.cli.recording import operator
from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database
from broker.errors import ConfigurationError
from broker.explorer import times
from broker.explorer.local import CannotServe
from broker.keys.envelope import load_kek
from broker.settings import find_key_files, load_settings

TAMPERED: Final = 1
COULD_NOT_LOOK: Final = 2

Config = Annotated[
    Path | None,
    typer.Option(
        help="The configuration that names the database; absent: the environment says all.",
        envvar="BROKER_CONFIG",
        show_default=False,
        rich_help_panel="Database",
    ),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        help="Read this database instead, best as broker_auditor. Keep passwords out of it:"
        " others see command lines.",
        show_default=False,
        rich_help_panel="Database",
    ),
]


class Unclear(Exception):  # noqa: N818 — an answer to whoever asks
    """What was asked cannot be understood; the text names the option and what to write."""


KeyFile = Annotated[
    Path | None,
    typer.Option(
        help="The audit key, to see persons in plain; absent: the one of the configuration.",
        show_default=False,
        rich_help_panel="Database",
    ),
]


def find_vault(config: Path | None, url: str | None, key_file: Path | None) -> Vault | None:
    """Return what opens records, where the audit key is at hand.

    Raises ``ConfigurationError`` for one that is named and cannot be used.
    """
    if key_file is not None:
        # Nothing is sealed with it here, so whose issuer is ours does not matter.
        return Vault(load_kek(key_file, setting="--key-file"), issuer="", monotonic=time.monotonic)
    if url is not None:
        return None
    settings = load_settings(config)
    path = find_key_files(settings).audit
    return None if path is None or not path.exists() else load_vault(settings)


@asynccontextmanager
async def open_reader(url: str) -> AsyncIterator[Database]:
    """Yield a database to read from, for as long as it takes."""
    # No statement timeout: what is read by the chunk takes as long as there are chunks.
    database = Database(url, timeout=None)
    try:
        yield database
    finally:
        await database.aclose()


async def record_look(
    database: Database, action: Look, details: Mapping[str, Any], vault: Vault | None
) -> None:
    """Have on record who looks, and for what, before anything is shown. Raises ``CannotRead``."""
    pseudonym = None if vault is None else vault.pseudonym
    await record_access(database, action, details, by=operator(), pseudonym=pseudonym)


@contextmanager
def find_database(config: Path | None, url: str | None) -> Iterator[str]:
    """Yield where to read; an embedded database that nobody runs is started for as long."""
    if url is not None:
        yield url
        return
    database = load_settings(config).database
    if database.url is not None:
        yield database.url.get_secret_value()
        return
    if not (database.data_dir / "postgres").is_dir():
        raise ConfigurationError(f"database.data_dir: nothing was recorded in {database.data_dir}")
    with EmbeddedPostgres(database.data_dir) as postgres:
        yield postgres.auditor_url


@contextmanager
def told() -> Iterator[None]:
    """Tell why nothing could be looked at, in a line; exit code 2."""
    try:
        yield
    except (CannotRead, CannotServe, Unclear) as error:
        build_console(stderr=True).print(Text.assemble(("✗ ", "bad"), str(error)))
        raise typer.Exit(COULD_NOT_LOOK) from None


def parse_moment(option: str, value: str | None) -> datetime | None:
    """Return a duration as a time so long ago, and a time as it is; without a zone it is UTC.

    Raises ``Unclear``.
    """
    if value is None:
        return None
    try:
        return times.parse_moment(value, ZoneInfo("UTC"), datetime.now(UTC))
    except ValueError as error:
        raise Unclear(f"{option}: {error}") from None


def parse_jti(value: str | None) -> str | None:
    """Return the id of a row in its one spelling. Raises ``Unclear``."""
    try:
        return None if value is None else str(UUID(value))
    except ValueError:
        raise Unclear(
            "--jti: tokens issued here have UUIDs; for a foreign one ask with --parent"
        ) from None
