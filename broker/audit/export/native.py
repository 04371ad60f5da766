"""The native export: JSON lines that are verified without the database they came from.

    header    {"format":"broker-audit-export","version":1,"origin":…,"checkpoint":…,…}
    tombstone {"tombstone":{…}}                         of rows that are missing in what follows
    batch     {"batch":{…},"position":…,"path":[…],"rows":n}
    row       {"seq":…,"record":{…}}                    n of them follow their batch
    …
    footer    {"batches":…,"rows":…,"sha256":…}         of every byte before this line

The record of a row stands in its line byte for byte as it was hashed, between ``"record":`` and the
last brace. What somebody put into the database that is no record on one line is a JSON string
instead, in the member ``text``, so that evidence of tampering can be exported too.

``path`` leads from the batch's statement to the root in the checkpoint. The footer is no proof, for
anybody can make one: it shows an export that was cut short or damaged on its way.

``read_native`` judges the form alone. Whether records hash to roots, batches to the tree and the
checkpoint to a key is for whoever verifies.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, BinaryIO, Final, TypeVar
from uuid import UUID

import orjson

from broker.audit.batch import Batch
from broker.audit.encoding import decode_hash, encode_hash
from broker.audit.event import render_time

FORMAT: Final = "broker-audit-export"
VERSION: Final = 1
MAX_LINE: Final = 4 * 1024 * 1024  # bytes; a record is far shorter
_MAX_PATH: Final = 64  # hashes: of a tree that no number of 64 bits counts
_MAX_NUMBER: Final = 2**63 - 1
_ROW: Final = b'{"seq":'
_RECORD: Final = b',"record":'
_TOMBSTONE: Final = b'{"tombstone":'
_DIGITS: Final = 19  # of the largest number there is
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class ExportRejected(Exception):  # noqa: N818 — an answer to whoever asks
    """This is no whole export; ``str()`` says why, and in which line."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}")
        self.line = line


class ExportCutShort(ExportRejected):
    """The export ends before its last line, or that line speaks of more than there is."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line: whose log this is a part of, and under which signed head it stands."""

    origin: str
    since: datetime | None  # the window that was asked for; None: open on that side
    until: datetime | None
    at: datetime  # when it was exported
    checkpoint: str  # a signed note, unverified


@dataclass(frozen=True, slots=True)
class ExportedBatch:
    """A batch, where it stands in the tree, and how it hangs on the root of the checkpoint."""

    batch: Batch
    position: int  # from 0
    path: tuple[bytes, ...]  # from the leaf's sibling up
    rows: int  # lines of rows that follow: fewer than the batch had if some were removed


@dataclass(frozen=True, slots=True)
class ExportedRow:
    """A row of the batch before it."""

    seq: int
    record: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ExportedTombstone:
    """The record of a tombstone, before the first batch that it explains. It is signed itself."""

    record: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Footer:
    """The last line: what was before it. ``read_native`` has compared."""

    batches: int
    rows: int
    sha256: bytes


_Parsed = TypeVar("_Parsed")
Line = Header | ExportedTombstone | ExportedBatch | ExportedRow | Footer


class NativeWriter:
    """Renders an export line by line, in the order of the format, and counts what it rendered."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._hash = sha256()
        self.batches = 0
        self.rows = 0

    def header(self, header: Header) -> None:
        """Write the first line."""
        self._line(
            orjson.dumps(
                {
                    "format": FORMAT,
                    "version": VERSION,
                    "origin": header.origin,
                    "since": header.since and render_time(header.since),
                    "until": header.until and render_time(header.until),
                    "at": render_time(header.at),
                    "checkpoint": header.checkpoint,
                }
            )
        )

    def tombstone(self, tombstone: ExportedTombstone) -> None:
        """Write the line of a tombstone, between batches."""
        self._line(b"%b%b}" % (_TOMBSTONE, tombstone.record))

    def batch(self, exported: ExportedBatch) -> None:
        """Write the line of a batch; ``exported.rows`` rows are to follow."""
        batch = exported.batch
        members = {
            "writer": str(batch.writer),
            "number": batch.number,
            "first_seq": batch.first_seq,
            "last_seq": batch.last_seq,
            "at": render_time(batch.at),
            "root": encode_hash(batch.root),
            "previous": encode_hash(batch.previous),
            "hash": encode_hash(batch.hash),
        }
        self.batches += 1
        self._line(
            orjson.dumps(
                {
                    "batch": members,
                    "position": exported.position,
                    "path": [encode_hash(one) for one in exported.path],
                    "rows": exported.rows,
                }
            )
        )

    def row(self, row: ExportedRow) -> None:
        """Write the line of a row."""
        self.rows += 1
        start = b"%b%d" % (_ROW, row.seq)
        if _is_record(row.record):
            self._line(b"%b%b%b}" % (start, _RECORD, row.record))
        else:
            self._line(b'%b,"text":%b}' % (start, orjson.dumps(row.record.decode())))

    def footer(self) -> Footer:
        """Write the last line, and return it."""
        footer = Footer(self.batches, self.rows, self._hash.digest())
        document = {
            "batches": footer.batches,
            "rows": footer.rows,
            "sha256": footer.sha256.hex(),
        }
        self._write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
        return footer

    def _line(self, line: bytes) -> None:
        line += b"\n"
        self._hash.update(line)
        self._write(line)


def read_native(file: BinaryIO) -> Iterator[Line]:
    """Yield the lines of an export in their order, the footer last; holds one at a time.

    Raises ``ExportCutShort``, ``ExportRejected``, or what reading ``file`` raises.
    """
    return _Reader(file).lines()


class _Reader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = sha256()
        self._number = 0
        self._line = b""  # the current one, of which the hash is still without

    def lines(self) -> Iterator[Line]:
        yield self._parsed(self._next(), _parse_header)
        batches = rows = 0
        while True:
            found = self._parsed(self._next(), _parse_between_rows)
            yield found
            if isinstance(found, Footer):
                break
            if isinstance(found, ExportedTombstone):
                continue
            batches += 1
            for _ in range(found.rows):
                yield self._parsed(self._next(), _parse_row)
                rows += 1
        if (found.batches, found.rows) != (batches, rows):
            raise ExportCutShort(
                self._number,
                f"it speaks of {found.batches} batches and {found.rows} rows;"
                f" there are {batches} and {rows}",
            )
        if found.sha256 != self._hash.digest():
            raise ExportRejected(self._number, "it has another hash than the lines before it")
        if self._file.read(1):
            raise ExportRejected(self._number + 1, "something follows the last line")

    def _next(self) -> bytes:
        self._hash.update(self._line)
        self._number += 1
        self._line = line = self._file.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            if len(line) == MAX_LINE:
                raise ExportRejected(self._number, "it is too long to be one of an export")
            raise ExportCutShort(self._number, "the export ends here, before its last line")
        return line[:-1]

    def _parsed(self, line: bytes, parse: Callable[[bytes], _Parsed]) -> _Parsed:
        try:
            return parse(line)
        except _Malformed as problem:
            raise ExportRejected(self._number, str(problem)) from None
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            # Its text could repeat what stands in the line.
            raise ExportRejected(self._number, "it is no line of an export") from None


class _Malformed(Exception):  # noqa: N818 — becomes ``ExportRejected``
    pass


def _parse_header(line: bytes) -> Header:
    found = orjson.loads(line)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise _Malformed("this is no export of `--format native`")
    if found.get("version") != VERSION:
        raise _Malformed("this export has a format that this version does not know")
    origin, checkpoint = found["origin"], found["checkpoint"]
    if not isinstance(origin, str) or not isinstance(checkpoint, str):
        raise TypeError
    since, until = (found[name] and _moment(found[name]) for name in ("since", "until"))
    return Header(origin, since, until, _moment(found["at"]), checkpoint)


def _parse_between_rows(line: bytes) -> ExportedTombstone | ExportedBatch | Footer:
    if line.startswith(_ROW):
        raise _Malformed("there are more rows than their batch speaks of")
    found = orjson.loads(line)
    if line.startswith(_TOMBSTONE) and line.endswith(b"}}"):
        return ExportedTombstone(line[len(_TOMBSTONE) : -1])
    if "sha256" in found:
        if not _DIGEST.fullmatch(found["sha256"]):
            raise ValueError
        digest = bytes.fromhex(found["sha256"])
        return Footer(_count(found, "batches"), _count(found, "rows"), digest)
    members, path = found["batch"], found["path"]
    if len(path) > _MAX_PATH:
        raise ValueError
    batch = Batch(
        writer=UUID(members["writer"]),
        number=_count(members, "number"),
        first_seq=_count(members, "first_seq"),
        last_seq=_count(members, "last_seq"),
        at=_moment(members["at"]),
        root=decode_hash(members["root"]),
        previous=decode_hash(members["previous"]),
        hash=decode_hash(members["hash"]),
    )
    hashes = tuple(decode_hash(one) for one in path)
    return ExportedBatch(batch, _count(found, "position"), hashes, _count(found, "rows"))


def _parse_row(line: bytes) -> ExportedRow:
    # The record is cut out and not parsed: what is hashed is what stands there.
    end = line.find(_RECORD, len(_ROW), len(_ROW) + _DIGITS + len(_RECORD))
    digits = line[len(_ROW) : end]
    if end > 0 and line.startswith(_ROW) and line.endswith(b"}}"):
        if not digits.isdigit() or digits.startswith(b"0"):
            raise ValueError
        return ExportedRow(int(digits), line[end + len(_RECORD) : -1])
    if not line.startswith(_ROW):
        raise _Malformed("a row is missing: the batch before speaks of more")
    found = orjson.loads(line)
    if not isinstance(found["text"], str):
        raise TypeError
    return ExportedRow(_count(found, "seq"), found["text"].encode())


def _count(members: Mapping[str, Any], name: str) -> int:
    value = members[name]
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise ValueError
    return value


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or render_time(moment) != text:
        raise ValueError
    return moment


def _is_record(record: bytes) -> bool:
    """Whether this is one JSON object on one line, so that its line of the export is JSON too."""
    if not (record.startswith(b"{") and record.endswith(b"}")) or b"\n" in record:
        return False
    try:
        orjson.loads(record)
    except ValueError:
        return False
    return True
