"""A file that checkpoints are appended to. What is in it: ``broker.audit.checkpoint_file``.

The file itself says how far it has come: it goes on behind its last whole note, so neither a crash
nor an older copy of it leaves a gap. Where it is empty or gone, as after it was put away, it goes
on where the cursor in the database stands. Two processes that write to one file see each other by
a lock on it.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from broker.audit.checkpoint import CheckpointRejected, parse_checkpoint
from broker.audit.checkpoint_file import find_last, render_entries
from broker.audit.head import Head
from broker.audit.publish.outbox import Due, Outbox
from broker.audit.publish.sink import Contradiction, SinkUnavailable

T = TypeVar("T")

_TAIL: Final = 256 * 1024  # bytes that are read of its end
_WITHIN: Final = 10.0  # seconds for one reading or writing; the disk may be far away
_MODE: Final = 0o644  # anybody may read: it is for others to verify


class FileSink:
    """One file, on this machine's disk or another's."""

    kind: Final = "file"
    name: Final = "file"

    def __init__(self, path: Path) -> None:
        self._path = path
        # A thread of its own: a disk that hangs must not take those of others.
        self._thread = ThreadPoolExecutor(1, "checkpoint-file")

    async def examine(self, outbox: Outbox) -> None:
        """Compare the last checkpoint in the file with the database; raises ``Contradiction``."""
        # The file first: what was published meanwhile is in the database before.
        _, last = await self._do(self._read)
        if last is None:
            return
        root = await outbox.root_at(last.size)
        if root is None:
            raise Contradiction(
                f"{self._path} has a checkpoint of size {last.size}, and the database only"
                f" {await outbox.size()}: it is older than it was, or it is another one"
            )
        if root != last.root:
            raise Contradiction(
                f"{self._path} has another root for size {last.size} than the database"
            )

    async def catch_up(self, outbox: Outbox, patience: timedelta) -> int:
        """Append what is due. Raises ``SinkUnavailable`` or ``Contradiction``."""
        count = 0
        while True:
            tail, last = await self._do(self._read)
            after = await outbox.cursor(self.name) if last is None else last.size
            due = await outbox.due(after, patience)
            if not due:
                return count
            if await self._do(partial(self._append, due, tail)):
                await outbox.advance(self.name, due[-1].size)
                count += len(due)

    async def aclose(self) -> None:
        """Wait for nobody."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            future = asyncio.get_running_loop().run_in_executor(self._thread, work)
            return await asyncio.wait_for(future, _WITHIN)
        except TimeoutError:
            raise SinkUnavailable(f"{self._path}: it does not answer") from None
        except OSError as error:
            raise SinkUnavailable(f"{self._path}: {error.strerror or 'unusable'}") from error
        except ValueError as error:
            raise SinkUnavailable(f"{self._path}: {error}; give checkpoints a new file") from None

    def _read(self) -> tuple[bytes, Head | None]:
        try:
            with self._path.open("rb") as file:
                return self._parse(_tail_of(file.fileno()))
        except FileNotFoundError:
            return b"", None

    def _parse(self, tail: bytes) -> tuple[bytes, Head | None]:
        note = find_last(tail, whole=len(tail) < _TAIL)
        if note is None:
            return tail, None
        try:
            return tail, parse_checkpoint(note)
        except CheckpointRejected as error:
            raise ValueError(str(error)) from None

    def _append(self, due: list[Due], seen: bytes) -> bool:
        """Append and return whether nobody else did since ``seen`` was its end."""
        with self._locked() as file:
            if _tail_of(file) != seen:
                return False
            entries = memoryview(render_entries((each.note for each in due), seen))
            while entries:
                entries = entries[os.write(file, entries) :]
            os.fsync(file)
        return True

    @contextmanager
    def _locked(self) -> Iterator[int]:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        new = not self._path.exists()
        file = os.open(self._path, flags, _MODE)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if new:
                _sync_folder(self._path.parent)  # so that the file's name outlives a crash, too
            yield file
        finally:
            os.close(file)


def _tail_of(file: int) -> bytes:
    size = os.fstat(file).st_size
    return os.pread(file, _TAIL, max(0, size - _TAIL))


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
