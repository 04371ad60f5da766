"""A YAML file with the line of everything in it, so that whatever is wrong has a place.

Read strictly and within bounds: a key that is written twice is an error, dates stay as they were
written, and nothing in it can make an object, nest without end, or grow by aliases.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from broker.settings.problems import Path as KeyPath
from broker.settings.problems import Problem, render_path

MAX_BYTES: Final = 1024 * 1024
_MAX_DEPTH: Final = 16
_MAX_NODES: Final = 200_000
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


class ScenarioFileError(Exception):
    """A file cannot be read: one line for each problem, its file and line first."""


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds, and in which line each part of it begins."""

    path: Path
    content: Any
    lines: Mapping[KeyPath, int] = field(repr=False)

    def line(self, path: KeyPath) -> int:
        """Return the line of the part at ``path``, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def refusal(self, problems: Iterable[Problem]) -> ScenarioFileError:
        """Return an error that says all of these with their lines, in the order of the file."""
        found = sorted({(self.line(each.path), each.path, each.text) for each in problems}, key=str)
        return ScenarioFileError(
            "\n".join(
                f"{self.path}:{line}: {render_path(path)}: {text}"
                for line, path, text in sorted(found, key=lambda each: each[0])
            )
        )


def load_document(path: Path) -> Document:
    """Return the file's content. Raises ``ScenarioFileError``."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ScenarioFileError(f"{path}: cannot be read ({error.strerror})") from error
    if len(text) > MAX_BYTES:
        raise ScenarioFileError(f"{path}: is larger than {MAX_BYTES >> 20} MiB; make two of it")
    try:
        node = yaml.compose(text.decode("utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError:
        raise ScenarioFileError(f"{path}: is not text in UTF-8") from None
    except yaml.MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        raise ScenarioFileError(f"{path}:{line}: is not valid YAML ({error.problem})") from None
    except (yaml.YAMLError, RecursionError):
        raise ScenarioFileError(f"{path}: is not valid YAML") from None
    if node is None:
        raise ScenarioFileError(f"{path}:1: is empty")
    return _Reader(path).read(node)


class _Reader:
    """Turns one file's nodes into values."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[KeyPath, int] = {}
        self._problems: list[Problem] = []
        self._left = _MAX_NODES
        self._scalars = yaml.constructor.SafeConstructor()

    def read(self, node: yaml.Node) -> Document:
        content = self._value(node, ())
        document = Document(self._path, content, self._lines)
        if self._problems:
            raise document.refusal(self._problems)
        return document

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401 — YAML
        self._left -= 1
        if self._left < 0:
            raise ScenarioFileError(f"{self._path}: holds more than {_MAX_NODES} values")
        self._lines.setdefault(path, node.start_mark.line + 1)
        if len(path) > _MAX_DEPTH:
            self._problems.append(Problem(path[:2], "is nested too deep"))
            return None
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, place)) for place, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return dict(self._members(node, path))
        return self._scalar(node, path)

    def _members(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            self._lines[*path, name] = key.start_mark.line + 1
            if name in seen:
                line = key.start_mark.line + 1
                text = f"is written twice (again in line {line}); remove one"
                self._problems.append(Problem((*path, name), text))
            seen.add(name)
            yield name, self._value(value, (*path, name))

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401 — YAML
        # A time is read where one is meant, and by one rule; YAML has several.
        if node.tag == _TIMESTAMP:
            return node.value
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._problems.append(Problem(path, "is no value that may stand here"))
            return None
