"""Members of a record, as far as they are what they should be; and records that are none."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.members import (
    find_list,
    find_member,
    find_number,
    find_text,
    find_texts,
    find_time,
)
from broker.audit.reader import UNREADABLE, read_record

RECORD = {
    "text": "a",
    "number": 7,
    "texts": ["a", 1, None, "b"],
    "inner": {"at": "2026-11-24T12:00:00.000000Z", "seconds": 1_795_521_600},
}
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_what_is_there_is_found():
    """By its names, one below the other; times as text and in seconds."""
    assert "a" == find_text(RECORD, "text")
    assert 7 == find_number(RECORD, "number")
    assert ["a", 1, None, "b"] == find_list(RECORD, "texts")
    assert ("a", "b") == find_texts(RECORD, "texts")
    assert NOON == find_time(RECORD, "inner", "at") == find_time(RECORD, "inner", "seconds")


@pytest.mark.parametrize(
    ("find", "nothing"),
    [
        *((find_text, None), (find_number, None), (find_time, None)),
        *((find_list, ()), (find_texts, ())),
    ],
)
@pytest.mark.parametrize("value", [None, True, -1, 10**30, 1.5, "", {}, {"x": 1}], ids=repr)
def test_what_is_of_another_kind_is_not_there(find, nothing, value):
    """As if nobody had written it."""
    assert nothing == find({"it": value}, "it")
    assert nothing == find({"it": value}, "it", "below")
    assert nothing == find({}, "it")


@pytest.mark.parametrize("text", ["2026-11-24T12:00:00", "yesterday", "2026-13-01T00:00:00Z"])
def test_a_time_has_a_zone_and_a_place_in_the_calendar(text):
    """Else nobody knows when it is."""
    assert find_time({"at": text}, "at") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(JSON, st.lists(st.text(), max_size=3))
def test_no_record_is_too_odd_to_be_asked(value, path):
    """Whatever it is, and whatever is asked of it."""
    for find in (find_member, find_text, find_number, find_list, find_texts, find_time):
        find({"it": value}, "it", *path)


@pytest.mark.parametrize("raw", ["", "{", "[]", "null", '"x"', "\ufeff{}"], ids=repr)
def test_a_record_that_is_none_is_unreadable(raw):
    """And keeps nobody from seeing the others."""
    assert {"personal": UNREADABLE} == read_record(raw)


def test_a_record_is_read_as_it_stands():
    """Whoever wrote it."""
    assert {"a": 1} == read_record('{"a":1}')
