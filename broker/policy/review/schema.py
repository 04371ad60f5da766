"""Data held against the schema that its own file names, as an editor does while it is written.

A file names it in a comment, ``# yaml-language-server: $schema=../../schemas/x.json``, relative to
itself. It is ``opa`` that knows JSON Schema; the same that checks the rules.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
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
_MOST: Final = 20  # of one file
_QUERY: Final = "json.match_schema(input.data, input.schema)"


def review_data(opa: Path, snapshot: Snapshot, marks: Marks, folder: Path) -> Iterator[Flaw]:
    """Yield what the schemas refuse. Raises ``ConfigurationError`` if ``opa`` cannot be run."""
    for name, text in snapshot.items():
        named = _NAMED.search(text)
        file = PurePosixPath(name)
        if file.name not in DATA_FILES or named is None or name.startswith(_OF_ITS_OWN):
            continue
        schema = _load_schema(folder, file, named[1].decode(errors="replace"))
        if schema is None:
            line = text.count(b"\n", 0, named.start()) + 1
            yield fault(
                f"{folder / name}:{line}",
                f"schema of {name}",
                "names a schema that is no JSON file of this folder",
                "write its path from this file, like ../../schemas/parameters.json",
            )
            continue
        try:
            data = yaml.load(text, Loader=LOADER)  # noqa: S506 — LOADER is a safe one
            asked = orjson.dumps({"data": data, "schema": schema})
        except (yaml.YAMLError, UnicodeDecodeError, TypeError, RecursionError):
            continue  # what is no JSON, opa has refused
        if data is None:
            continue  # comments alone
        prefix = file.parent.parts
        for path, said in _ask(opa, asked, data, folder):
            yield fault(
                marks.find((*prefix, *path)),
                f"{'.'.join(prefix[1:])} {render_path(path) if path else ''}".strip(),
                said,
                f"mend it: {named[1].decode(errors='replace')} says what may stand there",
            )


def _load_schema(folder: Path, file: PurePosixPath, named: str) -> Mapping[str, Any] | None:
    root = folder.resolve()
    path = (root / file.parent / named).resolve()
    # Not from anywhere else: what a policy is checked by travels with it.
    if not path.is_relative_to(root):
        return None
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _ask(opa: Path, asked: bytes, data: object, folder: Path) -> Iterator[tuple[MemberPath, str]]:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(asked)
        file.flush()
        ended = run_opa(
            opa, ["eval", "--format", "json", "--input", file.name, _QUERY], folder=folder
        )
    try:
        _, errors = json.loads(ended.stdout)["result"][0]["expressions"][0]["value"]
    except (ValueError, LookupError, TypeError):
        yield (), "cannot be held against its schema; the schema may be wrong"
        return
    for error in errors[:_MOST]:
        field = str(error.get("field", ""))
        said = str(error.get("desc", "is not what the schema says")).removeprefix(f"{field} ")
        yield _member(data, field), said[:1].lower() + said[1:]


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
