"""Tombstones: what stands in the trail for rows that were removed when their time was over.

A tombstone is the administration event ``audit.retain``. Its ``details`` name a day's partition,
and for every writer the rows that went with it: their ``seq`` in intervals, how many, and the RFC
6962 root over their leaves in that order. A batch that was cut at midnight has rows in two
partitions; of such a one the removed leaves stand here, so that its root can still be recomputed.

What is removed together and does not fit into one record makes several, ``part`` of ``parts`` of
one ``run``; none counts before all are there. Being rows, they are leaves of the sealed log.

What holds of a tombstone that ``parse_tombstone`` returns: the partition is one day, and was over
for as long as the rule says when the tombstone was made; intervals ascend and do not touch; the
counts are right; each cut batch has as many leaves as rows, all of them among the removed ones.
Whether it is true is for whoever has the rows, or the export that it names.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from broker.audit.encoding import decode_hash, encode_hash
from broker.audit.event import canonical_json, render_time
from broker.audit.spans import Span, Spans, count_rows, spans_of

ACTION: Final = "audit.retain"
_DAY: Final = timedelta(days=1)
_PARTITION: Final = "audit_event_p"
_MAX_NUMBER: Final = 2**63 - 1


class TombstoneRejected(Exception):  # noqa: N818 — an answer to whoever verifies
    """This says that it is a tombstone, and is none of ours; ``str()`` says why."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A batch that lost some of its rows and not all."""

    number: int
    leaves: Mapping[int, bytes]  # of the removed rows, by ``seq`` ascending


@dataclass(frozen=True, slots=True)
class Removal:
    """Rows of one writer."""

    writer: UUID
    spans: tuple[Span, ...]
    root: bytes  # over their leaves, in the order of ``seq``
    cuts: tuple[Cut, ...] = ()

    @property
    def rows(self) -> int:
        """How many there were."""
        return count_rows(self.spans)


@dataclass(frozen=True, slots=True)
class Exported:
    """The file that holds what was removed."""

    name: str
    size: int  # bytes
    sha256: str  # 64 hex digits


@dataclass(frozen=True, slots=True)
class Tombstone:
    """One record's worth of it."""

    run: UUID  # of all that were made together
    part: int  # from 1
    parts: int
    day: date  # UTC's
    older_than: timedelta
    rows: int  # of the whole partition
    removed: tuple[Removal, ...]
    exported: Exported
    note: str = ""  # who signs it: a C2SP signed note over ``tombstone_text``; empty: nobody

    @property
    def partition(self) -> str:
        """The table that was dropped."""
        return partition_of(self.day)

    def shared(self) -> tuple[Any, ...]:
        """Return what every part of a run says."""
        return self.run, self.parts, self.day, self.older_than, self.rows, self.exported


def partition_of(day: date) -> str:
    """Return the name of a day's partition."""
    return f"{_PARTITION}{day:%Y%m%d}"


def start_of(day: date) -> datetime:
    """Return when a day begins."""
    return datetime.combine(day, time(), UTC)


def end_of(day: date) -> datetime:
    """Return when a day is over."""
    return start_of(day) + _DAY


def render_tombstone(tombstone: Tombstone) -> dict[str, Any]:
    """Return the ``details`` of the event."""
    return {
        "run": str(tombstone.run),
        "part": tombstone.part,
        "parts": tombstone.parts,
        "partition": tombstone.partition,
        "since": render_time(start_of(tombstone.day)),
        "until": render_time(end_of(tombstone.day)),
        "older_than": tombstone.older_than // timedelta(seconds=1),
        "rows": tombstone.rows,
        "removed": [render_removal(one) for one in tombstone.removed],
        "export": {
            "file": tombstone.exported.name,
            "bytes": tombstone.exported.size,
            "sha256": tombstone.exported.sha256,
        },
        "note": tombstone.note,
    }


def tombstone_text(tombstone: Tombstone, origin: str) -> str:
    """Return what is signed of it, for the log ``origin``: no text of a checkpoint looks alike.

    The log seals whatever is written into the database, so its own signature does not tell who
    wrote a tombstone. This one does.
    """
    unsigned = canonical_json(render_tombstone(replace(tombstone, note="")))
    return f"{origin}\ntombstone\n{encode_hash(sha256(unsigned).digest())}\n"


def render_removal(removal: Removal) -> dict[str, Any]:
    """Return one of ``removed`` in the details."""
    return {
        "writer": str(removal.writer),
        "spans": [list(span) for span in removal.spans],
        "rows": removal.rows,
        "root": encode_hash(removal.root),
        "cuts": [
            {
                "batch": cut.number,
                "spans": [list(span) for span in spans_of(cut.leaves)],
                "leaves": [encode_hash(leaf) for leaf in cut.leaves.values()],
            }
            for cut in removal.cuts
        ],
    }


def is_tombstone(record: Mapping[str, Any]) -> bool:
    """Whether a record says that it is one."""
    return (record.get("kind"), record.get("action")) == ("administration", ACTION)


def parse_tombstone(record: Mapping[str, Any]) -> Tombstone:
    """Return the tombstone in a record of the trail. Raises ``TombstoneRejected``."""
    try:
        tombstone = _parse(record["details"])
        made = datetime.fromisoformat(record["at"])
        early = made - tombstone.older_than < end_of(tombstone.day)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        # Its text could repeat what stands in the record.
        raise TombstoneRejected("it is not in the form of a tombstone") from None
    if early:
        raise TombstoneRejected("its partition was younger than the rule it names")
    return tombstone


def tombstones_of(records: Iterable[Mapping[str, Any]]) -> Iterator[Tombstone]:
    """Yield the tombstones among records. Raises ``TombstoneRejected``."""
    for record in records:
        if is_tombstone(record):
            yield parse_tombstone(record)


def _parse(details: Mapping[str, Any]) -> Tombstone:
    day = datetime.strptime(details["partition"], f"{_PARTITION}%Y%m%d").replace(tzinfo=UTC).date()
    export = details["export"]
    tombstone = Tombstone(
        run=UUID(details["run"]),
        part=_count(details["part"]),
        parts=_count(details["parts"]),
        day=day,
        older_than=timedelta(seconds=_count(details["older_than"])),
        rows=_count(details["rows"]),
        removed=tuple(_parse_removal(one) for one in details["removed"]),
        exported=Exported(str(export["file"]), _count(export["bytes"]), str(export["sha256"])),
        note=str(details["note"]),
    )
    if not 1 <= tombstone.part <= tombstone.parts:
        raise ValueError("part")
    if sum(one.rows for one in tombstone.removed) > tombstone.rows:
        raise ValueError("rows")
    # One tombstone, one spelling: nothing in it but what was read, and that as we write it.
    if render_tombstone(tombstone) != details:
        raise ValueError("spelling")
    return tombstone


def _parse_removal(found: Mapping[str, Any]) -> Removal:
    spans = _parse_spans(found["spans"])
    cuts = tuple(_parse_cut(one) for one in found["cuts"])
    covered = Spans(spans)
    if count_rows(spans) != found["rows"] or not spans:
        raise ValueError("rows")
    if not all(covered.covers(seq, seq) for cut in cuts for seq in cut.leaves):
        raise ValueError("cuts")
    root = decode_hash(found["root"])
    return Removal(UUID(found["writer"]), spans, root, cuts)


def _parse_cut(found: Mapping[str, Any]) -> Cut:
    spans, leaves = _parse_spans(found["spans"]), found["leaves"]
    # Compared before the numbers are spelt out: an interval may be as long as it likes.
    if count_rows(spans) != len(leaves):
        raise ValueError("leaves")
    seqs = (seq for first, last in spans for seq in range(first, last + 1))
    return Cut(_count(found["batch"]), dict(zip(seqs, map(decode_hash, leaves), strict=True)))


def _parse_spans(found: Iterable[Sequence[int]]) -> tuple[Span, ...]:
    spans = []
    before = -1
    for first, last in found:
        if not before + 1 < _count(first) <= _count(last):
            raise ValueError("spans")
        spans.append((first, last))
        before = last
    return tuple(spans)


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise ValueError("not a count")
    return value
