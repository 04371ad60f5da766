"""Members of a record as far as they are what they should be.

A record is shown also where nobody of ours wrote it: whatever is missing, or of another kind than
the format says, is not there.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

_LARGEST: Final = 10**12
_LATEST: Final = 253_402_300_799  # the last second of the year 9999


def find_member(record: Mapping[str, Any], *path: str) -> Any:  # noqa: ANN401 — stands for any JSON value
    """Return the value below these names; None if there is none."""
    value: Any = record
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def find_text(record: Mapping[str, Any], *path: str) -> str | None:
    """Return a text; None if it is none, or empty."""
    value = find_member(record, *path)
    return value if isinstance(value, str) and value else None


def find_number(record: Mapping[str, Any], *path: str) -> int | None:
    """Return a whole number of bearable size that is not negative."""
    value = find_member(record, *path)
    return value if type(value) is int and 0 <= value <= _LARGEST else None


def find_list(record: Mapping[str, Any], *path: str) -> Sequence[Any]:
    """Return a list, or an empty one."""
    value = find_member(record, *path)
    return value if isinstance(value, list) else ()


def find_texts(record: Mapping[str, Any], *path: str) -> tuple[str, ...]:
    """Return the texts of a list."""
    return tuple(one for one in find_list(record, *path) if isinstance(one, str))


def find_time(record: Mapping[str, Any], *path: str) -> datetime | None:
    """Return a time, whether it stands as text or in seconds since 1970."""
    value = find_member(record, *path)
    if type(value) is int and 0 <= value <= _LATEST:
        return datetime.fromtimestamp(value, UTC)
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo else None
