"""The native export: what is written is read again, and nothing else is read."""

import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.batch import seal_batch
from broker.audit.export.native import (
    MAX_LINE,
    ExportCutShort,
    ExportedBatch,
    ExportedRow,
    ExportedTombstone,
    ExportRejected,
    Footer,
    Header,
    NativeWriter,
    read_native,
)
from broker.audit.merkle import leaf_hash

AT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
RECORDS = [b'{"id":"a","x":",\\"record\\":"}', b'{"id":"b"}', b'{"id":"\xc3\xa9"}']
BATCH = seal_batch(UUID(int=7), None, [leaf_hash(record) for record in RECORDS], AT)
LINES = [
    Header("broker.example.com/audit", None, AT, AT, "a note\n\n— line\n"),
    ExportedBatch(BATCH, 4, (b"p" * 32, b"q" * 32), 3),
    *(ExportedRow(seq, record) for seq, record in enumerate(RECORDS, 1)),
    ExportedTombstone(b'{"action":"audit.retain"}'),
    ExportedBatch(replace(BATCH, number=2, first_seq=4, last_seq=9), 5, (), 0),
]


def export(lines=LINES):
    """The bytes of an export, with its footer."""
    written = io.BytesIO()
    writer = NativeWriter(written.write)
    for line in lines:
        kind = type(line)
        writers = {
            Header: writer.header,
            ExportedTombstone: writer.tombstone,
            ExportedBatch: writer.batch,
            ExportedRow: writer.row,
        }
        writers[kind](line)
    writer.footer()
    return written.getvalue()


def read(raw):
    return list(read_native(io.BytesIO(raw)))


def test_what_is_written_is_read_again():
    """Batch, path, records to the byte; and the footer counts them."""
    *lines, footer = read(export())

    assert lines == LINES
    assert isinstance(footer, Footer)
    assert (2, 3) == (footer.batches, footer.rows)


def test_every_line_is_json_and_holds_the_record_as_it_was_hashed():
    """An auditor's own tools read it: ``jq``, or a few lines of any language."""
    lines = export().splitlines()

    assert all(json.loads(line) for line in lines)
    assert all(record in lines[2 + index] for index, record in enumerate(RECORDS))


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="no-json"),
        pytest.param(b'{"a":\n1}', id="two-lines"),
        pytest.param(b'[{"a":1}]', id="no-object"),
        pytest.param(b'{"a":1},"record":{"b":2}', id="ends-the-line-early"),
        pytest.param(b'{"a":1}}\n{"batches":0}', id="a-line-of-its-own"),
    ],
)
def test_what_is_no_record_is_exported_as_text(record):
    """Somebody changed the database: that is shown and verified, and forges no other line."""
    row = ExportedRow(1, record)
    raw = export([LINES[0], ExportedBatch(BATCH, 0, (), 1), row])

    assert row == read(raw)[2]
    assert b'"text":' in raw.splitlines()[2]


@given(st.integers(min_value=0, max_value=len(export()) - 1))
def test_an_export_cut_anywhere_is_noticed(length):
    """Nobody takes a part for the whole: not at a line's end either."""
    with pytest.raises(ExportCutShort):
        read(export()[:length])


@given(st.integers(min_value=0, max_value=len(export()) - 1), st.integers(1, 255))
def test_a_changed_byte_anywhere_is_noticed(position, change):
    """Damaged on its way, or by hand: the footer has the hash of all before it."""
    raw = bytearray(export())
    raw[position] ^= change
    with pytest.raises(ExportRejected):
        read(bytes(raw))


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        pytest.param(["{}"], 1, id="not-an-export"),
        pytest.param(["[]"], 1, id="no-object"),
        pytest.param(["no json"], 1, id="no-json"),
        pytest.param(['{"format":"broker-audit-export","version":2}'], 1, id="of-the-future"),
        pytest.param(['{"format":"broker-audit-export","version":1}'], 1, id="header-incomplete"),
        pytest.param([None, "{}"], 2, id="neither-batch-nor-footer"),
        pytest.param([None, '{"seq":1,"record":{}}'], 2, id="row-without-batch"),
        pytest.param([None, 1, "{}"], 3, id="batch-without-row"),
        pytest.param([None, 1, '{"seq":0,"record":{}}'], 3, id="seq-zero"),
        pytest.param([None, 1, '{"seq":01,"record":{}}'], 3, id="seq-with-a-zero-before"),
        pytest.param([None, 1, '{"seq":-1,"record":{}}'], 3, id="seq-negative"),
        pytest.param([None, 1, '{"seq":1,"text":7}'], 3, id="text-no-text"),
        pytest.param([None, 1, '{"seq":1,"record":{}'], 3, id="record-unfinished"),
    ],
)
def test_what_is_no_export_is_named_by_its_line(lines, number):
    """Wrong, foreign or half a file: a clear error, and none of its text in it."""
    texts = {None: export().splitlines()[0].decode(), 1: export().splitlines()[1].decode()}
    raw = "".join(f"{texts.get(line, line)}\n" for line in lines).encode()

    with pytest.raises(ExportRejected, match=f"^line {number}: ") as refused:
        read(raw)
    assert not isinstance(refused.value, ExportCutShort)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        pytest.param("root", "AAAA", id="hash-short"),
        pytest.param("hash", "A" * 42 + "B=", id="hash-in-a-second-spelling"),
        pytest.param("previous", 1, id="hash-no-text"),
        pytest.param("number", True, id="number-a-boolean"),
        pytest.param("first_seq", -1, id="number-negative"),
        pytest.param("last_seq", 2**63, id="number-huge"),
        pytest.param("at", "2026-01-02T03:04:05Z", id="time-in-a-second-spelling"),
        pytest.param("at", "2026-01-02T03:04:05.000006", id="time-without-zone"),
        pytest.param("writer", "7", id="writer-no-uuid"),
        pytest.param("writer", None, id="writer-missing"),
    ],
)
def test_a_batch_that_is_none_is_refused(member, value):
    """Each member is read strictly, so that one batch has one line."""
    header, line = export().splitlines()[:2]
    document = json.loads(line)
    document["batch"][member] = value

    with pytest.raises(ExportRejected, match=r"^line 2: "):
        read(header + b"\n" + json.dumps(document).encode() + b"\n")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_whatever_stands_in_a_line_is_refused_in_order(data):
    """Nobody's file ends in a traceback: any member of any line may be anything."""
    lines = [json.loads(line) for line in export().splitlines()]
    line = data.draw(st.sampled_from(lines))
    inner = line.get("batch", line)
    inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(_json)
    with pytest.raises(ExportRejected):
        read("".join(f"{json.dumps(one)}\n" for one in lines).encode())


def test_a_time_beyond_all_times_is_refused():
    """Year 1, to the east of Greenwich, is before the first year."""
    header, *rest = export().splitlines(keepends=True)
    changed = re.sub(rb'"at":"[^"]*"', b'"at":"0001-01-01T00:00:00+14:00"', header)
    with pytest.raises(ExportRejected, match="line 1"):
        read(b"".join((changed, *rest)))


def test_a_line_without_end_is_not_read_into_memory():
    """A file of one endless line costs no more than the longest line there is."""
    with pytest.raises(ExportRejected, match="too long"):
        read(export().splitlines(keepends=True)[0] + b" " * (MAX_LINE + 1))


def test_nothing_may_follow_the_last_line():
    """Two exports in one file are not one."""
    with pytest.raises(ExportRejected, match="something follows"):
        read(export() * 2)


def test_rows_are_not_in_a_repr():
    """A record may hold what identifies a person; a traceback may be logged."""
    assert "record" not in repr(ExportedRow(1, b'{"personal":{}}'))
