"""The server process of a cluster, found by the file that it keeps there."""

import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import psutil  # type: ignore[import-untyped] # has no annotations

# A Unix socket's address has room for 107 bytes, and the name of the file is among them.
_LONGEST_FOLDER: Final = 107 - len("/.s.PGSQL.5432")
# In a URL a folder with a comma or a colon would be several hosts, or a host and its port.
_PLAIN_PATH: Final = re.compile(r"/[A-Za-z0-9/._+-]*")
_DEAD_WITHIN: Final = 30.0  # seconds; killed processes end once their disk lets them


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A running server, as it describes itself in ``postmaster.pid``."""

    process: psutil.Process
    sockets: Path
    ready: bool

    @classmethod
    def find(cls, data: Path) -> Self | None:
        """Return the server that runs on this cluster."""
        try:
            lines = (data / "postmaster.pid").read_text().splitlines()
            process = psutil.Process(int(lines[0]))
            # The file outlives a crash, and its number may be somebody else's by now.
            if not _is_alive(process) or str(data) not in process.cmdline():
                return None
            return cls(process, Path(lines[4]), lines[7].strip() == "ready")
        except (FileNotFoundError, NotADirectoryError, ValueError, IndexError, psutil.Error):
            return None

    def kill(self) -> None:
        """End it and every process of it at once, as the kernel would."""
        # Stopped first, so that it starts no further process while its children are counted.
        self.process.suspend()
        processes = [self.process, *self.process.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        deadline = time.monotonic() + _DEAD_WITHIN
        while any(map(_is_alive, processes)) and time.monotonic() < deadline:
            time.sleep(0.01)


def find_sockets(data: Path) -> Path | None:
    """Return where the last server on this cluster had its socket, whether it runs or not."""
    try:
        return Path((data / "postmaster.pid").read_text().splitlines()[4])
    except (OSError, ValueError, IndexError):
        return None


def is_socket_folder(folder: Path) -> bool:
    """Whether a server's socket can be in this folder, and be named in a URL."""
    text = str(folder)
    return _PLAIN_PATH.fullmatch(text) is not None and len(text) <= _LONGEST_FOLDER


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
