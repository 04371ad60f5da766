"""What a command works on: the configured database, or the embedded one where there is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from broker.audit.vault import make_audit_key
from broker.db.embedded import EmbeddedPostgres
from broker.db.migrate import migrate
from broker.errors import ConfigurationError
from broker.keys.envelope import load_or_make_kek
from broker.settings import Settings, find_key_files


@dataclass(frozen=True, slots=True)
class Backing:
    """Where the database is, as whom, and what its signing keys are sealed with."""

    app_url: str = field(repr=False)
    owner_url: str = field(repr=False)
    kek_file: Path | None  # None: no key is sealed, they are on a token
    embedded: bool


@contextmanager
def open_backing(settings: Settings) -> Iterator[Backing]:
    """Yield the database of a configuration; an embedded one is started, migrated and stopped.

    Raises ``ConfigurationError``.
    """
    database = settings.database
    if database.url is not None:
        app_url = database.url.get_secret_value()
        owner = database.owner_url
        owner_url = app_url if owner is None else owner.get_secret_value()
        yield Backing(app_url, owner_url, settings.keys.kek_file, embedded=False)
        return
    kek_file = settings.keys.kek_file or database.data_dir / "kek"
    with EmbeddedPostgres(database.data_dir) as postgres:
        migrate(postgres.owner_url)
        load_or_make_kek(kek_file)
        make_audit_key(settings)
        _make_checkpoint_key(settings)
        yield Backing(postgres.app_url, postgres.owner_url, kek_file, embedded=True)


def _make_checkpoint_key(settings: Settings) -> None:
    path = find_key_files(settings).checkpoints
    if path is not None:
        load_or_make_kek(path, setting="audit.checkpoints.key_file")


@contextmanager
def open_existing(settings: Settings) -> Iterator[Backing]:
    """Yield the same, for a command that looks at what is there, or changes it.

    Raises ``ConfigurationError`` where no broker has made a database yet.
    """
    data_dir = settings.database.data_dir
    if settings.database.url is None and not (data_dir / "postgres").is_dir():
        raise ConfigurationError(
            f"database.data_dir: there is no database in {data_dir} yet; a broker makes it"
        )
    with open_backing(settings) as backing:
        yield backing
