"""A proof that one row stands in the log, for whoever has a public key and nothing else.

The file is a C2SP tlog-proof (c2sp.org/tlog-proof): where the row's batch stands in the log, the
path from there to the root, and the checkpoint that signs the root. The entry of the log is the
statement of that batch; it and what leads from the row to it are the ``extra`` of that format:

    statement ‖ seq ‖ leaf ‖ n ‖ n hashes ‖ record

The statement has 113 bytes (``broker.audit.batch``), ``seq`` 8 with the highest first, ``leaf`` and
each hash 32, ``n`` one. The hashes lead from ``leaf`` to the root in the statement. ``record`` may
be left out, to be shown on its own.

What holds when ``check_proof`` returns:

(1) a given key signed the checkpoint, of the log that was asked for;
(2) the statement stands in that log at ``position``;
(3) ``leaf`` stands in the batch of the statement, as row ``seq``;
(4) the record that is shown hashes to ``leaf``.

Every byte of a proof means something and cannot be changed, except in signature lines by keys that
were not given: those are others' business (c2sp.org/signed-note).
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from broker.audit.batch import STATEMENT_BYTES, Batch, batch_statement, parse_statement
from broker.audit.checkpoint import Checkpoint, CheckpointRejected, verify_checkpoint
from broker.audit.encoding import decode_hash, encode_hash
from broker.audit.merkle import is_included, leaf_hash
from broker.audit.note import Note, NoteRejected, VerifierKey, parse_note

TYPE: Final = "c2sp.org/tlog-proof@v1"
MAX_BYTES: Final = 8 * 1024 * 1024  # of a proof: a record is far shorter
_HASH: Final = 32
_SEQ: Final = 8
_HEAD: Final = STATEMENT_BYTES + _SEQ + _HASH + 1
_SHORT_SIGNATURE: Final = 8 + 64  # bytes: of Ed25519, with the time where a witness says it
_MAX_PATH: Final = 64  # hashes: of a tree that no number of 64 bits counts
_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})")


class ProofRejected(Exception):  # noqa: N818 — an answer to whoever asks
    """The proof was read and does not hold; ``str()`` says which part of it."""


class NotAProof(Exception):  # noqa: N818 — an answer to whoever asks
    """The file is no proof, or not all of one; ``str()`` says where reading it ended."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a proof says. Nothing of it is verified until ``check_proof`` returned."""

    batch: Batch
    seq: int  # of the row
    leaf: bytes
    inner: tuple[bytes, ...]  # from the row's sibling up to the root of the batch
    position: int  # of the batch in the log, from 0
    path: tuple[bytes, ...]  # from the batch's sibling up to the root of the log
    checkpoint: str  # a signed note
    record: bytes | None = field(default=None, repr=False)


def render_proof(proof: Proof) -> str:
    """Return the text of a proof; without its record it has less than 2 KiB for 16 M batches."""
    extra = b"".join(
        (
            batch_statement(proof.batch),
            proof.seq.to_bytes(_SEQ, "big"),
            proof.leaf,
            len(proof.inner).to_bytes(1, "big"),
            *proof.inner,
            proof.record or b"",
        )
    )
    lines = (
        TYPE,
        f"extra {b64encode(extra).decode()}",
        f"index {proof.position}",
        *(encode_hash(one) for one in proof.path),
        "",
        proof.checkpoint,
    )
    return "\n".join(lines)


def short_checkpoint(text: str) -> str:
    """Return a checkpoint without signatures of the kinds that are longer than all the rest.

    Raises ``CheckpointRejected``.
    """
    try:
        note = parse_note(text)
    except NoteRejected as error:
        raise CheckpointRejected(f"no checkpoint: {error}") from None
    short = tuple(one for one in note.signatures if len(one.value) <= _SHORT_SIGNATURE)
    return str(Note(note.body, short or note.signatures))


def parse_proof(text: str) -> Proof:
    """Return what a proof says, unverified. Raises ``NotAProof``."""
    head, separator, checkpoint = text.partition("\n\n")
    lines = iter(head.split("\n"))
    if next(lines) != TYPE:
        raise NotAProof(f"it does not begin with {TYPE}")
    if not separator or not checkpoint:
        raise NotAProof("it ends before its checkpoint: it was cut short")
    extra = _parse_extra(next(lines, ""))
    index = _INDEX.fullmatch(next(lines, ""))
    if index is None:
        raise NotAProof("its third line is not `index` and a number")
    path = tuple(_parse_path(lines))
    statement, rest = extra[:STATEMENT_BYTES], extra[STATEMENT_BYTES:]
    try:
        batch = parse_statement(statement)
    except ValueError:
        raise NotAProof("the batch in its `extra` is none") from None
    seq, leaf, count = rest[:_SEQ], rest[_SEQ : _SEQ + _HASH], rest[_SEQ + _HASH]
    rest = rest[_SEQ + _HASH + 1 :]
    if count > _MAX_PATH or len(rest) < count * _HASH:
        raise NotAProof("its `extra` ends within the path of the row")
    inner = tuple(rest[at : at + _HASH] for at in range(0, count * _HASH, _HASH))
    record = rest[count * _HASH :] or None
    return Proof(
        *(batch, int.from_bytes(seq, "big"), leaf, inner),
        *(int(index[1]), path, checkpoint, record),
    )


def check_proof(
    proof: Proof,
    keys: Sequence[VerifierKey],
    *,
    origin: str | None = None,
    record: bytes | None = None,
    post_quantum: bool = False,
) -> Checkpoint:
    """Return the checkpoint under which the row stands, once (1) to (4) hold.

    ``origin`` None: of whatever log a key is for. ``record`` None: the one in the proof; where
    neither is there, (4) is left to whoever has it. ``post_quantum``: the line of an ML-DSA-44
    key that was given may not be left out.

    Raises ``ProofRejected``, or ``CheckpointRejected`` for (1).
    """
    # (1) First, so that no other sentence is about something that nobody signed.
    checkpoint = verify_checkpoint(
        proof.checkpoint, keys, origin=origin, without_mldsa=not post_quantum
    )

    # (2) The statement is hashed as a record of the log is; no node hashes alike (RFC 6962 §2.1).
    entry = leaf_hash(batch_statement(proof.batch))
    where = (proof.position, checkpoint.size, proof.path, checkpoint.root)
    if not is_included(entry, *where):
        raise ProofRejected("the log of this checkpoint does not have the batch there")

    # (3) First and last row are in the statement, so the row cannot be told to be another one.
    batch = proof.batch
    index, size = proof.seq - batch.first_seq, batch.last_seq - batch.first_seq + 1
    if not is_included(proof.leaf, index, size, proof.inner, batch.root):
        raise ProofRejected("the batch does not have this row there")

    # (4) Both are compared if there are two.
    for shown in (proof.record, record):
        if shown is not None and leaf_hash(shown) != proof.leaf:
            raise ProofRejected("the record is not the one that the proof is about")
    return checkpoint


def _parse_extra(line: str) -> bytes:
    name, _, value = line.partition(" ")
    try:
        extra = b64decode(value, validate=True)
    except ValueError:
        extra = b""
    # Some last characters have bits that mean nothing: one proof, one spelling.
    if name != "extra" or b64encode(extra).decode() != value:
        raise NotAProof("its second line is not `extra` and base64")
    if len(extra) < _HEAD:
        raise NotAProof("its `extra` does not say which row this is about")
    return extra


def _parse_path(lines: Iterator[str]) -> Iterator[bytes]:
    for count, line in enumerate(lines):
        if count == _MAX_PATH:
            raise NotAProof("its path is longer than that of any log")
        try:
            yield decode_hash(line)
        except ValueError:
            raise NotAProof(f"line {count + 4} is no hash in base64") from None
