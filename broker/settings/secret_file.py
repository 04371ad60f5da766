"""Secrets that the configuration names by their file: read whole, and not where all can read."""

import os
import stat
from pathlib import Path
from typing import Final

from broker.errors import ConfigurationError

_MAX_BYTES: Final = 1024


def read_secret(path: Path, *, setting: str, remedy: str) -> bytes:
    """Return what is in the file, without white space around it.

    Raises ``ConfigurationError``, which names ``setting`` and says what to do; never what it holds.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MAX_BYTES).strip()
    except FileNotFoundError:
        raise ConfigurationError(f"{setting}: {path} does not exist; {remedy}") from None
    except OSError as error:
        reason = error.strerror or "unreadable"
        raise ConfigurationError(f"{setting}: {path} cannot be read: {reason}") from None
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigurationError(f"{setting}: everybody can read {path}; chmod 600 {path}")
    if not text:
        raise ConfigurationError(f"{setting}: {path} is empty; {remedy}")
    return text
