"""How new batches are found, so that none is ever missed and no search is longer than a page.

A transaction's id is older than its commit, so "everything after the last one that was seen"
misses what commits late. A snapshot says exactly what it saw: what is new since is what ran then,
and what began later (``pg_current_snapshot``). In memory the last snapshot that was looked at in
full is known; after a restart only its oldest running transaction, the horizon, and a page more
is looked at.

In a cluster that was never looked at (the first start, or a database that was restored into
another cluster, where ids mean nothing) all batches are walked through by their primary key.

A search goes on page by page inside the one snapshot that it began with. Within a writer a batch is
begun after the one before it was committed, so in both orders batches come by their number.
"""

from dataclasses import dataclass, replace
from typing import Any, Final, Self
from uuid import UUID

Key = tuple[int, UUID, int]  # transaction (0 where it is not looked at), writer, number
_BEGINNING: Final[Key] = (0, UUID(int=0), 0)
_CHOSEN: Final = "writer, number, first_seq, last_seq, at, root, previous, hash, tx"
_VISIBLE: Final = "pg_visible_in_snapshot(tx::text::xid8, $4::text::pg_snapshot)"
_ORDER: Final = "ORDER BY tx, writer, number LIMIT $5"
_ALL: Final = f"""
SELECT {_CHOSEN} FROM audit_batch
WHERE (writer, number) > ($1, $2) ORDER BY writer, number LIMIT $3
"""  # noqa: S608 — made of constants
_NEW: Final = f"""
(SELECT {_CHOSEN} FROM audit_batch
 WHERE tx >= $6 AND tx < $7 AND (tx, writer, number) > ($1, $2, $3) AND {_VISIBLE} {_ORDER})
UNION ALL
(SELECT {_CHOSEN} FROM audit_batch
 WHERE tx = ANY($8::bigint[]) AND (tx, writer, number) > ($1, $2, $3) AND {_VISIBLE} {_ORDER})
{_ORDER}
"""  # noqa: S608 — made of constants
# Whether a batch is in the log, and the one before it of its writer: look-ups by key, one by one.
_MARKED: Final = """
SELECT b.*,
    (SELECT t.position FROM audit_tree AS t
     WHERE t.writer = b.writer AND t.number = b.number) IS NOT NULL AS sealed,
    b.number = 1 OR (SELECT t.position FROM audit_tree AS t
     WHERE t.writer = b.writer AND t.number = b.number - 1) IS NOT NULL AS follows
FROM ({}) AS b ORDER BY {}
"""
FIND_ALL: Final = _MARKED.format(_ALL, "b.writer, b.number")
FIND_NEW: Final = _MARKED.format(_NEW, "b.tx, b.writer, b.number")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a transaction sees, by the ids of others: all below ``xmax`` but those that ran."""

    xmin: int
    xmax: int
    running: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the snapshot that PostgreSQL writes as ``xmin:xmax:id,id``."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), tuple(map(int, running.split(","))) if running else ())

    @classmethod
    def before(cls, horizon: int) -> Self:
        """Return the one that saw every transaction below ``horizon`` and no other."""
        return cls(horizon, horizon, ())

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, self.running))}"


@dataclass(frozen=True, slots=True)
class Scan:
    """A search: what it leaves out, the snapshot that it is in, and how far it has come."""

    since: Snapshot | None  # what this saw was looked at; None: nothing was
    within: Snapshot
    after: Key = _BEGINNING

    def query(self, limit: int) -> tuple[str, tuple[Any, ...]]:
        """Return the query for the next page, and its arguments."""
        if self.since is None:
            return FIND_ALL, (*self.after[1:], limit)
        since, within = self.since, self.within
        arguments = (*self.after, str(within), limit, since.xmax, within.xmax, since.running)
        return FIND_NEW, arguments

    def past(self, key: Key) -> Self:
        """Return the search behind a batch."""
        return replace(self, after=key)
