"""Where in the data files of a policy something stands: YAML keeps lines, OPA does not."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

from broker.policy.snapshot import DATA_FILES, Snapshot

_LARGEST: Final = 2 * 1024 * 1024  # bytes of a file whose lines are worth the time they take
# libyaml's, where PyYAML has it: a tenth of the time.
LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

DataPath = Sequence[str | int]  # from the root of the data: ("broker", "grants", "checkout")


class Marks:
    """Finds the place of a member of the data. A file is parsed when it is asked about."""

    def __init__(self, snapshot: Snapshot, folder: Path) -> None:
        """``folder`` is what the operator calls the policy."""
        self._folder = folder
        self._files = {
            name: text
            for name, text in snapshot.items()
            if PurePosixPath(name).name in DATA_FILES and len(text) <= _LARGEST
        }
        self._roots: dict[str, Node | None] = {}

    def find(self, path: DataPath) -> str:
        """Return ``file:line`` of the member, or of the nearest that holds it; empty: nowhere."""
        found: tuple[int, str] = (-1, "")
        for name in self._files:
            prefix = PurePosixPath(name).parent.parts
            if tuple(path[: len(prefix)]) == prefix:
                depth, line = _descend(self._root(name), path[len(prefix) :])
                found = max(found, (len(prefix) + depth, f"{self._folder / name}:{line}"))
        return found[1]

    def repeats(self) -> Iterator[tuple[str, str]]:
        """Yield ``file:line`` and name of each key that stands in its mapping twice."""
        for name in self._files:
            for line, key in _repeats(self._root(name)):
                yield f"{self._folder / name}:{line}", key

    def _root(self, name: str) -> Node | None:
        if name not in self._roots:
            self._roots[name] = _compose(self._files[name])
        return self._roots[name]


def _compose(text: bytes) -> Node | None:
    try:
        return yaml.compose(text, Loader=LOADER)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return None  # opa says what is wrong with it


def _descend(node: Node | None, path: DataPath) -> tuple[int, int]:
    """Return how many parts of the path there are, and the line of the last one."""
    line = 1
    for depth, part in enumerate(path):
        found = _member(node, part)
        if found is None:
            return depth, line
        line, node = found
    return len(path), line


def _member(node: Node | None, part: str | int) -> tuple[int, Node] | None:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line + 1, value
    if isinstance(node, SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
        item = node.value[part]
        return item.start_mark.line + 1, item
    return None


def _repeats(root: Node | None) -> Iterator[tuple[int, str]]:
    seen: set[int] = set()  # an alias is walked once, and may lead back to where it stands
    waiting = [] if root is None else [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, MappingNode):
            yield from _repeated_keys(node)
            waiting += [value for _, value in node.value]
        elif isinstance(node, SequenceNode):
            waiting += node.value


def _repeated_keys(node: MappingNode) -> Iterator[tuple[int, str]]:
    names: set[str] = set()
    for key, _ in node.value:
        if isinstance(key.value, str):
            if key.value in names:
                yield key.start_mark.line + 1, key.value
            names.add(key.value)
