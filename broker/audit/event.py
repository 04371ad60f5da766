"""What is recorded of an event: canonical JSON, its hash, and the columns extracted from it.

The record is the evidence; the columns only find it. ``build_event`` makes both from one value,
and ``extracts_of`` is what ``broker audit verify`` compares them with.

**Canonical**: UTF-8, members sorted, no white space, and every control or formatting character
that a terminal or a line-wise log could act on is escaped. One event, one spelling.

**Made to be erased**: whatever identifies a natural person stands in the member ``personal`` and
nowhere else: subject, source address, the policy input with the subject's claims, the decision
(a faulty policy may quote its input), who administers, and the whole chain of actors, since an
actor may be a person and nothing in a token says so. The acting client is no person; it stands
outside as ``client``. What a broker writes has ``personal`` encrypted, and pseudonyms outside of it
(version 2, ``broker.audit.vault``); destroying a key leaves every hash valid.

**No secrets**: a token appears as its SHA-256, also where somebody put one into a wrong parameter.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

import orjson

from broker.audit.merkle import leaf_hash
from broker.audit.vault import PersonKey, Vault

VERSION: Final = 1  # of the format of a record in plain

# The columns of ``audit_event`` that are extracts of the record, in the order of ``extracts_of``.
COLUMNS: Final = (
    *("at", "id", "kind", "outcome", "reason", "request_id", "client", "subject_issuer"),
    *("subject", "actor_issuers", "actors", "targets", "scopes", "txn", "parent", "kid"),
    *("policy_revision", "action"),
)

# DEL, C1, the line and paragraph separators, what changes the direction of text, and the byte
# order mark. orjson itself escapes what is below U+0020.
_UNSAFE: Final = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]{8,}")  # how a compact JWS begins: ``{"`` in base64url
_MAX_TEXT: Final = 1024  # characters of a parameter
_MAX_ITEMS: Final = 32  # values of a repeated parameter
_MAX_DOCUMENT: Final = 128 * 1024  # bytes of a policy's input, or of its answer


@dataclass(frozen=True, slots=True)
class Event:
    """One row of ``audit_event`` before it has a place in its writer's sequence."""

    id: str
    record: bytes = field(repr=False)  # canonical JSON in UTF-8
    leaf: bytes
    columns: tuple[Any, ...] = field(repr=False)
    keys: tuple[PersonKey, ...] = field(default=(), repr=False)  # to be stored with it


def build_event(record: Mapping[str, Any], vault: Vault | None = None) -> Event:
    """Return the event of a record, which has at least ``id``, ``at``, ``kind`` and ``outcome``.

    ``vault`` seals what is personal; None leaves it in plain, for what is not to be stored.
    """
    keys: tuple[PersonKey, ...] = ()
    if vault is not None:
        record, keys = vault.seal(record)
    raw = canonical_json(record)
    return Event(record["id"], raw, leaf_hash(raw), columns_of(record), keys)


def canonical_json(value: object) -> bytes:
    """Return the one spelling of ``value``; raises ``TypeError`` for what is not JSON."""
    raw = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if raw.isascii() and b"\x7f" not in raw:
        return raw
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", raw.decode()).encode()


def columns_of(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the extracts of a record, in the order of ``COLUMNS``."""
    at, *others = extracts_of(record)
    return (datetime.fromisoformat(at), *others)


def extracts_of(record: Mapping[str, Any]) -> list[Any]:
    """Return the same as JSON has it: the time is text, as the record spells it."""
    find = record.get
    # Of version 1 they stand in ``personal``; later it is sealed, and they are pseudonyms.
    open_to_all = (find("personal") or {}) if record.get("version") == VERSION else record
    subject = open_to_all.get("subject") or {}
    actors = open_to_all.get("actors") or ()
    reasons = find("reasons")
    return [
        record["at"],
        record["id"],
        record["kind"],
        record["outcome"],
        reasons[0] if reasons else None,
        find("request_id"),
        (find("client") or {}).get("id"),
        subject.get("issuer"),
        subject.get("subject"),
        [actor["issuer"] for actor in actors],
        [actor["subject"] for actor in actors],
        find("targets") or [],
        find("scopes") or [],
        find("txn"),
        find("parent"),
        find("kid"),
        (find("policy") or {}).get("revision"),
        find("action"),
    ]


# Several members of a record have one time, and neighbouring records have some in common.
@lru_cache(maxsize=256)
def render_time(at: datetime) -> str:
    """Return a time as records have it: UTC, microseconds, always of one length."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    # A fifth of the time that ``isoformat`` takes, five times an exchange; it leaves out zeros.
    text = orjson.dumps(at, option=orjson.OPT_UTC_Z).decode()
    return text[1:-1] if at.microsecond else f"{text[1:-2]}.000000Z"


def render_text(text: str) -> str:
    """Return a caller's text, bounded, and as its SHA-256 if it looks like a token."""
    if "eyJ" in text and _TOKEN.search(text):
        return f"sha256:{sha256(text.encode()).hexdigest()}"
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"


def render_texts(texts: Iterable[str]) -> list[str]:
    """Return a caller's texts, each and all of them bounded."""
    rendered = [render_text(text) for text in texts]
    left_out = len(rendered) - _MAX_ITEMS
    return [*rendered[:_MAX_ITEMS], f"… and {left_out} more"] if left_out > 0 else rendered


def bounded_json(raw: bytes) -> Any:  # noqa: ANN401 — stands for any JSON value
    """Return a policy input for a record, byte for byte: what it replays from was decided on.

    It is JSON, and orjson's own, so no member repeats and every number survives.
    """
    if len(raw) <= _MAX_DOCUMENT:
        return orjson.Fragment(raw)
    return {"omitted": f"sha256:{sha256(raw).hexdigest()}"}


def bounded_document(value: object) -> Any:  # noqa: ANN401 — stands for any JSON value
    """Return a policy's answer for a record, if it is JSON and of bearable size."""
    # What a policy may answer by mistake is not bounded, and a row cannot be deleted.
    try:
        return bounded_json(orjson.dumps(value))
    except TypeError:
        return {"omitted": "not JSON"}
