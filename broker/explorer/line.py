"""A row as pages show it: its columns with names in plain, as far as they can be opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from broker.audit.export.columns import parse_record, plain_columns
from broker.audit.query import CannotRead
from broker.audit.vault import PSEUDONYM

# What keeps a record from being opened, as ``broker.audit.reader`` says it.
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
        kind=row["kind"],
        outcome=row["outcome"],
        what=row["reason"] or row["action"] or row["kind"],
        client=row["client"],
        subject=None if subject is None else Party(plain["subject_issuer"] or "", subject),
        actors=[
            Party(issuer, name)
            for issuer, name in zip(plain["actor_issuers"], plain["actors"], strict=False)
        ],
        targets=row["targets"],
        scopes=row["scopes"],
        txn=row["txn"],
        parent=row["parent"],
        closed=closed_of(opened),
    )


def closed_of(opened: Mapping[str, Any]) -> str | None:
    """Return what keeps a record from being read; None: nothing does."""
    personal = opened.get("personal")
    if not isinstance(personal, Mapping):
        return None
    return next((name for name in CLOSED if personal.get(name) is True), None)


def record_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a row. Raises ``CannotRead`` for one that nobody of ours wrote."""
    try:
        return parse_record(row)
    except ValueError:
        raise CannotRead(
            f"row {row['id']} has a record that nobody wrote: run `broker audit verify`"
        ) from None
