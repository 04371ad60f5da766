"""What of a row is sent: its record as text, and beside it what receivers sort and filter by.

Nothing beside the record says who a person is; the record itself has pseudonyms unless it was
opened before. ``id`` is what tells a repetition from a second event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any, Final

import orjson

from broker.audit.event import canonical_json
from broker.audit.export.columns import OPENED, parse_record
from broker.audit.export.ocsf import build_ocsf
from broker.settings.streams import Form

_ATTRIBUTES: Final = ("kind", "outcome", "reason", "client", "action", "request_id", "txn")
_MAX_TEXT: Final = 255  # characters of an attribute


class Severity(IntEnum):
    """How much it matters, as syslog counts. RFC 5424 §6.2.1."""

    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFORMATIONAL = 6


_OF_ALERTS: Final = {
    "low": Severity.NOTICE,
    "medium": Severity.WARNING,
    "high": Severity.ERROR,
    "critical": Severity.CRITICAL,
}


@dataclass(frozen=True, slots=True)
class Message:
    """One row on its way."""

    id: str
    at: datetime
    kind: str
    severity: Severity
    attributes: Mapping[str, str]  # short, of no person; ``writer`` and ``seq`` among them
    body: bytes = field(repr=False)  # JSON in UTF-8 on one line


def build_message(row: Mapping[str, Any], form: Form, *, product_version: str) -> Message:
    """Return the message of a row; one whose record nobody of ours wrote is sent as text."""
    attributes = {"id": str(row["id"]), "writer": str(row["writer"]), "seq": str(row["seq"])}
    attributes |= {
        name: str(row[name])[:_MAX_TEXT] for name in _ATTRIBUTES if row[name] is not None
    }
    try:
        record = parse_record(row)
        body = _render(row, record, form, product_version)
    except (ValueError, TypeError, KeyError, AttributeError):
        record = {}
        text = {name: attributes[name] for name in ("id", "writer", "seq")}
        body = canonical_json({**text, "unreadable": row["record"]})
    return Message(
        attributes["id"], row["at"], row["kind"], _severity(row, record), attributes, body
    )


def _render(
    row: Mapping[str, Any], record: Mapping[str, Any], form: Form, product_version: str
) -> bytes:
    opened = row.get(OPENED)
    if form == "ocsf":
        return canonical_json(build_ocsf(opened or record, product_version=product_version))
    if opened is not None:
        return canonical_json(opened)
    raw: bytes = row["record"].encode()
    # As it was hashed, byte for byte. What somebody broke over several lines was not.
    return raw if b"\n" not in raw and b"\r" not in raw else orjson.dumps(record)


def _severity(row: Mapping[str, Any], record: Mapping[str, Any]) -> Severity:
    if row["kind"] == "alert":
        return _OF_ALERTS.get(str(record.get("severity")), Severity.WARNING)
    return Severity.NOTICE if row["outcome"] == "refused" else Severity.INFORMATIONAL


def portions(messages: Sequence[Message], most: int) -> list[Sequence[Message]]:
    """Return the messages in their order, cut so that no portion has more than ``most`` bytes.

    One that is longer by itself is a portion by itself.
    """
    cut: list[Sequence[Message]] = []
    start = size = 0
    for index, message in enumerate(messages):
        if index > start and size + len(message.body) > most:
            cut.append(messages[start:index])
            start, size = index, 0
        size += len(message.body)
    if start < len(messages):
        cut.append(messages[start:])
    return cut
