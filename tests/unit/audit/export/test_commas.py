"""CSV: RFC 4180, and nothing in it that a spreadsheet would compute."""

import csv
import io
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.export.columns import COLUMNS, Kind, plain_columns
from broker.audit.export.commas import CommaRows, render_cell

ROW = dict.fromkeys(COLUMNS) | {
    "at": datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    "id": UUID(int=1),
    "kind": "exchange",
    "outcome": "issued",
    "subject": 'Ann "O", Neill\r\nof two lines',
    "actors": ["a", "=b"],
    "targets": [],
    "seq": 12,
    "leaf": b"\x01" * 32,
    "record": '{"kind":"exchange"}',
}


def table(rows, *, opened=False):
    file = io.BytesIO()
    writer = CommaRows(file, opened=opened)
    writer.write(rows)
    writer.close()
    return file.getvalue()


def test_a_row_is_read_back_as_it_was():
    """RFC 4180: names first, CRLF, quotes doubled; a cell may have commas and lines of its own."""
    raw = table([ROW, ROW])
    first, second = csv.DictReader(io.StringIO(raw.decode(), newline=""))

    assert list(COLUMNS) == list(first)
    assert first == second
    assert {
        "at": "2026-01-02T03:04:05.000006Z",
        "id": str(UUID(int=1)),
        "subject": ROW["subject"],
        "actors": '["a","=b"]',
        "targets": "",
        "reason": "",
        "seq": "12",
        "leaf": "01" * 32,
        "record": ROW["record"],
    }.items() <= first.items()
    assert raw.startswith(b"at,id,")
    assert raw.endswith(b"\r\n")


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "\x1f", "\uff1d"])
def test_a_cell_that_could_be_a_formula_is_text(first):
    """CSV injection: a caller names its purpose ``=HYPERLINK(…)``, an auditor opens the file."""
    assert f"'{first}1+1" == render_cell(f"{first}1+1", Kind.TEXT)


@given(st.text())
def test_no_cell_begins_like_a_formula(text):
    """Whatever stands in a column, of whoever's making."""
    cell = render_cell(text, Kind.TEXT)

    assert not cell or (cell[0] not in "=+-@" and ord(cell[0]) >= 0x20)
    assert text in {cell, cell[1:]}


def test_no_rows_are_a_table_with_its_names():
    """An empty answer is an answer."""
    assert table([]) == ",".join(COLUMNS).encode() + b"\r\n"


def test_opened_rows_have_plain_values_and_the_record_as_it_was_hashed():
    """With the audit key: persons in their columns, and the leaf still fits its record."""
    opened = {
        "personal": {
            "subject": {"issuer": "https://idp.example.com", "subject": "alice"},
            "actors": [{"issuer": "https://idp.example.com", "subject": "bob"}],
            "source": "192.0.2.1",
        }
    }
    row = plain_columns({**ROW, "subject": "hmac:x", "actors": ["hmac:y"]}, opened)
    (read,) = csv.DictReader(io.StringIO(table([row], opened=True).decode(), newline=""))

    assert ("alice", '["bob"]') == (read["subject"], read["actors"])
    assert '"source":"192.0.2.1"' in read["personal"]
    assert ROW["record"] == read["record"]


@pytest.mark.parametrize("personal", [{"erased": True}, {"sealed": True}, {}, None])
def test_rows_that_cannot_be_opened_keep_their_pseudonyms(personal):
    """What was erased stays so, in every format."""
    row = plain_columns({**ROW, "subject": "hmac:x"}, {"personal": personal})

    assert "hmac:x" == row["subject"]
