"""RFC 6962 §2.1, RFC 9162 §2.1.4: roots and proofs of the log, from O(log n) stored nodes."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.merkle import inclusion_path, is_included, leaf_hash, merkle_root, node_hash
from broker.audit.tree import (
    EMPTY_ROOT,
    Frontier,
    Node,
    consistency_nodes,
    consistency_proof,
    inclusion_nodes,
    inclusion_proof,
    is_consistent,
    node_position,
    root_nodes,
    tree_root,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "merkle.json").read_text())
LEAVES = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]

leaves = st.lists(st.binary(max_size=4), min_size=1, max_size=70).map(
    lambda records: [leaf_hash(record) for record in records]
)


def stored(hashes: list[bytes]) -> dict[int, list[bytes]]:
    """What ``audit_tree`` would hold: the hashes of each position."""
    frontier = Frontier()
    return {position: frontier.append(leaf) for position, leaf in enumerate(hashes)}


def look_up(hashes: list[bytes], nodes: list[Node]) -> dict[Node, bytes]:
    """The nodes that were asked for, where the schema says that they stand."""
    rows = stored(hashes)
    return {node: rows[node_position(node)][node[0]] for node in nodes}


def recursive_consistency(old: int, hashes: list[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF as RFC 6962 §2.1.2 writes it."""
    if old == len(hashes):
        return [] if whole else [merkle_root(hashes)]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    left, right = hashes[:split], hashes[split:]
    if old <= split:
        return [*recursive_consistency(old, left, whole=whole), merkle_root(right)]
    return [*recursive_consistency(old - split, right, whole=False), merkle_root(left)]


@pytest.mark.parametrize("size", [int(size) for size in VECTORS["roots"]])
def test_roots_are_those_of_certificate_transparency(size):
    """RFC 6962 §2.1: the same roots as everybody else's, from stored nodes and at the edge."""
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf)

    assert VECTORS["roots"][str(size)] == frontier.root().hex()
    assert frontier.root() == tree_root(size, look_up(LEAVES, root_nodes(size)))


@pytest.mark.parametrize(
    "vector", VECTORS["consistency"], ids=lambda v: f"{v['old']}-to-{v['size']}"
)
def test_consistency_proofs_are_those_of_certificate_transparency(vector):
    """RFC 6962 §2.1.2: a monitor's own verifier accepts our proofs."""
    old, size = vector["old"], vector["size"]

    proof = consistency_proof(old, size, look_up(LEAVES, consistency_nodes(old, size)))

    assert vector["proof"] == [one.hex() for one in proof]


@given(leaves, st.data())
def test_a_proof_of_inclusion_is_the_recursive_one(hashes, data):
    """RFC 6962 §2.1.1: from stored nodes comes what the definition gives, and it holds."""
    size = data.draw(st.integers(1, len(hashes)))
    index = data.draw(st.integers(0, size - 1))

    proof = inclusion_proof(index, size, look_up(hashes, inclusion_nodes(index, size)))

    assert inclusion_path(hashes[:size], index) == proof
    assert is_included(hashes[index], index, size, proof, merkle_root(hashes[:size]))


@given(leaves, st.data())
def test_a_proof_of_consistency_is_the_recursive_one(hashes, data):
    """RFC 6962 §2.1.2: from stored nodes comes what the definition gives, and it holds."""
    size = data.draw(st.integers(1, len(hashes)))
    old = data.draw(st.integers(1, size))
    roots = merkle_root(hashes[:old]), merkle_root(hashes[:size])

    proof = consistency_proof(old, size, look_up(hashes, consistency_nodes(old, size)))

    assert recursive_consistency(old, hashes[:size]) == proof
    assert is_consistent(old, roots[0], size, roots[1], proof)


@given(leaves, st.data())
def test_nothing_else_is_consistent(hashes, data):
    """RFC 9162 §2.1.4: a history that was changed has no proof, whatever is shown as one."""
    size = data.draw(st.integers(1, len(hashes)))
    old = data.draw(st.integers(1, size))
    before, now = merkle_root(hashes[:old]), merkle_root(hashes[:size])
    proof = consistency_proof(old, size, look_up(hashes, consistency_nodes(old, size)))
    at = data.draw(st.integers(0, old - 1))
    forged = merkle_root([*hashes[:at], leaf_hash(b"another"), *hashes[at + 1 : size]])
    other = leaf_hash(b"another")

    assert not is_consistent(old, before, size, forged, proof)
    assert not is_consistent(old, other, size, now, proof)
    assert not is_consistent(old, before, size, now, [*proof, other])
    assert not is_consistent(old, before, old - 1, now, proof)
    for index in range(len(proof)):
        changed = [*proof[:index], other, *proof[index + 1 :]]
        assert not is_consistent(old, before, size, now, changed)
        assert not is_consistent(old, before, size, now, proof[:index])


@given(leaves)
def test_a_log_goes_on_from_its_edge(hashes):
    """Ours: a sealer that begins in the middle appends what one that saw all of it appends."""
    rows = stored(hashes)
    for size in range(len(hashes) + 1):
        nodes = {node: rows[node_position(node)][node[0]] for node in root_nodes(size)}
        frontier = Frontier(size, nodes)
        assert merkle_root(hashes[:size]) == frontier.root()
        if size < len(hashes):
            assert rows[size] == frontier.append(hashes[size])
            assert size + 1 == frontier.size


@given(st.integers(0, 2**62), st.data())
def test_a_proof_takes_few_look_ups(size, data):
    """Ours: of the largest log that there can be, a proof asks for less than 200 nodes."""
    old = data.draw(st.integers(0, size))
    asked = [root_nodes(size), consistency_nodes(old, size)]
    if size:
        asked.append(inclusion_nodes(min(old, size - 1), size))

    for nodes in asked:
        assert len(nodes) < 200
        assert all(0 <= node_position(node) < size for node in nodes)


def test_the_empty_log_is_the_beginning_of_every_log():
    """RFC 9162 §2.1.4.2 begins at 1: nothing is proven of 0, and only one root is its."""
    assert [] == consistency_proof(0, 8, {})
    assert is_consistent(0, EMPTY_ROOT, 8, merkle_root(LEAVES), [])
    assert is_consistent(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    assert not is_consistent(0, merkle_root(LEAVES), 8, merkle_root(LEAVES), [])
    assert not is_consistent(0, EMPTY_ROOT, 8, merkle_root(LEAVES), [EMPTY_ROOT])
    assert not is_consistent(-1, EMPTY_ROOT, 8, merkle_root(LEAVES), [])


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda: inclusion_nodes(8, 8), id="leaf-beyond-the-tree"),
        pytest.param(lambda: inclusion_nodes(-1, 8), id="leaf-before-the-tree"),
        pytest.param(lambda: consistency_nodes(9, 8), id="old-tree-is-larger"),
        pytest.param(lambda: consistency_nodes(-1, 8), id="old-tree-is-less-than-empty"),
        pytest.param(lambda: root_nodes(-1), id="tree-is-less-than-empty"),
    ],
)
def test_what_is_not_in_a_tree_has_no_proof(ask):
    """Ours: a wrong number is an error, not a proof of something else."""
    with pytest.raises(IndexError):
        ask()


def test_a_node_stands_with_the_leaf_that_completes_it():
    """Ours: where ``audit_tree`` has each node, by the layout that its comment gives."""
    rows = stored(LEAVES)

    assert [1, 2, 1, 3, 1, 2, 1, 4] == [len(rows[position]) for position in range(8)]
    assert node_hash(LEAVES[4], LEAVES[5]) == rows[node_position((1, 2))][1]
    assert merkle_root(LEAVES) == rows[node_position((3, 0))][3]
