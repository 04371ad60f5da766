"""Checkpoints that were kept outside of the database: a file of them, or a folder of objects."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from broker.audit.checkpoint import CheckpointRejected, parse_checkpoint, verify_checkpoint
from broker.audit.checkpoint_file import read_checkpoints
from broker.audit.head import Head
from broker.audit.note import MAX_CHARACTERS, VerifierKey
from broker.audit.query import CannotRead

_MOST: Final = 4_000_000  # heads: a year of one every ten seconds


@dataclass(frozen=True, slots=True)
class OutsideHead:
    """A head, and where it was found."""

    head: Head
    source: str


def load_outside(path: Path, keys: Sequence[VerifierKey]) -> list[OutsideHead]:
    """Return every checkpoint that is kept there, each verified if there are keys.

    Raises ``CannotRead`` for one that is of another log, or that the keys have not signed: what is
    believed about the database must itself be beyond doubt.
    """
    heads: list[OutsideHead] = []
    for source, note in _notes(path):
        try:
            head = verify_checkpoint(note, keys) if keys else parse_checkpoint(note)
        except CheckpointRejected as error:
            raise CannotRead(f"--checkpoints: {source}: {error}") from None
        heads.append(OutsideHead(head, source))
        if len(heads) > _MOST:
            raise CannotRead(f"--checkpoints: {path} has more than {_MOST:,} of them")
    if not heads:
        raise CannotRead(f"--checkpoints: there is no checkpoint in {path}")
    if len({one.head.origin for one in heads}) > 1:
        raise CannotRead(f"--checkpoints: {path} has checkpoints of several logs")
    return heads


def _notes(path: Path) -> Iterator[tuple[str, str]]:
    try:
        if path.is_dir():
            for file in sorted(each for each in path.rglob("*") if each.is_file()):
                with file.open(encoding="utf-8", newline="") as text:
                    yield file.name, text.read(MAX_CHARACTERS)
            return
        with path.open("rb") as lines:
            for number, note in read_checkpoints(lines):
                yield f"{path.name}, line {number}", note
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise CannotRead(f"--checkpoints: {path}: {said}") from None
