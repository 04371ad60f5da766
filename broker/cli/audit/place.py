"""What the places in the pages of a query are signed with.

Where there is no audit key to derive it from, it is a file of whoever asks: cursors are theirs
then, and no good to anybody else.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from broker.audit.vault import Vault
from broker.cli.audit.source import Unclear

_BYTES: Final = 32
_NAME: Final = "cursor.key"


def find_folder(variable: str, otherwise: str) -> Path:
    """Return the folder of ours in one of XDG's, which ``variable`` may name."""
    named = os.environ.get(variable, "")
    # The specification: what is relative is to be ignored.
    base = Path(named) if Path(named).is_absolute() else Path.home() / otherwise
    return base / "token-exchange-broker"


def load_cursor_key(vault: Vault | None) -> bytes:
    """Return the key; without an audit key, that of the file, which is made. Raises ``Unclear``."""
    if vault is not None:
        return vault.cursor_key
    try:
        path = find_folder("XDG_STATE_HOME", ".local/state") / _NAME
        if not path.exists():
            _make(path)
        return _read(path)
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "there is no home folder"
        raise Unclear(
            f"--after: the key of cursors cannot be kept ({why}); let XDG_STATE_HOME name a folder"
            " of yours, or give the audit key"
        ) from None


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{_NAME}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(_BYTES))
        # Of two that make it at once, both use the first's: it is there whole or not at all.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        key = file.read(_BYTES + 1)
    if not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077 or len(key) != _BYTES:
        raise Unclear(
            f"--after: {path} is no key, or one that others may read; remove it, and a new one is"
            " made"
        )
    return key
