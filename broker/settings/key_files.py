"""Where the keys are that stay out of the database: named, or beside an embedded one."""

from dataclasses import dataclass
from pathlib import Path

from broker.settings.root import Settings


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """The files; beside an embedded database they are made when they are first needed."""

    kek: Path | None  # None: no signing key is sealed, they are on a token
    audit: Path | None  # None: not configured, which only an incomplete configuration is
    checkpoints: Path | None  # likewise


def find_key_files(settings: Settings) -> KeyFiles:
    """Return where a configuration has its keys."""
    kek, audit = settings.keys.kek_file, settings.audit.key_file
    checkpoints = settings.audit.checkpoints.key_file
    if settings.database.url is not None:
        return KeyFiles(kek, audit, checkpoints)
    folder = settings.database.data_dir
    return KeyFiles(
        kek or folder / "kek",
        audit or folder / "audit.key",
        checkpoints or folder / "checkpoint.key",
    )
