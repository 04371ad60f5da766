"""The place of a follower in a file, for whoever may not write into the database.

    {"origin":"broker.example.com/audit","size":4711,"root":"…"}

It is the head of what was read so far, so it says of which log it is: the log that is followed must
have that root at that size. One process holds it at a time, by a lock on the file.
"""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Any, Final

import orjson

from broker.audit.checkpoint import CheckpointRejected, parse_checkpoint
from broker.audit.cursor import CursorBusy, CursorLost
from broker.audit.encoding import decode_hash, encode_hash
from broker.audit.follow import OtherLog
from broker.audit.head import Head, is_name
from broker.audit.query import CannotRead, reason_of
from broker.audit.seal_store import load_nodes
from broker.audit.tree import EMPTY_ROOT, root_nodes, tree_root
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

_NOTE: Final = "SELECT note, size FROM audit_checkpoint ORDER BY size DESC LIMIT 1"
_MODE: Final = 0o600
_MOST: Final = 4096  # bytes
_BEGINNING: Final = Head("-", 0, EMPTY_ROOT)  # the same of every log


class FileCursor:
    """One file."""

    def __init__(self, path: Path, database: Database) -> None:
        self._path = path
        self._database = database
        self._connection: Any = None
        self._file = -1

    async def take(self) -> int | None:
        """Return the place, and hold it until ``aclose``; None: there is none yet.

        Raises ``CursorBusy``, ``OtherLog`` or ``CannotRead``.
        """
        try:
            if self._file < 0:
                self._file = await asyncio.to_thread(_open_locked, self._path)
            head = await asyncio.to_thread(_read, self._file, self._path)
            if head is None:
                return None
            if await self._head_at(head.size) != head:
                raise OtherLog(
                    f"{self._path} is the place in another log, or this one is older than it was;"
                    " name another file, or move it away to begin anew"
                )
        except BaseException:
            await self.aclose()
            raise
        return head.size

    async def move(self, position: int) -> None:
        """Return once the place is durable. Raises ``CursorLost`` or ``CannotRead``."""
        if self._file < 0:
            raise CursorLost("it was not taken, or was let go of")
        try:
            head = await self._head_at(position)
            if head is None:
                raise OtherLog("the log is older than it was")
            before, self._file = self._file, await asyncio.to_thread(_replace, self._path, head)
            os.close(before)
        except OSError as error:
            await self.aclose()
            raise CannotRead(f"{self._path}: {error.strerror or 'unusable'}") from error
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Let go of it."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    async def _head_at(self, size: int) -> Head | None:
        """Return the head that the log had at this size; None: it has not so many batches."""
        try:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._database.connect()
            newest = await self._connection.fetchrow(_NOTE)
            if size == 0:
                return _BEGINNING
            if newest is None or newest["size"] < size:
                return None
            nodes = await load_nodes(self._connection, root_nodes(size))
            return Head(parse_checkpoint(newest["note"]).origin, size, tree_root(size, nodes))
        except (NotDurable, *DATABASE_ERRORS) as error:
            raise CannotRead(reason_of(error)) from error
        except (KeyError, CheckpointRejected):
            raise CannotRead("the sealed log is incomplete: run `broker audit verify`") from None


def _open_locked(path: Path) -> int:
    """Return the file, which nobody else has. Raises ``CursorBusy`` or ``CannotRead``."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another one may have put a new file there between the two.
            if os.fstat(file).st_ino != path.stat().st_ino:
                raise BlockingIOError
        except BaseException:
            os.close(file)
            raise
    except (BlockingIOError, FileNotFoundError):
        if not path.parent.is_dir():
            raise CannotRead(f"{path} is no file in a folder that is there") from None
        raise CursorBusy(f"another process keeps its place in {path}") from None
    except OSError as error:
        raise CannotRead(f"{path}: {error.strerror or 'unusable'}") from error
    return file


def _read(file: int, path: Path) -> Head | None:
    raw = os.pread(file, _MOST, 0)
    if not raw:
        return None
    try:
        found = orjson.loads(raw)
        head = Head(found["origin"], found["size"], decode_hash(found["root"]))
        if not (is_name(head.origin) and type(head.size) is int and head.size >= 0):
            raise ValueError
    except (ValueError, TypeError, KeyError):
        raise CannotRead(f"{path} is no place in a log; name another file") from None
    return head


def _replace(path: Path, head: Head) -> int:
    """Put a new file in the place of the old one, as a whole, and return it, locked."""
    beside = path.with_name(f".{path.name}.part")  # only who holds the lock writes it
    file = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        members = {"origin": head.origin, "size": head.size, "root": encode_hash(head.root)}
        os.write(file, orjson.dumps(members, option=orjson.OPT_APPEND_NEWLINE))
        os.fsync(file)
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        os.close(file)
        raise
    return file
