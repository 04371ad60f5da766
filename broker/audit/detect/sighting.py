"""What the rules see of a row: its time, who, and how much. No plaintext of a person is in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import orjson

from broker.audit.event import VERSION
from broker.audit.members import find_member, find_text, find_texts

HOUR: Final = 3600
DAY: Final = 24 * HOUR
_KINDS: Final = frozenset({"exchange", "introspection", "revocation", "refusals", "proxy"})
_ASKS: Final = frozenset({"exchange", "proxy"})
_MOST_ASKED: Final = 64
_LONGEST: Final = 128  # characters of what is asked for


@dataclass(frozen=True, slots=True)
class Sighting:
    """A row. What nobody of ours wrote is read as far as it is what it should be."""

    id: str
    at: datetime
    seconds: int  # since 1970
    kind: str
    refused: bool
    client: str | None
    issuer: str | None
    subject: str | None  # a pseudonym
    reasons: tuple[tuple[str, int], ...] = ()  # and how often: the first one of a row counts once
    depth: int = 0
    asked: tuple[str, ...] = ()  # scopes and targets
    obligations: tuple[str, ...] = ()

    @property
    def hour(self) -> int:
        """Its hour, in UTC, since 1970."""
        return self.seconds // HOUR

    @property
    def day(self) -> int:
        """Its day, in UTC, since 1970."""
        return self.seconds // DAY

    @property
    def asks(self) -> bool:
        """Whether a token was asked for."""
        return self.kind in _ASKS


def sight(row: Mapping[str, Any]) -> Sighting | None:
    """Return what rules see of a row of ``audit_event``; None: no rule is about it."""
    if row["kind"] not in _KINDS:
        return None
    try:
        record = orjson.loads(row["record"])
    except orjson.JSONDecodeError:
        record = {}
    return Sighting(
        id=str(row["id"]),
        at=row["at"],
        seconds=int(row["at"].timestamp()),
        kind=row["kind"],
        refused=row["outcome"] == "refused",
        client=row["client"],
        issuer=row["subject_issuer"],
        # In a record of version 1 a person stands in plain. Nobody has written one since.
        subject=None if find_member(record, "version") == VERSION else row["subject"],
        reasons=_reasons(row, record),
        depth=max(_count(record, "depth"), len(row["actors"])),
        asked=_asked(record) if row["kind"] in _ASKS else (),
        obligations=_obligations(row, record),
    )


def _reasons(row: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    if row["outcome"] != "refused":
        return ()
    if row["kind"] != "refusals":
        return ((row["reason"] or "", 1),)
    counts = find_member(record, "counts")
    if not isinstance(counts, Mapping):
        return ()
    return tuple((name, n) for name, n in counts.items() if type(n) is int and 0 < n < 10**9)


def _count(record: Mapping[str, Any], name: str) -> int:
    value = find_member(record, name)
    return value if type(value) is int and 0 <= value < 10**6 else 0


def _obligations(row: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(find_texts(record, "obligations")) if row["outcome"] == "issued" else ()


def _asked(record: Mapping[str, Any]) -> tuple[str, ...]:
    scope = find_text(record, "asked", "scope") or ""
    upstream = find_text(record, "asked", "upstream")
    asked = [f"scope {one}" for one in scope.split(" ") if one]
    asked += [f"target {one}" for one in find_texts(record, "asked", "audiences")]
    asked += [f"target {one}" for one in find_texts(record, "asked", "resources")]
    asked += [f"upstream {upstream}"] if upstream else []
    return tuple(dict.fromkeys(_shorten(name) for name in asked))[:_MOST_ASKED]


def _shorten(name: str) -> str:
    # It is remembered for two weeks. Two that begin alike stay two.
    if len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}… {sha256(name.encode()).hexdigest()[:16]}"
