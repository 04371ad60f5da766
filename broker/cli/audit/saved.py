"""Questions that somebody saved, by name: one file in their own configuration, theirs alone.

It holds what was written, not what it meant then: ``24h`` stays a day ago. It may name persons, so
nobody else may read it. What somebody wrote into it by hand is parsed as strictly as an option.
"""

import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from broker.cli.audit.asked import FIELDS
from broker.cli.audit.place import find_folder
from broker.cli.audit.source import Unclear
from broker.explorer import question
from broker.explorer.question import check_value

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION: Final = 1
_MOST: Final = 100  # questions
_LARGEST: Final = 1024 * 1024  # bytes; a hundred of every field at its longest would be more

Given = Mapping[str, str]  # the fields of a question, as they were written


def load_saved() -> dict[str, Given]:
    """Return all of them, by name. Raises ``Unclear``."""
    path = _path()
    with _explained(path):
        return _load(path)


def find_saved(name: str) -> Given:
    """Return one of them. Raises ``Unclear``."""
    saved = load_saved()
    if name not in saved:
        raise Unclear("--saved: nothing is saved by that name; broker audit filters lists what is")
    return saved[name]


def save(name: str, given: Given) -> None:
    """Save a question, in the place of one of the same name. Raises ``Unclear``."""
    if not _NAME.fullmatch(name):
        raise Unclear("--save: a name is of a-z, 0-9, dot, dash and underscore, and has at most 64")

    def add(saved: dict[str, Given]) -> None:
        saved[name] = given
        if len(saved) > _MOST:
            raise Unclear(f"--save: {_MOST} are saved; delete one with broker audit filters")

    _change(add)


def delete(name: str) -> None:
    """Forget a question. Raises ``Unclear``."""

    def remove(saved: dict[str, Given]) -> None:
        if saved.pop(name, None) is None:
            raise Unclear("--delete: nothing is saved by that name")

    _change(remove)


def _change(change: Callable[[dict[str, Given]], None]) -> None:
    path = _path()
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Of two at once the second waits, and so forgets nothing of the first's.
        lock = os.open(path.with_name("filters.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            saved = _load(path)
            change(saved)
            _replace(path, saved)
        finally:
            os.close(lock)


def _replace(path: Path, saved: Mapping[str, Given]) -> None:
    document = {"version": _VERSION, "filters": saved}
    raw = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if len(raw) > _LARGEST:
        raise Unclear("--save: what is saved would be too much; delete something of it")
    draft = path.with_name("filters.new")  # only who holds the lock writes it
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _load(path: Path) -> dict[str, Given]:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise Unclear(f"{path} may be read by others, and may name persons: chmod 600 it")
            raw = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return {}
    try:
        return _parse(raw)
    except (ValueError, question.Unclear) as error:
        raise Unclear(f"{path} has something that was never saved ({error}); mend it") from None


def _parse(raw: bytes) -> dict[str, Given]:
    """Return what a file holds. Raises ``ValueError``, or a question's ``Unclear``."""
    if len(raw) > _LARGEST:
        raise ValueError("it is too large")
    try:
        document: Any = orjson.loads(raw)
    except ValueError:
        raise ValueError("it is no JSON") from None
    if not isinstance(document, dict) or document.keys() != {"version", "filters"}:
        raise ValueError("its members are version and filters")
    if document["version"] != _VERSION:
        raise ValueError("its version is of another broker")
    filters = document["filters"]
    if not isinstance(filters, dict) or len(filters) > _MOST:
        raise ValueError(f"its filters are at most {_MOST}, by name")
    return {name: _parse_one(name, given) for name, given in filters.items()}


def _parse_one(name: str, given: object) -> Given:
    if not _NAME.fullmatch(name) or not isinstance(given, dict) or not given.keys() <= FIELDS:
        raise ValueError("a filter has a name and the options of broker audit query")
    for field, value in given.items():
        if not isinstance(value, str):
            raise ValueError("what a filter asks for is text")  # noqa: TRY004 — of a document
        check_value(field, value)
    # What it means is found when it is asked: by then 24h ago may be past the end that it has.
    return given


def _path() -> Path:
    try:
        return find_folder("XDG_CONFIG_HOME", ".config") / "filters.json"
    except RuntimeError:
        raise Unclear("there is no home folder; let XDG_CONFIG_HOME name a folder") from None


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unclear(f"{path}: {error.strerror}; let XDG_CONFIG_HOME name a folder") from None
