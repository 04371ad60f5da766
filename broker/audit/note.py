"""Signed notes: text with signatures under it that many tools can verify. C2SP signed-note.

A note is its text, an empty line, and a line for each signature: a dash, the name of a key, and
base64 of four bytes that identify the key and of what it signed:

    broker.example.com/audit
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — broker.example.com/audit Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhc…

Three kinds of key sign here. Ed25519 signs the text (signed-note, type 0x01). Witnesses sign with
Ed25519 (tlog-cosignature, 0x04) or ML-DSA-44 (0x06) what they saw and when; a log signs its own
heads with the latter as well, so that they still hold when Ed25519 no longer does.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from broker.audit.head import is_name, parse_head

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04  # Ed25519, with the time
MLDSA44: Final = 0x06  # with the time
MAX_CHARACTERS: Final = 128 * 1024  # of a note: room for 32 signatures of the longest kind
_MAX_SIGNATURES: Final = 32  # signed-note: at least 16 are accepted
_MAX_KEYS: Final = 64
_PUBLIC_BYTES: Final = {ED25519: 32, COSIGNATURE: 32, MLDSA44: 1312}
_SIGNATURE_BYTES: Final = {ED25519: 64, COSIGNATURE: 8 + 64, MLDSA44: 8 + 2420}
_ID: Final = 4
_LINE: Final = re.compile(r"— ([^ ]+) ([A-Za-z0-9+/]+={0,2})")
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


class NoteRejected(Exception):  # noqa: N818 — an answer to whoever asks
    """The note is none, or is not signed by a key that was given; ``str()`` says which."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and whose it is. As text: ``name+id+base64(kind ‖ key)``."""

    name: str
    kind: int
    public: bytes

    def __str__(self) -> str:
        material = b64encode(bytes((self.kind,)) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{material}"

    @property
    def id(self) -> bytes:
        """Four bytes that find the key for a signature; they are no proof of anything."""
        material = f"{self.name}\n".encode() + bytes((self.kind,)) + self.public
        return sha256(material).digest()[:_ID]

    def verifies(self, body: str, value: bytes) -> bool:
        """Whether ``value`` is this key's signature on a note of this text."""
        if len(value) != _SIGNATURE_BYTES[self.kind]:
            return False
        try:
            if self.kind == ED25519:
                Ed25519PublicKey.from_public_bytes(self.public).verify(value, body.encode())
            elif self.kind == COSIGNATURE:
                message = f"cosignature/v1\ntime {_timestamp(value)}\n{body}".encode()
                Ed25519PublicKey.from_public_bytes(self.public).verify(value[8:], message)
            else:
                message = _subtree_message(self.name, _timestamp(value), body)
                MLDSA44PublicKey.from_public_bytes(self.public).verify(value[8:], message)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signature:
    """A line under a note."""

    name: str
    id: bytes  # of the key
    value: bytes

    def __str__(self) -> str:
        return f"— {self.name} {b64encode(self.id + self.value).decode()}"


@dataclass(frozen=True, slots=True)
class Note:
    """A note taken apart. Nothing of it is verified, unless ``verify_note`` returned it."""

    body: str  # with its last newline
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.body}\n" + "".join(f"{one}\n" for one in self.signatures)


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """The keys of a log: two private ones of one name."""

    name: str
    ed25519: Ed25519PrivateKey = field(repr=False)
    mldsa44: MLDSA44PrivateKey = field(repr=False)

    @classmethod
    def from_seeds(cls, name: str, ed25519: bytes, mldsa44: bytes) -> Self:
        """Return the keys that two secrets of 32 bytes make. Raises ``ValueError`` for a name."""
        if not is_name(name):
            raise ValueError("not the name of a key")
        return cls(
            name,
            Ed25519PrivateKey.from_private_bytes(ed25519),
            MLDSA44PrivateKey.from_seed_bytes(mldsa44),
        )

    @property
    def public(self) -> tuple[VerifierKey, VerifierKey]:
        """The public keys: Ed25519, then ML-DSA-44."""
        return (
            VerifierKey(self.name, ED25519, self.ed25519.public_key().public_bytes_raw()),
            VerifierKey(self.name, MLDSA44, self.mldsa44.public_key().public_bytes_raw()),
        )


def parse_vkeys(text: str) -> tuple[VerifierKey, ...]:
    """Return the keys of a text, one a line; empty lines and those that begin with # are skipped.

    Raises ``ValueError``, naming the line and never what is in it: somebody may have taken the
    wrong file.
    """
    keys: dict[tuple[str, bytes], VerifierKey] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            key = _parse_vkey(stripped)
        except ValueError as error:
            raise ValueError(f"line {number} is no verifier key: {error}") from None
        # Four bytes can be made to collide; which of two is meant must not depend on their order.
        if keys.setdefault((key.name, key.id), key) != key:
            raise ValueError(f"line {number} has the name and id of another key")
        if len(keys) > _MAX_KEYS:
            raise ValueError(f"there are more than {_MAX_KEYS} keys")
    if not keys:
        raise ValueError("there is no verifier key: name+id+base64")
    return tuple(keys.values())


def sign(body: str, keys: SigningKeys, at: datetime) -> str:
    """Return the note of the head of a log, signed with both keys. Raises ``ValueError``."""
    timestamp = int(at.timestamp())
    plain, quantum = keys.public
    value = keys.mldsa44.sign(_subtree_message(keys.name, timestamp, body))
    signatures = (
        Signature(plain.name, plain.id, keys.ed25519.sign(body.encode())),
        Signature(quantum.name, quantum.id, timestamp.to_bytes(8, "big") + value),
    )
    return str(Note(body, signatures))


def parse_note(text: str) -> Note:
    """Return the parts of a note, unverified. Raises ``NoteRejected``."""
    if len(text) > MAX_CHARACTERS:
        raise NoteRejected("it is too long for a signed note")
    head, separator, tail = text.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise NoteRejected("it is no signed note, or not all of one")
    if _CONTROL.search(text):
        raise NoteRejected("it holds control characters")
    return Note(f"{head}\n", parse_signatures(tail))


def parse_signatures(text: str) -> tuple[Signature, ...]:
    """Return the signatures of a text that has one a line. Raises ``NoteRejected``."""
    lines = text.split("\n")[:-1]
    if not lines or not text.endswith("\n"):
        raise NoteRejected("it has no signature")
    if len(lines) > _MAX_SIGNATURES:
        raise NoteRejected("it has too many signatures")
    return tuple(_parse_signature(line) for line in lines)


def verify_note(note: Note, keys: Sequence[VerifierKey]) -> dict[VerifierKey, Signature]:
    """Return which of the keys signed the note; there is at least one.

    Signatures by other keys are nobody's business here; one that is named as a given key's and is
    not, spoils all of it. Raises ``NoteRejected``.
    """
    known = {(key.name, key.id): key for key in keys}
    signed: dict[VerifierKey, Signature] = {}
    for one in note.signatures:
        key = known.get((one.name, one.id))
        if key is None:
            continue
        if not key.verifies(note.body, one.value):
            raise NoteRejected("a signature does not verify")
        signed[key] = one
    if not signed:
        raise NoteRejected("no given key has signed it")
    return signed


def _parse_vkey(text: str) -> VerifierKey:
    name, _, rest = text.partition("+")
    identifier, _, encoded = rest.partition("+")
    if not is_name(name):
        raise ValueError("its name is none")
    material = _decode(encoded)
    kind = material[0] if material else 0
    if kind not in _PUBLIC_BYTES:
        raise ValueError("its kind is neither Ed25519 nor ML-DSA-44")
    if len(material) != 1 + _PUBLIC_BYTES[kind]:
        raise ValueError("its length is wrong")
    key = VerifierKey(name, kind, material[1:])
    if identifier != key.id.hex():
        raise ValueError("its id is another key's")
    return key


def _parse_signature(line: str) -> Signature:
    match = _LINE.fullmatch(line)
    if match is None or not is_name(match[1]):
        raise NoteRejected("a line under it is no signature")
    try:
        value = _decode(match[2])
    except ValueError:
        raise NoteRejected("a line under it is no signature") from None
    if len(value) <= _ID:
        raise NoteRejected("a line under it is no signature")
    return Signature(match[1], value[:_ID], value[_ID:])


def _decode(text: str) -> bytes:
    value = b64decode(text, validate=True)
    # Some last characters have bits that mean nothing: one value, one spelling.
    if b64encode(value).decode() != text:
        raise ValueError("its base64 is not the only spelling")
    return value


def _timestamp(value: bytes) -> int:
    """Return the seconds since 1970 that a cosignature begins with."""
    timestamp = int.from_bytes(value[:8], "big")
    if timestamp >= 1 << 63:
        raise ValueError("beyond the time that tlog-cosignature allows")
    return timestamp


def _subtree_message(name: str, timestamp: int, body: str) -> bytes:
    """Return the ``cosigned_message`` of tlog-cosignature for the head in ``body``."""
    head = parse_head(body)
    signer, origin = name.encode(), head.origin.encode()
    return b"".join(
        (
            b"subtree/v1\n\x00",
            *(len(signer).to_bytes(1, "big"), signer, timestamp.to_bytes(8, "big")),
            *(len(origin).to_bytes(1, "big"), origin),
            *(bytes(8), head.size.to_bytes(8, "big"), head.root),
        )
    )
