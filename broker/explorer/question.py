"""What is asked, as it stands in a URL that can be sent to a colleague.

A field is there once or not at all; an empty one is not there. A field that nobody knows is an
error: to leave it out would answer another question than the one that was asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl
from uuid import UUID
from zoneinfo import ZoneInfo

from broker.audit.event import canonical_json
from broker.audit.query import Filter
from broker.explorer.times import find_zone, parse_moment

ZONE: Final = "tz"
AFTER: Final = "after"
FILTERS: Final = tuple(one.name for one in fields(Filter))
CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "outcome": ("issued", "refused", "done"),
    "kind": (
        *("exchange", "introspection", "revocation", "refusals", "administration", "writer"),
        *("alert", "proxy", "hits"),
    ),
}
LONGEST: Final = 1024  # characters of a field
_MOST: Final = 64  # fields that are counted before anything else is looked at


class Unclear(Exception):  # noqa: N818 — an answer to whoever asks
    """A field cannot be understood; ``str()`` says what to write."""

    def __init__(self, field: str, said: str) -> None:
        super().__init__(said)
        self.field = field


@dataclass(frozen=True, slots=True)
class Question:
    """A search: as it was written, and as it is meant."""

    given: Mapping[str, str]  # whatever is not empty, without the place in the pages
    wanted: Filter
    zone: ZoneInfo
    after: str | None = None  # where the page before ended, as it was given out

    @property
    def context(self) -> bytes:
        """What a place in the pages is bound to: the search as it was written."""
        return canonical_json(dict(self.given))


def parse_fields(query: bytes, known: tuple[str, ...]) -> dict[str, str]:
    """Return the fields of a query string, an empty one as such. Raises ``Unclear``."""
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query),
            errors="strict",
            max_num_fields=_MOST,
        )
    except ValueError:
        raise Unclear("address", "this address is cut, or no address of these pages") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise Unclear("address", "it asks for something that these pages do not know")
        if name in found:
            raise Unclear(name, "is there twice; say it once")
        check_value(name, value)
        found[name] = value.strip()
    return found


def check_value(field: str, value: str) -> None:
    """Raise ``Unclear`` for what nothing on record can be, and no column takes."""
    # A lone surrogate: bytes of a command line that are no UTF-8.
    if len(value) > LONGEST or any(
        ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in value
    ):
        raise Unclear(field, f"write at most {LONGEST} characters, and none that controls")


def parse_question(found: Mapping[str, str], zone: ZoneInfo, now: datetime) -> Question:
    """Return what the fields ask; ``zone`` where they name none. Raises ``Unclear``."""
    given = {name: value for name, value in found.items() if value}
    after = given.pop(AFTER, None)
    if ZONE in given:
        named = find_zone(given[ZONE])
        if named is None:
            raise Unclear(ZONE, "no such time zone here; write one like Europe/Berlin, or UTC")
        zone = named
    values: dict[str, str | datetime] = {
        name: value for name, value in given.items() if name in FILTERS
    }
    for name, choices in CHOICES.items():
        if name in values and values[name] not in choices:
            raise Unclear(name, f"is one of {', '.join(choices)}")
    for name in ("since", "until"):
        if name in given:
            try:
                values[name] = parse_moment(given[name], zone, now)
            except ValueError as error:
                raise Unclear(name, str(error)) from None
    if "jti" in given:
        values["jti"] = parse_id(given["jti"])
    wanted = Filter(**values)  # type: ignore[arg-type]  # each by its name, the times as times
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise Unclear("until", "write a time after the one that it begins with")
    return Question(given, wanted, zone, after)


def parse_id(text: str) -> str:
    """Return the id of a row in its one spelling. Raises ``Unclear``."""
    try:
        return str(UUID(text))
    except ValueError:
        raise Unclear(
            "jti", "tokens issued here have UUIDs; a foreign one is looked for as parent"
        ) from None
