"""RFC 6962 §2.1: the hashes that a record, a batch and a proof are made of."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.merkle import inclusion_path, is_included, leaf_hash, merkle_root, node_hash

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "merkle.json").read_text())
LEAVES = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]

leaves = st.lists(st.binary(max_size=8), min_size=1, max_size=70).map(
    lambda records: [leaf_hash(record) for record in records]
)


def recursive_root(hashes: list[bytes]) -> bytes:
    """The definition as RFC 6962 §2.1 writes it."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(recursive_root(hashes[:split]), recursive_root(hashes[split:]))


@pytest.mark.parametrize("size", [int(size) for size in VECTORS["roots"]])
def test_roots_are_those_of_certificate_transparency(size):
    """RFC 6962 §2.1: the same hashes as everybody else's."""
    assert VECTORS["roots"][str(size)] == merkle_root(LEAVES[:size]).hex()


@pytest.mark.parametrize("vector", VECTORS["paths"], ids=lambda v: f"{v['index']}-of-{v['size']}")
def test_paths_are_those_of_certificate_transparency(vector):
    """RFC 6962 §2.1.1: an auditor's own verifier accepts our proofs."""
    path = inclusion_path(LEAVES[: vector["size"]], vector["index"])

    assert vector["path"] == [node.hex() for node in path]


@given(leaves)
def test_the_root_is_the_recursive_one(hashes):
    """RFC 6962 §2.1: pairing level by level is the split at the largest power of two."""
    assert recursive_root(hashes) == merkle_root(hashes)


@given(leaves, st.data())
def test_every_leaf_is_proven_and_no_other(hashes, data):
    """RFC 9162 §2.1.3: a proof holds for its leaf, at its place, in its tree, and nowhere else."""
    index = data.draw(st.integers(0, len(hashes) - 1))
    root, size = merkle_root(hashes), len(hashes)
    path = inclusion_path(hashes, index)

    assert is_included(hashes[index], index, size, path, root)
    assert not is_included(leaf_hash(b"another record"), index, size, path, root)
    assert not is_included(hashes[index], index, size, [*path, root], root)
    assert not is_included(hashes[index], size, size, path, root)
    if path:
        assert not is_included(hashes[index], index, size, path[:-1], root)


@given(st.binary(max_size=64), st.binary(min_size=32, max_size=32))
def test_no_record_hashes_like_a_node(left, right):
    """RFC 6962 §2.1: without the two prefixes a node could be passed off as a record."""
    assert node_hash(left, right) != leaf_hash(left + right)


def test_there_is_no_path_beyond_the_tree():
    """Ours: a wrong index is an error, not an empty proof."""
    with pytest.raises(IndexError):
        inclusion_path(LEAVES, 8)
