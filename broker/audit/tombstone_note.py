"""Who made a tombstone: a signed note over it, by the key that signs the log's checkpoints.

The log seals whatever is written into the database. So that whoever may write there can't remove
rows and say that their time was over, a tombstone counts only with a signature of its own.
"""

from collections.abc import Sequence
from dataclasses import replace

from broker.audit.note import (
    ED25519,
    Note,
    NoteRejected,
    Signature,
    SigningKeys,
    VerifierKey,
    parse_note,
    verify_note,
)
from broker.audit.tombstone import Tombstone, TombstoneRejected, tombstone_text


def sign_tombstone(tombstone: Tombstone, keys: SigningKeys) -> Tombstone:
    """Return the tombstone, signed with the Ed25519 key of the log."""
    body = tombstone_text(tombstone, keys.name)
    plain = next(key for key in keys.public if key.kind == ED25519)
    signature = Signature(plain.name, plain.id, keys.ed25519.sign(body.encode()))
    return replace(tombstone, note=str(Note(body, (signature,))))


def verify_tombstone(tombstone: Tombstone, keys: Sequence[VerifierKey]) -> None:
    """Return if an Ed25519 key of the log has signed it. Raises ``TombstoneRejected``.

    ML-DSA-44 signs heads only (tlog-cosignature); it vouches for the row that the tombstone is.
    """
    plain = [key for key in keys if key.kind == ED25519]
    try:
        note = parse_note(tombstone.note)
        signed = verify_note(note, plain)
    except NoteRejected:
        raise TombstoneRejected("it is not signed by the key of the log") from None
    # A key of one log says nothing about another, and a note over something else nothing of this.
    if not any(note.body == tombstone_text(tombstone, key.name) for key in signed):
        raise TombstoneRejected("its signature is over something else")
