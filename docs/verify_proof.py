"""Verify that one row stands in a broker's audit trail, with nothing of the broker's.

    python verify_proof.py PROOF PUBLIC-KEYS [RECORD]

PROOF is what `broker audit prove` wrote, PUBLIC-KEYS what `broker audit public-key` printed and
somebody gave you by a way that you trust, and RECORD the record if it is not in the proof.
Needs Python 3.9 and the package `cryptography`; asks no network. Exit codes: 0 it verifies, 1 it
does not, 2 something cannot be read.

What is checked, in this order:

(1) the log's Ed25519 key signed the checkpoint: origin, size and root (C2SP signed-note);
(2) the batch stands in the log at `index`: its path leads to that root (RFC 9162 §2.1.3.2);
(3) the row stands in the batch: its path leads to the root in the batch's statement;
(4) the record hashes to the row's leaf.
"""

import base64
import hashlib
import struct
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

STATEMENT = struct.Struct(">c16sQQQq32s32s")


class Refused(Exception):  # noqa: N818 — an answer
    """It does not verify."""


def main() -> int:
    """Print what is proven."""
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        proof, keys, record = [*(Path(name).read_bytes() for name in sys.argv[1:]), b""][:3]
    except OSError as error:
        print(f"cannot read: {error}", file=sys.stderr)
        return 2
    try:
        # A record is one line; what wrote it to a file may have ended it.
        verify(proof.decode(), keys.decode(), record.removesuffix(b"\n"))
    except Refused as error:
        print(f"REFUSED: {error}", file=sys.stderr)
        return 1
    except (ValueError, IndexError, struct.error):
        print("REFUSED: this is no proof, or not all of one", file=sys.stderr)
        return 1
    return 0


def verify(proof: str, keys: str, record: bytes) -> None:
    """Print what is proven, or raise."""
    head, separator, note = proof.partition("\n\n")
    kind, extra_line, index_line, *path_lines = head.split("\n")
    if kind != "c2sp.org/tlog-proof@v1" or not separator:
        raise Refused("this is no c2sp.org/tlog-proof@v1")
    if not extra_line.startswith("extra ") or not index_line.startswith("index "):
        raise Refused("this is no proof of a row")

    # (1) The text ends before the last empty line, and is signed with its own last line break.
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    origin, size_line, root_line = text.split("\n")[:3]
    if not signatures.endswith("\n") or text != f"{origin}\n{size_line}\n{root_line}\n":
        raise Refused("this is no checkpoint")
    check_signature(origin, text, signatures.split("\n"), keys)
    size, position = number(size_line), number(index_line[len("index ") :])
    root = decode(root_line, 32)

    # (2) A leaf of the log is the hash of a batch's statement.
    extra = decode(extra_line[len("extra ") :])
    statement, rest = extra[: STATEMENT.size], extra[STATEMENT.size :]
    path = [decode(line, 32) for line in path_lines]
    if climb(leaf_of(statement), position, size, path) != root:
        raise Refused("the batch does not stand in the log there")

    # (3) A leaf of the batch is the hash of a record.
    mark, writer, batch, first, last, microseconds, batch_root, _ = STATEMENT.unpack(statement)
    seq, leaf, count = int.from_bytes(rest[:8], "big"), rest[8:40], rest[40]
    hashes = rest[41 : 41 + 32 * count]
    inner = [hashes[at : at + 32] for at in range(0, len(hashes), 32)]
    if mark != b"\x02" or len(hashes) != 32 * count:
        raise Refused("this is no proof of a row")
    if climb(leaf, seq - first, last - first + 1, inner) != batch_root:
        raise Refused("the row does not stand in the batch there")

    # (4) Whichever record there is, and both if there are two.
    within = rest[41 + 32 * count :]
    for one in filter(None, (within, record)):
        if leaf_of(one) != leaf:
            raise Refused("the record is another one")

    at = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=microseconds)
    print(f"log      {origin}, {size} batches, signed by its key")
    print(f"batch    {batch} of writer {UUID(bytes=writer)}, number {position} of the log, {at}")
    print(f"row      {seq}, leaf {leaf.hex()}")
    shown = within or record
    print(f"record   {shown.decode() if shown else 'NOT SHOWN: only its hash is proven'}")


def check_signature(origin: str, text: str, signatures: "list[str]", keys: str) -> None:
    """Return if a key of the log's own name signed the text."""
    for key in keys.split():
        name, identifier, material = key.split("+", 2)  # base64 may have a plus, too
        public = decode(material)
        if name != origin or public[0] != 1:
            continue  # of another log, or not Ed25519
        if hashlib.sha256(name.encode() + b"\n" + public).digest()[:4].hex() != identifier:
            raise Refused("the public key is damaged")
        for line in signatures:
            dash, _, rest = line.partition(" ")
            signer, _, value = rest.partition(" ")
            if dash != "—" or signer != name:
                continue
            signature = decode(value)
            if signature[:4].hex() != identifier:
                continue  # by another kind of key
            try:
                Ed25519PublicKey.from_public_bytes(public[1:]).verify(signature[4:], text.encode())
            except InvalidSignature:
                raise Refused("the signature of the checkpoint does not verify") from None
            return
    raise Refused(f"none of these keys has signed the checkpoint of {origin}")


def climb(leaf: bytes, index: int, size: int, path: "list[bytes]") -> "bytes | None":
    """Return the root that the path leads to from leaf `index` of `size`; None: to none."""
    if not 0 <= index < size:
        return None
    last, found = size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if index % 2 or index == last:
            found = node_of(sibling, found)
            while index % 2 == 0 and index:
                index, last = index >> 1, last >> 1
        else:
            found = node_of(found, sibling)
        index, last = index >> 1, last >> 1
    return found if last == 0 else None


def leaf_of(data: bytes) -> bytes:
    """Return the hash of a record, or of a statement. RFC 6962 §2.1."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_of(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def number(text: str) -> int:
    """Return a number in its one spelling."""
    if str(int(text)) != text:
        raise ValueError("not a number")
    return int(text)


def decode(text: str, length: "int | None" = None) -> bytes:
    """Return what base64 spells, if it is its one spelling and of this length."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text or length not in (None, len(data)):
        raise ValueError("not base64")
    return data


if __name__ == "__main__":
    sys.exit(main())
