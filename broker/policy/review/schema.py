"""Data held against the schema that its own file names, as an editor does while it is written.

A file names it in a comment, ``# yaml-language-server: $schema=../../schemas/x.json``, relative to
itself. It is ``opa`` that knows JSON Schema; the same that checks the rules.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import orjson
import yaml

from broker.policy.compiler import run_opa
from broker.policy.review.flaw import Flaw, fault
from broker.policy.review.marks import LOADER, Marks
from broker.policy.snapshot import DATA_FILES, Snapshot
from broker.settings.problems import Path as MemberPath
from broker.settings.problems import render_path

_NAMED: Final = re.compile(rb"^#\s*yaml-language-server:\s*\$schema=(\S+)\s*$", re.MULTILINE)
_OF_ITS_OWN: Final = "broker/grants/"  # whose form is said in better words
_UNKNOWN: Final = re.compile(r"Additional property (.+) is not allowed", re.DOTALL)
_MOST: Final = 20  # of one file
_QUERY: Final = (
    '{sprintf("%d", [n]): said | some n, one in input.files;'
    " said := json.match_schema(one.data, one.schema)}"
)


@dataclass(frozen=True, slots=True)
class _Held:
    """A file that names a schema."""

    file: PurePosixPath
    data: object
    named: str
    schema: Mapping[str, Any]


def review_data(opa: Path, snapshot: Snapshot, marks: Marks, folder: Path) -> Iterator[Flaw]:
    """Yield what the schemas refuse. Raises ``ConfigurationError`` if ``opa`` cannot be run."""
    held: list[_Held] = []
    for name, text in snapshot.items():
        named = _NAMED.search(text)
        file = PurePosixPath(name)
        if file.name not in DATA_FILES or named is None or name.startswith(_OF_ITS_OWN):
            continue
        spelt = named[1].decode(errors="replace")
        schema = _load_schema(folder, file, spelt)
        if schema is None:
            line = text.count(b"\n", 0, named.start()) + 1
            yield fault(
                f"{folder / name}:{line}",
                f"schema of {name}",
                "names a schema that is no JSON file of this folder",
                "write its path from this file, like ../../schemas/parameters.json",
            )
            continue
        with suppress(yaml.YAMLError, RecursionError):  # of which opa has said the same
            data = yaml.load(text, Loader=LOADER)  # noqa: S506 — LOADER is a safe one
            if data is not None:  # comments alone
                held.append(_Held(file, data, spelt, schema))
    for one, path, said in _ask(opa, held, folder) if held else ():
        prefix = one.file.parent.parts
        yield fault(
            marks.find((*prefix, *path)),
            f"{'.'.join(prefix[1:])} {render_path(path) if path else ''}".strip(),
            said,
            f"mend it: {one.named} says what may stand there",
        )


def _load_schema(folder: Path, file: PurePosixPath, named: str) -> Mapping[str, Any] | None:
    root = folder.resolve()
    # Not from anywhere else: what a policy is checked by travels with it.
    try:
        path = (root / file.parent / named).resolve()
        # A file, and no pipe that would be waited for.
        if not path.is_relative_to(root) or not path.is_file():
            return None
        found = orjson.loads(path.read_bytes())
    except (OSError, ValueError, RuntimeError):  # RuntimeError: a link to itself
        return None
    return found if isinstance(found, dict) else None


def _ask(opa: Path, held: Sequence[_Held], folder: Path) -> Iterator[tuple[_Held, MemberPath, str]]:
    """Yield what is refused, of which file, where in it, and in which words."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        # As text: YAML has dates, and keys that are none.
        asked = [{"data": one.data, "schema": one.schema} for one in held]
        file.write(json.dumps({"files": asked}, default=str, skipkeys=True).encode())
        file.flush()
        ended = run_opa(
            opa, ["eval", "--format", "json", "--input", file.name, _QUERY], folder=folder
        )
    try:
        said = json.loads(ended.stdout)["result"][0]["expressions"][0]["value"]
    except (ValueError, LookupError, TypeError):
        said = {}
    for number, one in enumerate(held):
        if str(number) not in said:
            yield one, (), "cannot be held against its schema; the schema may be wrong"
            continue
        for error in said[str(number)][1][:_MOST]:
            field = str(error.get("field", ""))
            text = str(error.get("desc", "is not what the schema says")).removeprefix(f"{field} ")
            path = _member(one.data, field)
            unknown = _UNKNOWN.fullmatch(text)
            if unknown is not None:
                yield one, (*path, unknown[1]), "is not a known member"
            else:
                yield one, path, text[:1].lower() + text[1:]


def _member(data: object, field: str) -> MemberPath:
    """Return the path of a field that is written with dots, which names may have as well."""
    path: list[str | int] = []
    left = "" if field == "(root)" else field
    while left:
        if isinstance(data, Mapping):
            fitting = [key for key in map(str, data) if f"{left}.".startswith(f"{key}.")]
            if not fitting:
                break
            key = max(fitting, key=len)
            path.append(key)
            data, left = data.get(key), left[len(key) + 1 :]
        elif isinstance(data, list):
            index, _, left = left.partition(".")
            path.append(int(index))
            data = data[int(index)] if int(index) < len(data) else None
        else:
            break
    return tuple(path)
