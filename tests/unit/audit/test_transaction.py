"""A transaction is a tree: each row below the row of the token that was presented."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from broker.audit.transaction import Step, build_steps

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)


def row(number, parent=None, **members):
    return {
        "id": f"t{number}",
        "at": BEGAN + timedelta(seconds=number),
        "parent": parent,
        "outcome": "issued",
        "scopes": ["a"],
        **members,
    }


def ids(steps):
    return [(step.row["id"], ids(step.steps)) for step in steps]


def build(*rows):
    return build_steps(rows, [{} for _ in rows])


def test_each_stands_below_the_token_that_was_exchanged():
    """Two from one, and one of these onwards; a token from elsewhere begins a tree."""
    rows = (row(1, "foreign"), row(2, "t1"), row(3, "t1"), row(4, "t2"), row(5, "elsewhere"))

    assert [
        ("t1", [("t2", [("t4", [])]), ("t3", [])]),
        ("t5", []),
    ] == ids(build(*rows))


def test_a_token_that_was_given_out_again_has_that_below_it():
    """However often, and whatever was exchanged for it; without its row it is a root."""
    rows = (row(1, "x"), row(2, "x", action="reuse"), row(3, "t1"), row(4, "x", action="reuse"))
    records = ({}, {"jti": "t1"}, {}, {"jti": "t1"})
    found = build_steps(rows, records)

    assert [("t1", [("t2", []), ("t3", []), ("t4", [])])] == ids(found)
    assert [None, "t1"] == [found[0].again, found[0].steps[0].again]
    assert [("t2", [])] == ids(build_steps(rows[1:2], records[1:2]))


def test_what_names_itself_or_a_later_one_is_shown_all_the_same():
    """Rows that nobody of ours wrote: no endless tree, and none is left out."""
    rows = (row(1, "t1"), row(2, "t3"), row(3, "t2"))

    assert [("t1", []), ("t2", [("t3", [])])] == ids(build(*rows))


def count(steps):
    return sum(1 + count(step.steps) for step in steps)


@given(st.lists(st.integers(0, 30), max_size=30))
def test_no_row_is_lost_or_shown_twice(parents):
    """Whatever stands as parent."""
    rows = [row(number, f"t{parent}") for number, parent in enumerate(parents)]

    assert len(rows) == count(build(*rows))


def test_what_was_dropped_is_told_where_it_is_known():
    """The presented token's scopes are in the policy's input; of an erased person they are gone."""
    asked = {"personal": {"policy_input": {"subject": {"scopes": ["a", "b"]}}}}

    assert ("b",) == Step(row(1), asked).dropped
    assert () == Step(row(1), {"personal": {"erased": True}}).dropped
    assert () == Step(row(1, outcome="refused"), asked).dropped
