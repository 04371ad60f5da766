"""Where a policy's data is written: the file and line of a grant, and of each of its members."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import yaml

from broker.policy.snapshot import Snapshot
from broker.workbench.explain.rule import Place

_DATA: Final = ("data.yaml", "data.yml", "data.json")
_MOST: Final = 1024 * 1024  # bytes of a file; what is larger was written by a program
_GRANTS: Final = ("broker", "grants")
Row = Mapping[str, Mapping[str, Any]]  # the grants of one client, by target

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DataPlaces:
    """Finds places in the data files of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def find(self, *path: str) -> Place | None:
        """Return where the value at this path of ``data`` is written; of a member, its name.

        None where it is not, or where the file cannot be read.
        """
        for file, content in self._snapshot.items():
            *folders, name = file.split("/")
            inside = path[len(folders) :]
            if name in _DATA and tuple(folders) == path[: len(folders)] and inside:
                line = _line(content, inside)
                if line is not None:
                    return Place(file, line)
        return None

    def find_grant(self, client: str, target: str, member: str | None = None) -> Place | None:
        """Return the place of a grant, or of a member of it, if that is written out."""
        path = (*_GRANTS, client, target)
        return self.find(*path) if member is None else self.find(*path, member)


def _line(content: bytes, path: Sequence[str]) -> int | None:
    node = _compose(content)
    line = None
    for name in path:
        if not isinstance(node, yaml.MappingNode):
            return None
        # The last of equal names is the one that is read.
        found = [pair for pair in node.value if getattr(pair[0], "value", None) == name]
        if not found:
            return None
        key, node = found[-1]
        line = key.start_mark.line + 1
    return line


@lru_cache(maxsize=8)
def _compose(content: bytes) -> yaml.Node | None:
    if len(content) > _MOST:
        return None
    try:
        # Without building values: an alias is the node that it stands for, and nothing expands.
        return yaml.compose(content, Loader=_LOADER)
    except (yaml.YAMLError, UnicodeDecodeError):
        return None


def find_row(grants: object, client: str) -> Row:
    """Return the grants of a client, by target; those that are no objects are none."""
    row = grants.get(client) if isinstance(grants, Mapping) else None
    found = row if isinstance(row, Mapping) else {}
    return {target: grant for target, grant in found.items() if isinstance(grant, Mapping)}
