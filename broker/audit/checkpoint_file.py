"""A file of checkpoints: signed notes one after another, each with an empty line behind it.

    broker.example.com/audit
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — broker.example.com/audit Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhc…
    — broker.example.com/audit 5mJm2gAAAABpJw8A…

    broker.example.com/audit
    …

Empty lines divide it into blocks. A block of lines that begin with a dash are the signatures of
the block before it. A block in which a line begins with ``#`` is a comment, and so is a text
before it that has no signatures: where a crash cut a note short, the one who goes on says so in
such a line, for nothing can be taken back from a file that is only appended to. What is cut short
at the end is being written.
"""

from collections.abc import Iterable, Iterator
from typing import Final

_MAX_LINES: Final = 64  # of a block
_MAX_LINE: Final = 16 * 1024  # bytes
_CUT: Final = "# cut short; what follows is whole\n\n"


def read_checkpoints(lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """Yield each note and the number of its first line; nothing of it is verified.

    Raises ``ValueError``, which names a line, for what is no file of checkpoints.
    """
    body, began = "", 0
    for number, block in _blocks(lines):
        if _is_comment(block):
            body = ""
        elif _is_signatures(block):
            if not body:
                raise ValueError(f"line {number}: signatures of nothing")
            yield began, f"{body}\n{block}"
            body = ""
        elif body:
            raise ValueError(f"line {began}: a checkpoint without signatures")
        else:
            body, began = block, number


def find_last(tail: bytes, *, whole: bool) -> str | None:
    """Return the last whole note of a file's end; ``whole``: the file has nothing before it.

    None: there is no note in it, only comments. Raises ``ValueError`` for another kind of file.
    """
    if not whole:
        tail = tail.partition(b"\n\n")[2]
    last, body = None, ""
    strange = False
    for _, block in _blocks(tail.splitlines(keepends=True)):
        if _is_comment(block):
            body = ""
        elif _is_signatures(block):
            last = f"{body}\n{block}" if body else last
            body = ""
        else:
            body, strange = block, True
    if last is None and (strange or not whole):
        raise ValueError("there are no checkpoints at its end")
    return last


def render_entries(notes: Iterable[str], tail: bytes) -> bytes:
    """Return what to append for these notes to a file that ends with ``tail``."""
    entries = "".join(f"{note}\n" for note in notes)
    return (_mend(tail) + entries).encode()


def _mend(tail: bytes) -> str:
    """Return what makes a comment of whatever was cut short at the end."""
    if not tail:
        return ""
    if not tail.endswith(b"\n"):
        return f"\n{_CUT}"
    if not tail.endswith(b"\n\n"):
        return _CUT
    block = tail.rstrip(b"\n").rpartition(b"\n\n")[2].decode(errors="replace") + "\n"
    return "" if _is_signatures(block) or _is_comment(block) else _CUT


def _is_comment(block: str) -> bool:
    return any(row.startswith("#") for row in block.split("\n"))


def _is_signatures(block: str) -> bool:
    return all(row.startswith("— ") for row in block.split("\n")[:-1])


def _blocks(lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    block: list[bytes] = []
    for number, line in enumerate(lines, 1):
        if len(line) > _MAX_LINE or len(block) > _MAX_LINES:
            raise ValueError(f"line {number}: too long for a checkpoint")
        if line != b"\n":
            block.append(line)
        elif block:
            # Also where a crash cut a dash in two: whatever that is, it is no signature.
            yield number - len(block), b"".join(block).decode(errors="replace")
            block = []
