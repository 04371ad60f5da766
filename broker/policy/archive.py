"""The files of a bundle: a gzipped tar that is whole, within bounds and holds nothing but files.

What holds when ``unpack`` returns:

(1) packed and unpacked it was no larger than ``MAX_ARCHIVE``, with at most ``MAX_FILES`` in it;
(2) each member is a regular file: no link, device or sparse file, whose size is only claimed;
(3) each name is relative, in UTF-8, without ``..``, and there once.

Nothing is ever written to a disk from it.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping
from typing import Final

from broker.policy.snapshot import MAX_BYTES, MAX_FILES

MAX_ARCHIVE: Final = 2 * MAX_BYTES  # the folder, and what was compiled from it


class ArchiveInvalid(Exception):  # noqa: N818 — a property of the file
    """It is no bundle archive; the text says what is wrong with it, in a line."""


def unpack(content: bytes) -> Mapping[str, bytes]:
    """Return the files of an archive by their names. Raises ``ArchiveInvalid``."""
    if len(content) > MAX_ARCHIVE:
        raise ArchiveInvalid(_too_large())
    try:
        with gzip.open(io.BytesIO(content)) as packed:
            unpacked = packed.read(MAX_ARCHIVE + 1)  # (1) to the end, where its checksum is
        if len(unpacked) > MAX_ARCHIVE:
            raise ArchiveInvalid(_too_large())
        with tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:", errors="strict") as archive:
            return _read(archive)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise ArchiveInvalid(str(error) or "it is broken") from error


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return the archive of these files; the same files are the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(f"/{name}")
            member.size, member.mode = len(files[name]), 0o644
            archive.addfile(member, io.BytesIO(files[name]))
    return gzip.compress(packed.getvalue(), mtime=0)


def _read(archive: tarfile.TarFile) -> Mapping[str, bytes]:
    files: dict[str, bytes] = {}
    for number, member in enumerate(archive):
        if number > MAX_FILES:
            raise ArchiveInvalid(f"more than {MAX_FILES} files")
        if member.isdir():
            continue
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():  # (2)
            raise ArchiveInvalid(f"{_shown(member.name)} is no regular file")
        name = _checked(member.name)
        if name in files:
            raise ArchiveInvalid(f"{_shown(name)} is there twice")
        content = archive.extractfile(member)
        if content is None:  # not possible for a regular file
            raise ArchiveInvalid(f"{_shown(name)} has no content")
        files[name] = content.read()
        if len(files[name]) != member.size:
            raise ArchiveInvalid(f"{_shown(name)} is cut off")
    return files


def _checked(name: str) -> str:
    """Return the name relative to the bundle's root. (3)."""
    # ``opa build`` puts a slash in front of each name, ``tar`` may put a dot and a slash.
    relative = name.removeprefix("./").removeprefix("/")
    parts = relative.split("/")
    if not relative.isprintable() or "\\" in relative or {"", ".", ".."} & set(parts):
        raise ArchiveInvalid(f"the name {_shown(name)} is not one of a file below its root")
    return relative


def _shown(name: str) -> str:
    text = name.encode("utf-8", "replace").decode()[:100]
    return text if text.isprintable() else ascii(text)


def _too_large() -> str:
    return f"larger than {MAX_ARCHIVE >> 20} MiB"
