"""A transaction as a tree: what was exchanged for what, by whom, and what was refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from broker.audit.members import find_text, find_texts
from broker.audit.outcome import REUSE
from broker.audit.query import Filter, find_rows
from broker.audit.reader import RecordReader, read_record

_MOST: Final = 1000  # rows of one transaction that are read


@dataclass(slots=True)
class Step:
    """One row, and what was made of the token that it issued."""

    row: Mapping[str, Any]
    record: Mapping[str, Any]  # in plain, as far as it can be opened
    steps: list["Step"] = field(default_factory=list)  # oldest first

    @property
    def again(self) -> str | None:
        """The ``jti`` of the token that was given out again; None: it is a new one, or none."""
        return find_text(self.record, "jti") if self.row.get("action") == REUSE else None

    @property
    def held(self) -> tuple[str, ...]:
        """The scopes of the token that was presented, as policy was told; nothing if unknown."""
        return find_texts(self.record, "personal", "policy_input", "subject", "scopes")

    @property
    def dropped(self) -> tuple[str, ...]:
        """Those of them that the issued token has not."""
        if self.row["outcome"] != "issued":
            return ()
        return tuple(scope for scope in self.held if scope not in self.row["scopes"])


@dataclass(frozen=True, slots=True)
class Transaction:
    """All rows of one ``txn``, from the tokens that it began with."""

    txn: str | None  # None: of a refusal before anything was known
    steps: tuple[Step, ...]  # whose token came from elsewhere, oldest first
    more: bool  # there are rows beyond those that were read


async def find_transaction(reader: RecordReader, id: str) -> Transaction | None:  # noqa: A002 — the column's name
    """Return the transaction that a row belongs to; None: there is no such row.

    Raises ``CannotRead``.
    """
    named = [row async for row in find_rows(reader.database, Filter(jti=id), limit=1)]
    if not named:
        return None
    txn = named[0]["txn"]
    rows = named
    if txn is not None:
        rows = await _find_rows(reader, txn)
    shown = sorted(rows[:_MOST], key=lambda row: (row["at"], row["seq"]))
    records = await reader.open_all([read_record(row["record"]) for row in shown])
    return Transaction(txn, build_steps(shown, records), more=len(rows) > _MOST)


async def _find_rows(reader: RecordReader, txn: str) -> list[dict[str, Any]]:
    """Return at most one row more than are shown: first those that made the tree."""
    rows: list[dict[str, Any]] = []
    # A token may be given out again thousands of times, and none of these has anything below it.
    for reused in (False, True):
        left = _MOST + 1 - len(rows)
        found = find_rows(reader.database, Filter(txn=txn), limit=left, reused=reused)
        rows += [row async for row in found]
    return rows


def build_steps(
    rows: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]
) -> tuple[Step, ...]:
    """Return the roots; ``rows`` oldest first. A row stands once, also of a token given twice."""
    steps = {str(row["id"]): Step(row, record) for row, record in zip(rows, records, strict=True)}
    roots: list[Step] = []
    for step in steps.values():
        # What tells that a token was given out again stands below the row of that token.
        parent = steps.get(step.again or "") or steps.get(str(step.row["parent"]))
        # A row that names itself, or one that is younger, is none of ours; it is still shown.
        older = parent is not None and parent.row["at"] <= step.row["at"] and parent is not step
        (parent.steps if parent is not None and older else roots).append(step)
    return tuple(roots)
