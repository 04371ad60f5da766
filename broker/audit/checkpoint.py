"""Checkpoints: heads of the log that are signed and leave the database. C2SP tlog-checkpoint.

What holds of a checkpoint when ``verify_checkpoint`` returns it:

(1) it is of the log that was asked for, and signed by a key of that log's name. A key that was
    given for one log says nothing about another;
(2) each kind of key that was given for the log has signed it: whoever gives an ML-DSA-44 key
    doesn't depend on Ed25519. Only where the caller says so may that line be missing;
(3) no line claims a given key's signature and lacks it.

Not that it is consistent with another: ``broker.audit.tree.is_consistent``.
"""

from collections.abc import Sequence
from datetime import datetime

from broker.audit.head import Head, parse_head, render_head
from broker.audit.note import (
    ED25519,
    MLDSA44,
    NoteRejected,
    SigningKeys,
    VerifierKey,
    parse_note,
    sign,
    verify_note,
)


class CheckpointRejected(Exception):  # noqa: N818 — an answer to whoever asks
    """It is no checkpoint, of another log, or not signed; ``str()`` says which."""


class Checkpoint(Head):
    """A head that is ours to sign, or that was verified: ``origin``, ``size``, ``root``."""

    __slots__ = ()


def sign_checkpoint(checkpoint: Checkpoint, keys: SigningKeys, at: datetime) -> str:
    """Return the note. Raises ``ValueError`` for an origin that is not the keys' name."""
    if checkpoint.origin != keys.name:
        raise ValueError("the keys are of another log")
    return sign(render_head(checkpoint), keys, at)


def parse_checkpoint(text: str) -> Head:
    """Return what a checkpoint says, unverified. Raises ``CheckpointRejected``."""
    try:
        return parse_head(parse_note(text).body)
    except (NoteRejected, ValueError) as error:
        raise CheckpointRejected(f"no checkpoint: {error}") from None


def verify_checkpoint(
    text: str,
    keys: Sequence[VerifierKey],
    origin: str | None = None,
    *,
    without_mldsa: bool = False,
) -> Checkpoint:
    """Return the checkpoint once (1) to (3) hold. Raises ``CheckpointRejected``.

    ``origin`` None: of whatever log a key is for. ``without_mldsa``: the line of 3 KiB may be
    missing, where size matters more than a quantum computer; if it is there it must be right.
    """
    unverified = parse_checkpoint(text)
    if origin is not None and unverified.origin != origin:
        raise CheckpointRejected("it is of another log")
    own = [key for key in keys if key.name == unverified.origin and key.kind in {ED25519, MLDSA44}]
    if not own:
        raise CheckpointRejected("no key of its log was given")
    try:
        signed = {key.kind for key in verify_note(parse_note(text), own)}
    except NoteRejected as error:
        raise CheckpointRejected(str(error)) from None
    wanted = {key.kind for key in own}
    if without_mldsa and ED25519 in wanted:
        wanted.discard(MLDSA44)
    if wanted - signed:
        raise CheckpointRejected("a kind of key that was given has not signed it")
    return Checkpoint(unverified.origin, unverified.size, unverified.root)
