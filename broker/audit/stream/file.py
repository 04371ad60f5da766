"""A file that lines are appended to: each a record in JSON.

A line counts once it is on disk. A crash may leave the beginning of one at the end of the file; it
is cut off before more is written, so every line that ever ends is whole. Whoever renames the file
away, as rotation does, finds nothing more appended to it: it is opened anew for each lot.
"""

import asyncio
import fcntl
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from broker.audit.stream.message import Message
from broker.audit.stream.sink import Undelivered

_WITHIN: Final = 30.0  # seconds for one lot; the disk may be far away
_MODE: Final = 0o600  # only its owner: it may name persons
_BLOCK: Final = 64 * 1024
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


class FileSink:
    """One file, and whatever takes its name later."""

    kind: Final = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        # A thread of its own: a disk that hangs must not take those of others.
        self._thread = ThreadPoolExecutor(1, "audit-stream-file")

    async def deliver(self, messages: Sequence[Message]) -> int:
        """Return once the lines are on disk. Raises ``Undelivered``."""
        lines = b"".join(b"%b\n" % message.body for message in messages)
        try:
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._append, lines)
            await asyncio.wait_for(work, _WITHIN)
        except TimeoutError:
            raise Undelivered(f"{self._path}: it does not answer") from None
        except OSError as error:
            raise Undelivered(f"{self._path}: {error.strerror or 'unusable'}") from error
        return 0

    async def aclose(self) -> None:
        """Wait for nobody."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _append(self, lines: bytes) -> None:
        new = not self._path.exists()
        file = os.open(self._path, _FLAGS, _MODE)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(0, "it is no regular file")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OSError(0, "another process appends to it") from None
            _cut_last_line(file)
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        finally:
            os.close(file)
        if new:
            _sync_folder(self._path.parent)  # so that its name outlives a crash, too


def _cut_last_line(file: int) -> None:
    """Have the file end with a line."""
    end = size = os.fstat(file).st_size
    while end:
        start = max(0, end - _BLOCK)
        block = os.pread(file, end - start, start)
        newline = block.rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end != size:
        if os.pread(file, 1, end) != b"{":
            raise OSError(0, "it has other lines than these; name another file")
        os.ftruncate(file, end)


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
