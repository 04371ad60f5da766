"""The tree of the log: roots and proofs from a few of its nodes. RFC 6962 §2.1, RFC 9162 §2.1.4.

A node (level, index) is the root of the complete subtree over the leaves from index·2^level up to
(index + 1)·2^level. It never changes once its last leaf is there, so it is stored with that leaf,
at ``node_position``. Any root and any proof is made of O(log n) of them: ask ``…_nodes`` which,
look them up, and hand them in.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from broker.audit.merkle import merkle_root, node_hash

Node = tuple[int, int]  # (level, index)
EMPTY_ROOT: Final = merkle_root(())
_Range = tuple[int, int]  # leaves from the first number up to before the second


def node_position(node: Node) -> int:
    """Return the position of the leaf that completes a node; there it is ``hashes[level]``."""
    level, index = node
    return ((index + 1) << level) - 1


def root_nodes(size: int) -> list[Node]:
    """Return the nodes that the root of ``size`` leaves is made of, from left to right."""
    return _range_nodes((0, _counted(size)))


def tree_root(size: int, nodes: Mapping[Node, bytes]) -> bytes:
    """Return the root of the first ``size`` leaves."""
    return _range_root((0, _counted(size)), nodes)


def inclusion_nodes(index: int, size: int) -> list[Node]:
    """Return the nodes that prove leaf ``index`` to be among ``size``."""
    return _nodes(_inclusion_ranges(index, size))


def inclusion_proof(index: int, size: int, nodes: Mapping[Node, bytes]) -> list[bytes]:
    """Return the hashes that lead from leaf ``index`` to the root. RFC 6962 §2.1.1."""
    return [_range_root(one, nodes) for one in _inclusion_ranges(index, size)]


def consistency_nodes(old: int, size: int) -> list[Node]:
    """Return the nodes that prove the first ``old`` of ``size`` leaves to be what they were."""
    return _nodes(_consistency_ranges(old, size))


def consistency_proof(old: int, size: int, nodes: Mapping[Node, bytes]) -> list[bytes]:
    """Return the hashes that make both roots. RFC 6962 §2.1.2; none if ``old`` is 0."""
    return [_range_root(one, nodes) for one in _consistency_ranges(old, size)]


def is_consistent(
    old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the tree of ``size`` only adds to the one of ``old``. RFC 9162 §2.1.4.2."""
    if not 0 <= old <= size:
        return False
    if old in {0, size}:
        # The empty tree is the beginning of every tree, and has one root only.
        return not proof and old_root == (root if old == size else EMPTY_ROOT)
    # Where the old tree is complete its root is the first hash, and is not sent.
    hashes = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not hashes:
        return False
    position, last = old - 1, size - 1
    while position % 2:
        position >>= 1
        last >>= 1
    before = now = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if position % 2 or position == last:
            before, now = node_hash(sibling, before), node_hash(sibling, now)
            while position % 2 == 0 and position:
                position >>= 1
                last >>= 1
        else:
            now = node_hash(now, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and before == old_root and now == root


class Frontier:
    """The right edge of a tree: what it takes to go on with it, and no more."""

    def __init__(self, size: int = 0, nodes: Mapping[Node, bytes] | None = None) -> None:
        """Begin with the first ``size`` leaves; ``nodes`` are those of ``root_nodes(size)``."""
        known = nodes or {}
        self._size = size
        self._edge = [known[node] for node in root_nodes(size)]  # complete subtrees, largest first

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._size

    def append(self, leaf: bytes) -> list[bytes]:
        """Add a leaf; returns it and the roots of all subtrees that it completes, by height."""
        hashes = [leaf]
        # As adding 1 in binary: each carry joins two subtrees of one height.
        carry = self._size
        while carry % 2:
            hashes.append(node_hash(self._edge.pop(), hashes[-1]))
            carry >>= 1
        self._edge.append(hashes[-1])
        self._size += 1
        return hashes

    def root(self) -> bytes:
        """Return the root of all leaves so far."""
        return _fold(self._edge)


def _counted(size: int) -> int:
    if size < 0:
        raise IndexError("no tree has less than no leaves")
    return size


def _inclusion_ranges(index: int, size: int) -> list[_Range]:
    """Return what stands beside the way from the root to the leaf, the leaf's sibling first."""
    if not 0 <= index < size:
        raise IndexError("no such leaf")
    start, end = 0, size
    ranges = []
    while end - start > 1:
        split = _split(start, end)
        if index < split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((start, split))
            start = split
    return ranges[::-1]


def _consistency_ranges(old: int, size: int) -> list[_Range]:
    """Return what makes both roots: SUBPROOF of RFC 6962 §2.1.2, from its end to its beginning."""
    if not 0 <= old <= size:
        raise IndexError("the old tree is larger than the new one")
    if old == 0:
        return []
    start, end = 0, size
    ranges = []
    while end != old:
        split = _split(start, end)
        if old <= split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((start, split))
            start = split
    if start:
        ranges.append((start, end))
    return ranges[::-1]


def _split(start: int, end: int) -> int:
    """Return where RFC 6962 splits: after the largest power of two that is less than all."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _nodes(ranges: Iterable[_Range]) -> list[Node]:
    return [node for one in ranges for node in _range_nodes(one)]


def _range_nodes(leaves: _Range) -> list[Node]:
    """Return the complete subtrees of a range, largest first; it begins where its largest can."""
    start, end = leaves
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def _range_root(leaves: _Range, nodes: Mapping[Node, bytes]) -> bytes:
    return _fold([nodes[node] for node in _range_nodes(leaves)])


def _fold(subtrees: Sequence[bytes]) -> bytes:
    """Join complete subtrees, largest first: the right ones hang below the left ones."""
    if not subtrees:
        return EMPTY_ROOT
    root = subtrees[-1]
    for left in reversed(subtrees[:-1]):
        root = node_hash(left, root)
    return root
