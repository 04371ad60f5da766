"""A policy folder to try a change on: a copy, in a folder that nobody else can read.

Nothing here writes into the folder that it was copied from; what leaves is a patch. A file is only
ever named by the name that it was copied under, so no name leads out of the copy.
"""

import difflib
import os
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from broker.errors import ConfigurationError
from broker.policy.snapshot import DATA_FILES

MOST_FILES: Final = 2000
MOST_BYTES: Final = 16 * 1024 * 1024  # of all of them
MOST_TEXT: Final = 512 * 1024  # bytes of a file that is edited


class CannotEdit(Exception):  # noqa: N818 — an answer to whoever edits
    """The file cannot be, or must not be, changed like this; ``str()`` says why."""


class Scratch:
    """The copy, from ``with`` on until its end."""

    def __init__(self, original: Path) -> None:
        self.original = original
        self._before: dict[str, str] = {}
        self._now: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Copy. Raises ``ConfigurationError`` for what is no policy folder, or too large."""
        if not self.original.is_dir():
            raise ConfigurationError(f"{self.original} is no policy folder")
        self._place = tempfile.TemporaryDirectory(prefix="broker-workbench-")
        self.folder = Path(self._place.name, "policies")
        try:
            self._copy()
        except BaseException:
            self._place.cleanup()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._place.cleanup()

    @property
    def files(self) -> tuple[str, ...]:
        """The names of what can be edited: grants and other data first, then Rego, then tests."""
        return tuple(sorted(self._now, key=_rank))

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of those that are not as they were."""
        return tuple(name for name in self.files if self._now[name] != self._before[name])

    @property
    def state(self) -> str:
        """What names this state of all files; another state has another one."""
        digest = sha256()
        for name in sorted(self._now):
            digest.update(f"{name} {tag_of(self._now[name])}\n".encode())
        return digest.hexdigest()

    def read(self, name: str) -> str:
        """Return a file as it is here now. Raises ``CannotEdit``."""
        self._require(name)
        return self._now[name]

    def edit(self, name: str, text: str, *, was: str) -> None:
        """Put another text in place of the one whose ``tag_of`` is ``was``.

        Raises ``CannotEdit``, also if it was changed meanwhile.
        """
        self._require(name)
        if tag_of(self._now[name]) != was:
            raise CannotEdit("it was changed in another window meanwhile")
        whole = text.replace("\r\n", "\n").replace("\r", "\n")
        if "\0" in whole or len(whole.encode("utf-8", "surrogatepass")) > MOST_TEXT:
            raise CannotEdit(f"a file is text of at most {MOST_TEXT >> 10} KiB")
        self._write(name, whole)

    def revert(self, name: str) -> None:
        """Put a file back as it was. Raises ``CannotEdit``."""
        self._require(name)
        self._write(name, self._before[name])

    def render_patch(self, prefix: str) -> str:
        """Return every change as one that ``git apply`` takes, with paths below ``prefix``."""
        return "".join(
            _patch(f"{prefix}{name}", self._before[name], self._now[name]) for name in self.changed
        )

    def _require(self, name: str) -> None:
        if name not in self._now:
            raise CannotEdit("there is no such file here")

    def _write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8", newline="")
        self._now[name] = text

    def _copy(self) -> None:
        size = count = 0
        for path in _find(self.original):
            try:
                content = path.read_bytes()
            except OSError as error:
                raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
            size, count = size + len(content), count + 1
            if count > MOST_FILES or size > MOST_BYTES:
                raise ConfigurationError(f"{self.original} is too large to be a policy folder")
            name = path.relative_to(self.original).as_posix()
            copy = self.folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
            text = _text(content)
            if text is not None and (path.suffix == ".rego" or path.name in DATA_FILES):
                self._before[name] = self._now[name] = text
        if not any(name.endswith(".rego") for name in self._now):
            raise ConfigurationError(f"{self.original} holds no policy (*.rego)")


def tag_of(text: str) -> str:
    """Return what names a text."""
    return sha256(text.encode()).hexdigest()[:32]


def find_prefix(folder: Path) -> str:
    """Return where a folder is in its git checkout, as patches name it; else its own name."""
    whole = folder.absolute()
    for parent in whole.parents:
        if (parent / ".git").exists():
            return f"{whole.relative_to(parent).as_posix()}/"
    return f"{whole.name}/"


def _find(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        # As a snapshot has it: no hidden ones, and none behind a link, which may lead anywhere.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            hidden = name.startswith(".") and path != folder / ".manifest"
            if not hidden and path.is_file() and not path.is_symlink():
                yield path


def _text(content: bytes) -> str | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    # A browser would send another text back.
    return None if "\r" in text or "\0" in text or len(content) > MOST_TEXT else text


def _rank(name: str) -> tuple[int, str]:
    if name.startswith("broker/grants/"):
        return 0, name
    if not name.endswith(".rego"):
        return 1, name
    return (3 if name.endswith("_test.rego") else 2), name


def _patch(name: str, before: str, after: str) -> str:
    lines = list(
        difflib.unified_diff(
            before.splitlines(keepends=True),
            after.splitlines(keepends=True),
            f"a/{name}",
            f"b/{name}",
        )
    )
    ended = [
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    ]
    return f"diff --git a/{name} b/{name}\n{''.join(ended)}"
