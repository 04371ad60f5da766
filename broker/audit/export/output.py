"""Where an export goes: a file that is there as a whole or not at all, or standard output."""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast


@contextmanager
def open_output(path: Path | None) -> Iterator[BinaryIO]:
    """Yield what to write to; None: standard output.

    A file has its name only once all of it is on disk; until then it stands beside under another
    one, which goes if anything fails. Only its owner may read it, for it may name persons.
    Raises ``OSError``.
    """
    try:
        if path is None:
            yield cast("BinaryIO", _Output(sys.stdout.buffer))
            sys.stdout.buffer.flush()
        else:
            with _named_at_last(path) as file:
                yield cast("BinaryIO", _Output(file))
    except _NotWritten as failed:
        raise failed.error from None


@contextmanager
def _named_at_last(path: Path) -> Iterator[BinaryIO]:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # else the name may be gone after a power cut
    finally:
        os.close(folder)


class _NotWritten(Exception):  # noqa: N818 — becomes the error that it holds
    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error


class _Output(io.BufferedIOBase):
    """Tells a full disk from a lost database: both are ``OSError`` to whoever reads and writes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # bytes are all that is written
        try:
            return self._file.write(data)
        except OSError as error:
            raise _NotWritten(error) from None
