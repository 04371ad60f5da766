"""A policy folder as it is at one moment: what is compiled cannot change while it is.

Only what OPA reads of a bundle root is taken: ``.rego`` files, ``data.json`` and ``data.yaml``,
and ``.manifest`` of the root itself. Tests stay behind, and so does every name that begins with a
dot: half-written files of editors, and the copies that Kubernetes keeps of a mounted folder.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from broker.errors import ConfigurationError

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
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # an editor has just put another in its place; whoever watches comes again
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
        size += len(content)
        files[path.relative_to(folder).as_posix()] = content
        if len(files) > MAX_FILES or size > MAX_BYTES:
            raise ConfigurationError(
                f"policy.path: {folder} is larger than {MAX_FILES} files or {MAX_BYTES >> 20} MiB"
            )
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


def _find(folder: Path) -> Iterator[Path]:
    # Folders behind links are not entered, so a link cannot make a circle.
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if name == _MANIFEST and path.parent == folder:
                yield path
            elif name.startswith(".") or name.endswith("_test.rego"):
                continue
            elif name.endswith(".rego") or name in DATA_FILES:
                yield path
