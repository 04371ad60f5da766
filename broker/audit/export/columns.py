"""The columns of ``audit_event`` as table formats have them: names, kinds and plain values."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import orjson

from broker.audit.event import canonical_json


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
# What may be beside the columns of a row: its record in plain, and where it stands in the log.
OPENED: Final = "opened"
PLACE: Final = "place"


def plain_columns(row: Mapping[str, Any], opened: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with what ``opened``, its record in plain, says of persons.

    A record that was erased keeps its pseudonyms, and ``personal`` says so.
    """
    personal = opened.get("personal") or {}
    subject = personal.get("subject") or {}
    plain = dict(row)
    plain[PERSONAL] = canonical_json(personal).decode()
    if "subject" in subject:
        plain |= {"subject_issuer": subject["issuer"], "subject": subject["subject"]}
    if actors := personal.get("actors"):
        plain["actor_issuers"] = [actor["issuer"] for actor in actors]
        plain["actors"] = [actor["subject"] for actor in actors]
    return plain


def parse_record(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a row. Raises ``ValueError`` for what was never one of ours."""
    record = orjson.loads(row["record"])
    if not isinstance(record, dict):
        raise ValueError("no record")  # noqa: TRY004 — as any other text that is none
    return record
