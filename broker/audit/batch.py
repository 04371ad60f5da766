"""A batch: the rows of one commit under one root, chained to the writer's batch before.

Its hash covers whose batch it is, which one, when, which rows, their root and the hash before:

    SHA-256(0x02 ‖ writer ‖ number ‖ first_seq ‖ last_seq ‖ at ‖ root ‖ previous)

``writer`` is 16 bytes, numbers are 8 bytes with the highest first, ``at`` is in microseconds since
1970. All is of fixed length, so nothing can be moved from one member into the next; 0x02 keeps it
apart from the leaves and nodes of RFC 6962.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

from broker.audit.merkle import merkle_root

NOTHING_BEFORE: Final = bytes(32)  # the ``previous`` of a writer's first batch
_LAYOUT: Final = struct.Struct(">c16sQQQq32s32s")
_MARK: Final = b"\x02"
STATEMENT_BYTES: Final = _LAYOUT.size
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Batch:
    """A row of ``audit_batch``."""

    writer: UUID
    number: int
    first_seq: int
    last_seq: int
    at: datetime
    root: bytes
    previous: bytes
    hash: bytes


def seal_batch(writer: UUID, before: Batch | None, leaves: Sequence[bytes], at: datetime) -> Batch:
    """Return the batch of these leaves, next after ``before``; None: the writer's first."""
    number = before.number + 1 if before else 1
    first = before.last_seq + 1 if before else 1
    previous = before.hash if before else NOTHING_BEFORE
    last = first + len(leaves) - 1
    root = merkle_root(leaves)
    digest = batch_hash(writer, number, first, last, at, root, previous)
    return Batch(writer, number, first, last, at, root, previous, digest)


def batch_hash(
    writer: UUID,
    number: int,
    first_seq: int,
    last_seq: int,
    at: datetime,
    root: bytes,
    previous: bytes,
) -> bytes:
    """Return the hash of a batch, as its successor holds it."""
    return sha256(_pack(writer, number, first_seq, last_seq, at, root, previous)).digest()


def batch_statement(batch: Batch) -> bytes:
    """Return what a batch says, in ``STATEMENT_BYTES``: its hash is over this, and so is its leaf.

    The log over all writers has it as its entry (``broker.audit.tree``).
    """
    return _pack(
        *(batch.writer, batch.number, batch.first_seq, batch.last_seq),
        *(batch.at, batch.root, batch.previous),
    )


def parse_statement(statement: bytes) -> Batch:
    """Return the batch that says this. Raises ``ValueError`` for what no batch can say."""
    try:
        mark, writer, number, first, last, microseconds, root, previous = _LAYOUT.unpack(statement)
        at = _EPOCH + microseconds * _MICROSECOND
    except (struct.error, OverflowError):
        raise ValueError("not the statement of a batch") from None
    if mark != _MARK or not 1 <= first <= last or not number:
        raise ValueError("not the statement of a batch")
    return Batch(
        *(UUID(bytes=writer), number, first, last, at, root, previous),
        hash=sha256(statement).digest(),
    )


def _pack(
    writer: UUID,
    number: int,
    first_seq: int,
    last_seq: int,
    at: datetime,
    root: bytes,
    previous: bytes,
) -> bytes:
    microseconds = (at - _EPOCH) // _MICROSECOND
    return _LAYOUT.pack(
        _MARK, writer.bytes, number, first_seq, last_seq, microseconds, root, previous
    )
