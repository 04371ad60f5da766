"""Where boxes stand: each has a place, and none of them stands on another."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from broker.explorer.layout import Box, lay_out, walk

GAP = 10.0

HEIGHTS = st.floats(10, 200)
TREES = st.recursive(
    st.builds(lambda height: Box("", height), HEIGHTS),
    lambda boxes: st.builds(
        lambda height, below: Box("", height, below), HEIGHTS, st.lists(boxes, max_size=5)
    ),
    max_leaves=40,
)


@given(st.lists(TREES, max_size=4))
def test_no_two_boxes_are_nearer_than_the_gap(roots):
    """Boxes of one column in the order of the tree, each below the one before it."""
    height = lay_out(roots, gap=GAP)
    columns = {}
    for box in walk(roots):
        columns.setdefault(box.column, []).append(box)

    for boxes in columns.values():
        for above, below in pairwise(boxes):
            assert above.top + above.height + GAP <= below.top + 1e-6
    assert all(-1e-6 <= box.top and box.top + box.height <= height + 1e-6 for box in walk(roots))


@given(TREES)
def test_a_parent_stands_in_the_middle_of_its_children(root):
    """And one column before them."""
    lay_out([root], gap=GAP)

    for box in walk([root]):
        if box.boxes:
            middle = (box.boxes[0].middle + box.boxes[-1].middle) / 2
            assert abs(middle - box.middle) < 1e-6
        assert all(box.column + 1 == below.column for below in box.boxes)


def test_it_is_no_higher_than_it_need_be():
    """A deep subtree beside a shallow one reaches into the room that is free there."""
    deep = Box("", 10, [Box("", 10), Box("", 10), Box("", 10)])
    shallow = Box("", 10)

    assert 50 == lay_out([deep, shallow], gap=10)
    assert (20, 40) == (deep.top, shallow.top)


def test_a_tree_may_be_as_deep_as_it_likes():
    """Rows that nobody of ours wrote: deeper than Python would call itself."""
    root = box = Box("", 10)
    for _ in range(3000):
        box.boxes.append(Box("", 10))
        box = box.boxes[0]

    assert 10 == lay_out([root], gap=10)
    assert 3000 == box.column


def test_nothing_has_no_height():
    """An empty picture is one as well."""
    assert 0 == lay_out([], gap=10)
