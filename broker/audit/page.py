"""Where a page of rows ends and the next one begins, also after rows were added at the front.

A cursor holds values only, of a fixed length, and is signed together with what was asked: it leads
on in that question and in no other.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

_FORMAT: Final = b"\x01"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME: Final = 8  # bytes of microseconds, highest first
_SEQ: Final = 8
_UUID: Final = 16
_BODY: Final = len(_FORMAT) + _TIME + _UUID + _SEQ
_MAC: Final = 16
_CHARACTERS: Final = 4 * -(-(_BODY + _MAC) // 3)


class CursorRejected(Exception):  # noqa: N818 — an answer to whoever asks
    """It is no cursor of ours, or one of another question."""


@dataclass(frozen=True, slots=True)
class Position:
    """The last row of a page, in the order of ``broker.audit.query``."""

    at: datetime
    writer: UUID
    seq: int


def position_of(row: Mapping[str, Any]) -> Position:
    """Return where a row stands."""
    return Position(row["at"], UUID(int=row["writer"].int), row["seq"])


def render_cursor(position: Position, key: bytes, question: bytes) -> str:
    """Return what goes on behind ``position`` in ``question``, for whoever has the same key."""
    body = b"".join(
        (
            _FORMAT,
            ((position.at - _EPOCH) // timedelta(microseconds=1)).to_bytes(
                _TIME, "big", signed=True
            ),
            position.writer.bytes,
            position.seq.to_bytes(_SEQ, "big", signed=True),
        )
    )
    return urlsafe_b64encode(body + _sign(body, key, question)).decode()


def parse_cursor(text: str, key: bytes, question: bytes) -> Position:
    """Return where to go on. Raises ``CursorRejected``."""
    try:
        raw = urlsafe_b64decode(text.encode("ascii")) if len(text) == _CHARACTERS else b""
    except ValueError:
        raw = b""
    body, mac = raw[:_BODY], raw[_BODY:]
    # One cursor, one spelling: decoding is lenient about what it does not know.
    whole = urlsafe_b64encode(raw).decode() == text and body[:1] == _FORMAT
    if not whole or not hmac.compare_digest(mac, _sign(body, key, question)):
        raise CursorRejected("this place in the pages is of another search; begin with its first")
    time, rest = body[1 : 1 + _TIME], body[1 + _TIME :]
    return Position(
        _EPOCH + timedelta(microseconds=int.from_bytes(time, "big", signed=True)),
        UUID(bytes=rest[:_UUID]),
        int.from_bytes(rest[_UUID:], "big", signed=True),
    )


def _sign(body: bytes, key: bytes, question: bytes) -> bytes:
    # The body has a fixed length, so no other pair is joined alike.
    return hmac.digest(key, b"broker audit cursor\0" + body + question, "sha256")[:_MAC]
