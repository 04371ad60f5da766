"""How signing keys look: their state, since when, and what happens to them next."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from rich import box
from rich.table import Table
from rich.text import Text

from broker.cli.console import build_console
from broker.keys.rotation import KeyRecord, KeyState, Schedule

_STYLES: Final = {
    KeyState.PREPARED: "link",
    KeyState.ACTIVE: "good",
    KeyState.RETIRING: "warning",
    KeyState.RETIRED: "quiet",
}
_NEXT: Final = {
    KeyState.PREPARED: "may sign",
    KeyState.ACTIVE: "rotates",
    KeyState.RETIRING: "retires",
}


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A key as it is listed. The key itself is not in it."""

    record: KeyRecord
    since: datetime
    age: timedelta
    next_at: datetime | None  # None: nothing more happens to it
    now: datetime


def describe_key(record: KeyRecord, schedule: Schedule, now: datetime) -> KeyLine:
    """Return what there is to say of a key; ``now`` is the database's."""
    entered = {
        KeyState.PREPARED: (record.created_at, schedule.publish_before),
        KeyState.ACTIVE: (record.activated_at, schedule.rotate_every),
        KeyState.RETIRING: (record.retiring_at, schedule.publish_after),
        KeyState.RETIRED: (record.retired_at, None),
    }
    at, stays = entered[record.state]
    since = at or record.created_at
    next_at = None if stays is None else since + stays
    return KeyLine(record, since, now - since, next_at, now)


def print_keys(keys: list[KeyLine]) -> None:
    """Print the keys as a table, algorithm by algorithm."""
    console = build_console()
    if not keys:
        console.print(Text("There are no keys yet: a broker makes them when it starts.", "quiet"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("algorithm", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("since (UTC)", no_wrap=True)
    table.add_column("next", no_wrap=True)
    # Whole, because one searches for it; what a narrow screen lacks goes to the next line.
    table.add_column("kid", overflow="fold")
    for key in keys:
        table.add_row(
            key.record.algorithm,
            Text(key.record.state.value, _STYLES[key.record.state]),
            f"{key.since:%Y-%m-%d %H:%M}, {_length(key.age)}",
            _next(key),
            Text(key.record.kid, "quiet"),
        )
    console.print(table)


def print_keys_json(keys: list[KeyLine]) -> None:
    """Print the keys as one JSON array."""
    documents = [_document(key) for key in keys]
    print(orjson.dumps(documents, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode())


def print_keys_jsonl(keys: list[KeyLine]) -> None:
    """Print each key as a line of JSON."""
    for key in keys:
        print(orjson.dumps(_document(key), option=orjson.OPT_UTC_Z).decode())


def _document(key: KeyLine) -> dict[str, Any]:
    record = key.record
    return {
        "kid": record.kid,
        "algorithm": record.algorithm,
        "state": record.state.value,
        "generation": record.generation,
        "created_at": record.created_at,
        "activated_at": record.activated_at,
        "retiring_at": record.retiring_at,
        "retired_at": record.retired_at,
        "age_seconds": int(key.age.total_seconds()),
        "next_at": key.next_at,
    }


def _next(key: KeyLine) -> str:
    if key.next_at is None:
        return ""
    what = _NEXT[key.record.state]
    wait = key.next_at - key.now
    return f"{what} now" if wait <= timedelta(0) else f"{what} in {_length(wait)}"


def _length(length: timedelta) -> str:
    if length < timedelta(minutes=1):
        return f"{length // timedelta(seconds=1)} s"
    if length < timedelta(hours=2):
        return f"{length // timedelta(minutes=1)} min"
    return f"{length // timedelta(hours=1)} h" if length < timedelta(days=2) else f"{length.days} d"
