"""A policy folder as it is at one moment: what is compiled cannot change while it is.

Only what OPA reads of a bundle root is taken: ``.rego`` files, ``data.json`` and ``data.yaml``,
and ``.manifest`` of the root itself. Tests stay behind, and so does every name that begins with a
dot: half-written files of editors, and the copies that Kubernetes keeps of a mounted folder.

What holds of the files:

(1) all of them are regular ones inside of the folder; a link that leads out of it is refused, for
    whoever may write there writes the policy;
(2) a folder behind a link is entered once: a mounted folder of Kubernetes is made of links;
(3) each is in UTF-8, none of data is larger than ``MAX_DATA``, and of all no more is read than
    ``MAX_BYTES``.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from broker.errors import ConfigurationError
from broker.policy.guest import MAX_DATA

MAX_FILES: Final = 2000
MAX_BYTES: Final = 16 * 1024 * 1024  # of all of them
_MANIFEST: Final = ".manifest"
# How a package is named, and below it exactly one more name.
_RULES: Final = re.compile(rb"\s*package\s+(?:data\.)?broker\s*\.\s*((?:proxy_)?rules)\b([^#]*)")
_SEGMENT: Final = re.compile(rb"\s*\.\s*\w+\s*|\s*\[\s*\"[^\"]*\"\s*\]\s*")
DATA_FILES: Final = frozenset({"data.json", "data.yaml", "data.yml"})

Snapshot = Mapping[str, bytes]  # by path in the folder, with slashes


def take_snapshot(folder: Path) -> Snapshot:
    """Return the files of a bundle root. Raises ``ConfigurationError`` naming what is wrong."""
    if not folder.is_dir():
        raise ConfigurationError(f"policy.path: {folder} is no folder")
    files: dict[str, bytes] = {}
    size = 0
    for path in _find(folder):
        try:
            content = _read(path, MAX_BYTES - size)
        except FileNotFoundError:
            continue  # an editor has just put another in its place; whoever watches comes again
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
        size += len(content)
        if len(files) >= MAX_FILES or size > MAX_BYTES:
            raise ConfigurationError(
                f"policy.path: {folder} is larger than {MAX_FILES} files or {MAX_BYTES >> 20} MiB,"
                f" at {path}"
            )
        if path.name in DATA_FILES and len(content) > MAX_DATA:
            raise ConfigurationError(
                f"{path}: is larger than {MAX_DATA >> 20} MiB, which is the most data that a policy"
                " may have; take out what no rule reads"
            )
        _check_text(path, content)
        files[path.relative_to(folder).as_posix()] = content
    if not any(name.endswith(".rego") for name in files):
        raise ConfigurationError(f"policy.path: {folder} holds no policy (*.rego)")
    _check_rules(files, folder)
    return files


def write_snapshot(snapshot: Snapshot, folder: Path) -> None:
    """Put the files into ``folder``."""
    for name, content in snapshot.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _check_rules(files: Snapshot, folder: Path) -> None:
    """Refuse a package that the decision does not ask: its author counts on what it denies."""
    for name, content in files.items():
        for number, line in enumerate(content.splitlines() if name.endswith(".rego") else (), 1):
            match = _RULES.match(line)
            if match is not None and _SEGMENT.fullmatch(match[2]) is None:
                parent = f"broker.{match[1].decode()}"
                raise ConfigurationError(
                    f"{folder / name}:{number}: rules of your own are packages directly below"
                    f" {parent}, like {parent}.office_hours; this one would not be asked"
                )


def _read(path: Path, most: int) -> bytes:
    """Return at most a byte more than ``most``, of what is a file and will not be waited for."""
    # What is a pipe would be waited for until somebody writes.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ConfigurationError(f"{path}: is no regular file; put one in its place")
        return file.read(most + 1)


def _check_text(path: Path, content: bytes) -> None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(
            f"{path}:{line}: is not in UTF-8 (byte {content[error.start]:#04x}); save it as that"
        ) from None


def _find(folder: Path) -> Iterator[Path]:
    root = folder.resolve()
    seen = {root}
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        # By its entries: a name tells what it is without being opened.
        for entry in sorted(_entries(place), key=lambda each: each.name, reverse=True):
            path = Path(entry.path)
            manifest = entry.name == _MANIFEST and place == folder
            if entry.name.startswith(".") and not manifest:
                continue
            if _is_folder(entry):
                inside = _inside(path, root) if entry.is_symlink() else path.resolve()
                if inside not in seen:
                    seen.add(inside)
                    waiting.append(path)
            elif manifest or _is_read(entry.name):
                if entry.is_symlink():
                    _inside(path, root)
                yield path


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(f"{folder}: cannot be read ({error.strerror})") from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:  # a link to itself
        raise ConfigurationError(f"{entry.path}: cannot be read ({error.strerror})") from error


def _is_read(name: str) -> bool:
    return name in DATA_FILES or (name.endswith(".rego") and not name.endswith("_test.rego"))


def _inside(path: Path, root: Path) -> Path:
    """Return where a link leads. Raises ``ConfigurationError`` if that is not in the folder."""
    target = path.resolve()
    if not target.is_relative_to(root):
        raise ConfigurationError(
            f"{path}: is a link that leads out of the folder; put the file itself there"
        )
    if not target.exists():
        raise ConfigurationError(f"{path}: is a link to nothing; put the file there, or remove it")
    return target
