"""What was asked and decided in a stretch of time, opened, by the lot: from the trail, or a file.

Rows come the newest first from the trail, and as they stand from a file. Nothing of them is held
longer than a lot, and nothing is left out because it cannot be opened: it says so itself.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from broker.audit.event import render_time
from broker.audit.export.native import FORMAT, MAX_LINE, ExportedRow, ExportRejected, read_native
from broker.audit.proof_source import read_snapshot
from broker.audit.query import CannotRead
from broker.audit.reader import SEALED, RecordReader, read_record
from broker.audit.verify.ahead import Ahead, OneAtATime
from broker.db.engine import Database

KINDS: Final = ("exchange", "refusals", "proxy")
LOT: Final = 500  # records
_CHANCES: Final = 0x10000  # as many as two bytes can tell apart
# An id is random at its end, also where it begins with a time (RFC 9562 §5.7).
_CHANCE: Final = "get_byte(uuid_send(id), 14) * 256 + get_byte(uuid_send(id), 15)"
_ORDER: Final = "ORDER BY at DESC, writer, seq DESC"

Lots = AsyncGenerator[list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which rows: whatever is not None must be as it says."""

    since: datetime | None = None  # included
    until: datetime | None = None  # not included
    client: str | None = None
    target: str | None = None
    limit: int | None = None  # rows at most
    sample: float = 1.0  # which part of them, chosen by their ids: always the same ones

    @property
    def chances(self) -> int:
        """How many of the chances that an id has are in the sample."""
        return round(self.sample * _CHANCES)


async def read_trail(database: Database, reader: RecordReader, wanted: Stretch) -> Lots:
    """Yield what fits, the newest first. Raises ``CannotRead``."""
    statement, values = build_statement(wanted)
    async with read_snapshot(database) as connection:
        shared = OneAtATime(connection)
        async with Ahead.open(shared, statement, *values) as ahead:
            while rows := await ahead.fetch():
                yield await reader.open_all([read_record(row["record"]) for row in rows])


def build_statement(wanted: Stretch) -> tuple[str, list[Any]]:
    """Return the statement and its values; each value is a parameter."""
    values: list[Any] = [list(KINDS)]
    conditions = ["kind = ANY($1)"]

    def require(condition: str, value: object) -> None:
        values.append(value)
        conditions.append(condition.format(f"${len(values)}"))

    if wanted.since is not None:
        require("at >= {}", wanted.since)
    if wanted.until is not None:
        require("at < {}", wanted.until)
    if wanted.client is not None:
        require("client = {}", wanted.client)
    if wanted.target is not None:
        require("targets @> ARRAY[{}::text]", wanted.target)
    if wanted.sample < 1:
        require(f"{_CHANCE} < {{}}", wanted.chances)
    where = " AND ".join(conditions)
    statement = f"SELECT record FROM audit_event WHERE {where} {_ORDER}"  # noqa: S608 — made of constants
    if wanted.limit is not None:
        values.append(wanted.limit)
        statement += f" LIMIT ${len(values)}"
    return statement, values


async def read_export(path: Path, reader: RecordReader | None, wanted: Stretch) -> Lots:
    """Yield what fits of a file, in its order: a native export, or records a line each.

    ``reader`` opens what is sealed; None: it stays so. Raises ``CannotRead``.
    """
    async with aclosing(_lots(path, wanted)) as lots:
        async for lot in lots:
            yield _unopened(lot) if reader is None else await reader.open_all(lot)


async def _lots(path: Path, wanted: Stretch) -> AsyncGenerator[list[dict[str, Any]]]:
    lot: list[dict[str, Any]] = []
    left = wanted.limit
    for record in _fitting(path, wanted):
        if left is not None:
            if not left:
                break
            left -= 1
        lot.append(record)
        if len(lot) == LOT:
            yield lot
            lot = []
    if lot:
        yield lot


def _fitting(path: Path, wanted: Stretch) -> Iterator[dict[str, Any]]:
    since = None if wanted.since is None else render_time(wanted.since)
    until = None if wanted.until is None else render_time(wanted.until)
    for line in _records(path):
        record = read_record(line)
        at = str(record.get("at"))  # all of one length, so that their order is that of the texts
        if (
            record.get("kind", "exchange") in KINDS
            and (since is None or at >= since)
            and (until is None or at < until)
            and (wanted.client is None or _client(record) == wanted.client)
            and (wanted.target is None or wanted.target in (record.get("targets") or ()))
            and (wanted.sample >= 1 or _chance(record) < wanted.chances)
        ):
            yield record


def _records(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            native = FORMAT.encode() in file.readline(MAX_LINE)
            file.seek(0)
            for raw in _native(file) if native else _lines(file):
                yield raw.decode()
    except OSError as error:
        raise CannotRead(f"{path} cannot be read ({error.strerror})") from error
    except ExportRejected as error:
        raise CannotRead(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise CannotRead(f"{path}: is no UTF-8") from error


def _native(file: BinaryIO) -> Iterator[bytes]:
    for line in read_native(file):
        if isinstance(line, ExportedRow):
            yield line.record


def _lines(file: BinaryIO) -> Iterator[bytes]:
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE and not line.endswith(b"\n"):
            raise ExportRejected(number, "it is too long to be a record")
        if line.strip():
            if not line.lstrip().startswith(b"{"):
                raise ExportRejected(
                    number, "is no record; write one a line, as `broker audit query --format jsonl`"
                )
            yield line


def _unopened(lot: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**record, "personal": dict(SEALED)}
        if isinstance(record.get("personal"), str)
        else dict(record)
        for record in lot
    ]


def _client(record: Mapping[str, Any]) -> object:
    client = record.get("client")
    return client.get("id") if isinstance(client, dict) else None


def _chance(record: Mapping[str, Any]) -> int:
    try:
        return int(str(record.get("id"))[-4:], 16)
    except ValueError:
        return 0
