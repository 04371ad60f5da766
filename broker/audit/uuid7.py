"""UUIDv7: the id of an audit row and the ``jti`` of the token it records. RFC 9562 §5.7.

48 bits of milliseconds, then 74 bits of chance, all new each time: ids sort by time, and neither
the threads of a process nor its replicas need to agree on anything. Within a millisecond they are
in no order; ``seq`` is what orders rows. A ``jti`` is an identifier and no credential, so 74 bits
are enough (RFC 6749 §10.10).
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

_CHANCE: Final = 10  # bytes, of which 74 bits are used
_VERSION: Final = 0x7 << 76
_VARIANT: Final = 0b10 << 62
_LOW: Final = (1 << 62) - 1


def build_uuid7(clock: Callable[[], datetime]) -> str:
    """Return a new UUIDv7 for the time on ``clock``, in its canonical text."""
    return _compose(clock(), os.urandom(_CHANCE))


def name_uuid7(at: datetime, name: str) -> str:
    """Return the UUIDv7 of something that happened ``at``, always the same for the same name."""
    return _compose(at, sha256(name.encode()).digest()[:_CHANCE])


def _compose(at: datetime, bits: bytes) -> str:
    milliseconds = int(at.timestamp() * 1000)
    chance = int.from_bytes(bits) >> 6
    value = milliseconds << 80 | _VERSION | chance >> 62 << 64 | _VARIANT | chance & _LOW
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def time_of_uuid7(id: str) -> datetime:  # noqa: A002 — what it is
    """Return the time that is in a UUIDv7."""
    return datetime.fromtimestamp(int(id[:8] + id[9:13], 16) / 1000, UTC)
