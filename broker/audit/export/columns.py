"""The columns of ``audit_event`` as table formats have them: names, kinds and plain values."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import orjson

from broker.audit.event import canonical_json
from broker.audit.members import find_list, find_text
from broker.audit.reader import UNREADABLE


class Kind(StrEnum):
    """What stands in a column."""

    TEXT = "text"
    TEXTS = "texts"
    NUMBER = "number"
    TIME = "time"
    DIGEST = "digest"  # 32 bytes


COLUMNS: Final[Mapping[str, Kind]] = {
    "at": Kind.TIME,
    "id": Kind.TEXT,
    "kind": Kind.TEXT,
    "outcome": Kind.TEXT,
    "reason": Kind.TEXT,
    "request_id": Kind.TEXT,
    "client": Kind.TEXT,
    "subject_issuer": Kind.TEXT,
    "subject": Kind.TEXT,
    "actor_issuers": Kind.TEXTS,
    "actors": Kind.TEXTS,
    "targets": Kind.TEXTS,
    "scopes": Kind.TEXTS,
    "txn": Kind.TEXT,
    "parent": Kind.TEXT,
    "kid": Kind.TEXT,
    "policy_revision": Kind.TEXT,
    "action": Kind.TEXT,
    "writer": Kind.TEXT,
    "seq": Kind.NUMBER,
    "leaf": Kind.DIGEST,
    "record": Kind.TEXT,
}
# What is added where whoever exports holds the audit key. The record itself stays as it was
# hashed, so that its leaf still fits.
PERSONAL: Final = "personal"
_PARTY: Final = ("issuer", "subject")
# What may be beside the columns of a row: its record in plain, and where it stands in the log.
OPENED: Final = "opened"
PLACE: Final = "place"


def plain_columns(row: Mapping[str, Any], opened: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with what ``opened``, its record in plain, says of persons.

    A record that was erased keeps its pseudonyms, and ``personal`` says so. One that nobody of
    ours wrote says what it can.
    """
    plain = dict(row)
    plain[PERSONAL] = _render(opened.get("personal") or {})
    issuer, subject = (find_text(opened, "personal", "subject", one) for one in _PARTY)
    if issuer is not None and subject is not None:
        plain |= {"subject_issuer": issuer, "subject": subject}
    if actors := find_list(opened, "personal", "actors"):
        plain["actor_issuers"] = [find_text(actor, "issuer") or "" for actor in actors]
        plain["actors"] = [find_text(actor, "subject") or "" for actor in actors]
    return plain


def _render(personal: Any) -> str:  # noqa: ANN401 — stands for any JSON value
    try:
        return canonical_json(personal).decode()
    except TypeError:  # nested beyond anything of ours
        return canonical_json(UNREADABLE).decode()


def parse_record(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a row. Raises ``ValueError`` for what was never one of ours."""
    record = orjson.loads(row["record"])
    if not isinstance(record, dict):
        raise ValueError("no record")  # noqa: TRY004 — as any other text that is none
    return record
