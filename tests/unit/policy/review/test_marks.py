"""Where a member of the data stands."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.review.marks import Marks

FOLDER = Path("p")
_KEYS = st.text("abc.", min_size=1, max_size=4)
_DATA = st.recursive(
    st.text("xyz", max_size=3),
    lambda inner: (
        st.dictionaries(_KEYS, inner, min_size=1, max_size=3)
        | st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=12,
)


def paths(data, path=()):
    """Every member's path."""
    members = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in members if isinstance(data, dict | list) else ():
        yield (*path, key), value
        yield from paths(value, (*path, key))


@given(st.dictionaries(_KEYS, _DATA, min_size=1, max_size=4))
def test_the_line_of_a_member_begins_with_it(data):
    """Whatever the names are, and however deep it stands."""
    text = yaml.safe_dump(data, default_flow_style=False)
    lines = text.splitlines()
    marks = Marks({"broker/x/data.yaml": text.encode()}, FOLDER)

    for path, _ in paths(data):
        file, _, line = marks.find(("broker", "x", *path)).rpartition(":")
        shown = lines[int(line) - 1].replace("- ", "").strip()
        assert "p/broker/x/data.yaml" == file
        if isinstance(path[-1], str):
            assert path[-1] in shown.replace("'", "")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        pytest.param(("broker", "a", "x", "y"), "p/broker/a/data.yaml:2", id="whole"),
        pytest.param(("broker", "a", "x", "z"), "p/broker/a/data.yaml:1", id="nearest"),
        pytest.param(("broker", "a", "q"), "p/broker/a/data.yaml:1", id="the-file"),
        pytest.param(("broker", "b", "x", 1), "p/data.json:1", id="of-the-root"),
        pytest.param(("broker", "b", "x", 7), "p/data.json:1", id="beyond-the-end"),
        pytest.param(("other",), "p/data.json:1", id="nowhere-but-there-is-a-root"),
    ],
)
def test_the_nearest_that_there_is_is_named(path, place):
    """Something that is missing has the line of what it is missing in."""
    files = {
        "broker/a/data.yaml": b"x:\n  y: 1\n",
        "data.json": b'{"broker": {"b": {"x": [1, 2]}}}',
        "broker/a/a.rego": b"package broker.a\n",
    }

    assert place == Marks(files, FOLDER).find(path)


def test_without_a_file_there_is_no_place():
    """A bundle that was built elsewhere has no lines."""
    assert "" == Marks({}, FOLDER).find(("broker", "grants"))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"a: [", id="no-yaml"),
        pytest.param(b"a: \xff", id="no-utf-8"),
        pytest.param(b"", id="empty"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"x" * (3 << 20), id="large"),
    ],
)
def test_a_file_that_cannot_be_read_has_no_members(text):
    """Others say what is wrong with it."""
    marks = Marks({"data.yaml": text}, FOLDER)

    assert marks.find(("a", "b")) in {"", "p/data.yaml:1"}
    assert [] == list(marks.repeats())


def test_a_key_that_stands_twice_is_found_once_for_each_time():
    """YAML keeps the last one and says nothing; aliases are looked at once, also in circles."""
    text = b"a: &a\n  b: 1\n  c: [*a]\n  b: 2\nd: *a\na: 3\n"
    marks = Marks({"data.yaml": text}, FOLDER)

    assert {("p/data.yaml:4", "b"), ("p/data.yaml:6", "a")} == set(marks.repeats())


def test_aliases_of_aliases_cost_nothing():
    """Nine levels of nine are four hundred million members, and one walk."""
    levels = ["a0: &a0 [x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)
    ]
    marks = Marks({"data.yaml": "\n".join(levels).encode()}, FOLDER)

    assert [] == list(marks.repeats())
    assert "p/data.yaml:1" == marks.find(("a9", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
