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
    table.add_column("key", no_wrap=True)  # whole, because one searches for it
    table.add_column("state", no_wrap=True)
    table.add_column("next (UTC)", no_wrap=True)
    for key in keys:
        state = key.record.state
        table.add_row(
            Text.assemble(key.record.kid, (f"\n{key.record.algorithm}", "quiet")),
            Text.assemble((state.value, _STYLES[state]), (f"\nfor {_length(key.age)}", "quiet")),
            _next(key),
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


def _next(key: KeyLine) -> Text:
    if key.next_at is None:
        return Text("")
    what = _NEXT[key.record.state]
    wait = key.next_at - key.now
    when = "now" if wait <= timedelta(0) else f"in {_length(wait)}"
    return Text.assemble(f"{what} {when}", (f"\n{key.next_at:%Y-%m-%d %H:%M}", "quiet"))


def _length(length: timedelta) -> str:
    if length < timedelta(minutes=1):
        return f"{length // timedelta(seconds=1)} s"
    if length < timedelta(hours=2):
        return f"{length // timedelta(minutes=1)} min"
    return f"{length // timedelta(hours=1)} h" if length < timedelta(days=2) else f"{length.days} d"
