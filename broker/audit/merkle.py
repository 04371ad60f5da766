"""Merkle trees over audit records. RFC 6962 §2.1 (RFC 9162 §2.1 has the same hashes).

A leaf is SHA-256(0x00 ‖ record), a node SHA-256(0x01 ‖ left ‖ right): with the two prefixes, no
record can be made that hashes like a node.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"


def leaf_hash(record: bytes) -> bytes:
    """Return the hash of one record."""
    return sha256(_LEAF + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees."""
    return sha256(_NODE + left + right).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over the hashes of leaves, in their order. Of none: SHA-256 of nothing."""
    if not leaves:
        return sha256().digest()
    # Pairing from the left and carrying an odd one up gives RFC 6962's split at the largest
    # power of two, without its recursion.
    level = list(leaves)
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        pairs = iter(level)
        level = [
            sha256(_NODE + left + right).digest() for left, right in zip(pairs, pairs, strict=False)
        ]
        level += odd
    return level[0]


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the hashes that lead from leaf ``index`` (from 0) to the root. RFC 6962 §2.1.1."""
    if not 0 <= index < len(leaves):
        raise IndexError("no such leaf")
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = leaves[:split], leaves[split:]
    if index < split:
        return [*inclusion_path(left, index), merkle_root(right)]
    return [*inclusion_path(right, index - split), merkle_root(left)]


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether ``path`` leads from leaf ``index`` of ``size`` to ``root``. RFC 9162 §2.1.3.2."""
    if not 0 <= index < size:
        return False
    position, last, hashed = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if position % 2 or position == last:
            hashed = node_hash(sibling, hashed)
            while position % 2 == 0 and position:
                position >>= 1
                last >>= 1
        else:
            hashed = node_hash(hashed, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and hashed == root
