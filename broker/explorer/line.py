"""A row as pages show it: its columns with names in plain, as far as they can be opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from broker.audit.export.columns import plain_columns
from broker.audit.reader import read_record
from broker.audit.vault import PSEUDONYM
from broker.explorer.text import bounded

# What keeps a record from being opened, as ``broker.audit.reader`` says it.
_SHORT: Final = 160  # characters of a name
_MANY: Final = 24  # names of a row
CLOSED: Final = ("sealed", "erased", "unreadable")


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody, by a name or by a pseudonym."""

    issuer: str
    name: str

    @property
    def is_pseudonym(self) -> bool:
        """Whether it is what stands for a name."""
        return self.name.startswith(PSEUDONYM)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a list."""

    id: str
    at: datetime
    kind: str
    outcome: str
    what: str  # reason, action or kind
    client: str | None
    subject: Party | None
    actors: Sequence[Party]  # the one that acts now first
    targets: Sequence[str]
    scopes: Sequence[str]
    txn: str | None
    parent: str | None
    closed: str | None  # one of ``CLOSED``; None: names are names


def build_line(row: Mapping[str, Any], opened: Mapping[str, Any]) -> Line:
    """Return what a list shows of a row, ``opened`` being its record in plain."""
    plain = plain_columns(row, opened)
    subject = plain["subject"]
    return Line(
        id=str(row["id"]),
        at=row["at"],
        kind=_short(row["kind"]),
        outcome=_short(row["outcome"]),
        what=_short(row["reason"] or row["action"] or row["kind"]),
        client=None if row["client"] is None else _short(row["client"]),
        subject=None if subject is None else _party(plain["subject_issuer"], subject),
        actors=[
            _party(issuer, name)
            for issuer, name in zip(plain["actor_issuers"], plain["actors"], strict=False)
        ][:_MANY],
        targets=_few(row["targets"]),
        scopes=_few(row["scopes"]),
        txn=row["txn"],
        parent=row["parent"],
        closed=closed_of(opened),
    )


def _party(issuer: str | None, name: str) -> Party:
    return Party(_short(issuer or ""), _short(name))


def _few(values: Sequence[str]) -> Sequence[str]:
    left = len(values) - _MANY
    shown = [_short(value) for value in values[:_MANY]]
    return [*shown, f"and {left} more"] if left > 0 else shown


def _short(text: str) -> str:
    return bounded(text, _SHORT)


def closed_of(opened: Mapping[str, Any]) -> str | None:
    """Return what keeps a record from being read; None: nothing does."""
    personal = opened.get("personal")
    if not isinstance(personal, Mapping):
        return None
    return next((name for name in CLOSED if personal.get(name) is True), None)


def record_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a row; of one that nobody of ours wrote, that it cannot be read."""
    return read_record(row["record"])
