"""The head of the log as text: what a checkpoint says before anybody signs it.

Three lines: the origin (which log this is), the size (how many batches) and the root in base64.
C2SP tlog-checkpoint. It allows further lines; they would not be signed by everything that signs
a head, so here they are refused.
"""

import re
from dataclasses import dataclass
from typing import Final

from broker.audit.encoding import decode_hash, encode_hash

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_MAX_SIZE: Final = 2**63 - 1
_MAX_ORIGIN: Final = 255  # bytes: c2sp.org/tlog-cosignature
# A name of a key, too (c2sp.org/signed-note): none of Unicode's spaces, control characters, plus.
_NAME: Final = re.compile(r"[^\s\x00-\x20\x7f+]+")


@dataclass(frozen=True, slots=True)
class Head:
    """A state of the log. Of whom it is, and whether it is true, only signatures tell."""

    origin: str
    size: int  # batches
    root: bytes


def is_name(text: str) -> bool:
    """Whether this can name a log or a key."""
    return _NAME.fullmatch(text) is not None and len(text.encode()) <= _MAX_ORIGIN


def render_head(head: Head) -> str:
    """Return the three lines."""
    return f"{head.origin}\n{head.size}\n{encode_hash(head.root)}\n"


def parse_head(text: str) -> Head:
    """Return what three lines say; they are the only ones that say so. Raises ``ValueError``."""
    lines = text.split("\n")
    if len(lines) != 4 or lines[3]:
        raise ValueError("not three lines")
    origin, size, root, _ = lines
    if not is_name(origin):
        raise ValueError("the first line is not the name of a log")
    if _SIZE.fullmatch(size) is None or int(size) > _MAX_SIZE:
        raise ValueError("the second line is not a size")
    try:
        return Head(origin, int(size), decode_hash(root))
    except ValueError:
        raise ValueError("the third line is not a hash") from None
