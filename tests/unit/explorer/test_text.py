"""Text of others on one line: it fits, and nothing in it acts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.explorer.text import bounded, fit, measure, plain
from tests.hostile import HOSTILE


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_in_a_line_breaks_it_or_turns_it_around(text):
    """Controls, separators, and what changes the direction of text."""
    assert plain(text).isprintable()


@given(st.text(), st.floats(20, 400), st.booleans())
def test_what_is_too_wide_is_cut_where_it_ends(text, width, mono):
    """And what fits is whole."""
    shown = fit(text, width, size=12, mono=mono)

    assert measure(shown, size=12, mono=mono) <= width
    if measure(plain(text), size=12, mono=mono) <= width:
        assert plain(text) == shown
    else:
        assert shown.endswith("…")


def test_megabytes_are_not_looked_at():
    """A name of any length costs as much as is seen of it."""
    assert "W" * 7 + "…" == fit("W" * 10**7, 100, size=12)


def test_what_is_left_out_is_marked():
    """So that nobody takes a part for the whole."""
    assert "abc…" == bounded("abcd", 3)
    assert "abc" == bounded("abc", 3)
