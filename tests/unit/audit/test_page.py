"""Cursors: what they lead to, and what is none."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.page import CursorRejected, Position, parse_cursor, render_cursor

KEY = b"k" * 32
POSITION = Position(datetime(2026, 11, 27, 0, 3, 12, 237697, UTC), UUID(int=7), 4)
CURSOR = render_cursor(POSITION, KEY, b"question")


@given(
    st.timedeltas(timedelta(days=-100_000), timedelta(days=100_000)).map(POSITION.at.__add__),
    st.uuids(),
    st.integers(-(2**63), 2**63 - 1),
    st.binary(),
)
def test_a_cursor_leads_to_where_it_was_made(at, writer, seq, question):
    """To the microsecond, whatever somebody has put into the columns."""
    position = Position(at, writer, seq)

    assert position == parse_cursor(render_cursor(position, KEY, question), KEY, question)


@pytest.mark.parametrize(
    ("text", "key", "question"),
    [
        pytest.param(CURSOR, b"x" * 32, b"question", id="another-key"),
        pytest.param(CURSOR, KEY, b"another", id="another-question"),
        pytest.param(CURSOR, KEY, b"", id="no-question"),
        pytest.param("", KEY, b"question", id="empty"),
        pytest.param(CURSOR[:-4], KEY, b"question", id="cut"),
        pytest.param(CURSOR + "=", KEY, b"question", id="padded"),
        pytest.param(CURSOR + "\n", KEY, b"question", id="line-break"),
        pytest.param("\u0131" * len(CURSOR), KEY, b"question", id="not-ascii"),
        pytest.param("!" * len(CURSOR), KEY, b"question", id="not-base64"),
        pytest.param("A" * 1_000_000, KEY, b"question", id="oversized"),
    ],
)
def test_what_is_no_cursor_leads_nowhere(text, key, question):
    """Forged, foreign, cut, respelled: all alike."""
    with pytest.raises(CursorRejected):
        parse_cursor(text, key, question)


@given(st.integers(0, len(CURSOR) - 1), st.sampled_from("ABab01-_="))
def test_no_character_of_a_cursor_can_be_changed(place, character):
    """Its values are signed, and it has one spelling."""
    changed = CURSOR[:place] + character + CURSOR[place + 1 :]
    if changed != CURSOR:
        with pytest.raises(CursorRejected):
            parse_cursor(changed, KEY, b"question")
