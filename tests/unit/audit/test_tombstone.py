"""Tombstones: what they say, what they are refused for, and which holes they cover."""

import dataclasses
import json
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.checkpoint import (
    Checkpoint,
    CheckpointRejected,
    sign_checkpoint,
    verify_checkpoint,
)
from broker.audit.checkpoint_key import derive_keys
from broker.audit.event import canonical_json
from broker.audit.merkle import leaf_hash, merkle_root
from broker.audit.outcome import build_administration
from broker.audit.removal import MAX_PART, RemovalBuilder, build_tombstones
from broker.audit.removed import Removed
from broker.audit.spans import Spans, spans_of
from broker.audit.tombstone import (
    Exported,
    Tombstone,
    TombstoneRejected,
    is_tombstone,
    parse_tombstone,
    render_tombstone,
    tombstone_text,
    tombstones_of,
)
from broker.audit.tombstone_note import sign_tombstone, verify_tombstone

RUN, WRITER, OTHER = uuid4(), UUID(int=1), UUID(int=2)
DAY = date(2025, 10, 1)
EXPORTED = Exported("audit-2025-10-01.jsonl", 1234, "ab" * 32)
RULE = timedelta(days=400)


def leaf(seq: int) -> bytes:
    return leaf_hash(b"%d" % seq)


def leaves(*seqs: int) -> dict[int, bytes]:
    return {seq: leaf(seq) for seq in seqs}


def tombstones(builder: RemovalBuilder) -> list[Tombstone]:
    return build_tombstones(RUN, DAY, builder.removals(), EXPORTED, older_than=RULE)


def cut_at_midnight() -> Tombstone:
    """Rows 1 to 5 and 7 to 8 of a writer: its batch of 4 to 9 lost all but 6 and 9."""
    builder = RemovalBuilder()
    builder.add(WRITER, 1, leaves(1, 2, 3), whole=True)
    builder.add(WRITER, 2, leaves(4, 5, 7, 8), whole=False)
    (tombstone,) = tombstones(builder)
    return tombstone


def record_of(tombstone: Tombstone, at: str = "2026-11-26T00:00:00Z") -> dict:
    event = build_administration(
        "audit.retain",
        render_tombstone(tombstone),
        id=str(uuid4()),
        at=datetime.fromisoformat(at),
        by="operator test",
    )
    return json.loads(event.record)


def test_a_tombstone_names_what_was_removed():
    """Partition, rule, intervals, counts, root, cut leaves and export: for whoever reads it."""
    details = render_tombstone(cut_at_midnight())

    assert {
        "run": str(RUN),
        "part": 1,
        "parts": 1,
        "partition": "audit_event_p20251001",
        "since": "2025-10-01T00:00:00.000000Z",
        "until": "2025-10-02T00:00:00.000000Z",
        "older_than": 400 * 86400,
        "rows": 7,
        "export": {"file": "audit-2025-10-01.jsonl", "bytes": 1234, "sha256": "ab" * 32},
        "note": "",
    } == {name: value for name, value in details.items() if name != "removed"}
    (removal,) = details["removed"]
    assert [[1, 5], [7, 8]] == removal["spans"]
    assert [[4, 5], [7, 8]] == removal["cuts"][0]["spans"]


def test_the_root_is_over_the_removed_leaves_in_their_order():
    """RFC 6962 §2.1: whoever has the export can recompute it."""
    expected = merkle_root([leaf(seq) for seq in (1, 2, 3, 4, 5, 7, 8)])

    assert expected == cut_at_midnight().removed[0].root


def test_a_record_gives_the_tombstone_back():
    """What is written is what is read, also through the canonical JSON of a record."""
    tombstone = cut_at_midnight()

    assert [tombstone] == list(tombstones_of([{"kind": "writer"}, record_of(tombstone)]))


def test_other_administration_is_no_tombstone():
    """Only the one action covers a hole."""
    assert not is_tombstone({"kind": "administration", "action": "audit.erase"})
    assert not is_tombstone({"kind": "alert", "action": "audit.retain"})


def changed(path: str, value: object) -> dict:
    """The record of a good tombstone with one member of its details changed, or left out."""
    record = record_of(cut_at_midnight())
    *way, name = path.split(".")
    place = record["details"]
    for step in way:
        place = place[int(step) if step.isdigit() else step]
    key = int(name) if name.isdigit() else name
    if value is None:
        del place[key]
    else:
        place[key] = value
    return record


@pytest.mark.parametrize(
    "record",
    [
        pytest.param({"kind": "administration", "action": "audit.retain"}, id="without-details"),
        pytest.param(changed("run", None), id="without-run"),
        pytest.param(changed("run", "1"), id="run-that-is-no-uuid"),
        pytest.param(changed("part", 2), id="part-beyond-parts"),
        pytest.param(changed("part", True), id="part-that-is-no-number"),
        pytest.param(changed("partition", "audit_event_default"), id="default-partition"),
        pytest.param(changed("partition", "audit_event_p2025101"), id="day-in-another-spelling"),
        pytest.param(changed("until", "2025-12-01T00:00:00.000000Z"), id="longer-than-a-day"),
        pytest.param(changed("older_than", -1), id="rule-in-the-future"),
        pytest.param(changed("older_than", 2**62), id="rule-beyond-time"),
        pytest.param(changed("rows", 6), id="fewer-rows-than-removed"),
        pytest.param(changed("removed.0.rows", 6), id="rows-that-are-not-the-spans"),
        pytest.param(changed("removed.0.spans", [[1, 5], [6, 7]]), id="spans-that-touch"),
        pytest.param(changed("removed.0.spans", [[7, 8], [1, 5]]), id="spans-in-disorder"),
        pytest.param(changed("removed.0.spans", [[0, 5], [8, 8]]), id="row-zero"),
        pytest.param(changed("removed.0.spans", []), id="no-spans"),
        pytest.param(changed("removed.0.spans.0", [1, 2, 3]), id="span-of-three"),
        pytest.param(changed("removed.0.root", "AAAA"), id="root-that-is-no-hash"),
        pytest.param(changed("removed.0.cuts.0.spans", [[4, 2**62]]), id="cut-without-end"),
        pytest.param(changed("removed.0.cuts.0.spans", [[4, 7]]), id="cut-of-rows-that-stay"),
        pytest.param(changed("removed.0.cuts.0.leaves", []), id="cut-without-leaves"),
        pytest.param(changed("removed.0.more", 1), id="unknown-member"),
        pytest.param(changed("export", {}), id="without-export"),
        pytest.param(changed("note", None), id="without-note"),
    ],
)
def test_what_is_not_in_the_form_of_a_tombstone_is_none(record):
    """Deny by default: nothing else covers a hole, and the error repeats nothing of it."""
    with pytest.raises(TombstoneRejected, match="not in the form of a tombstone"):
        parse_tombstone({"at": "2026-11-26T00:00:00Z"} | record)


def test_a_tombstone_before_its_time_is_none():
    """The rule holds for whoever writes tombstones as well: a day younger than it stays."""
    at_the_limit = "2026-11-06T00:00:00Z"  # 400 days after the day was over
    assert parse_tombstone(record_of(cut_at_midnight(), at_the_limit))
    with pytest.raises(TombstoneRejected, match="younger than the rule"):
        parse_tombstone(record_of(cut_at_midnight(), "2026-11-05T23:59:59Z"))


def test_what_is_signed_is_all_of_it():
    """Whatever is changed in a tombstone, the text under its signature is another one."""
    tombstone = cut_at_midnight()
    text = tombstone_text(tombstone, "broker.example.com/audit")

    assert text.startswith("broker.example.com/audit\ntombstone\n")
    assert text == tombstone_text(dataclasses.replace(tombstone, note="signed"), text.split()[0])
    for change in ({"run": uuid4()}, {"rows": 8}, {"removed": ()}, {"older_than": timedelta(1)}):
        assert text != tombstone_text(dataclasses.replace(tombstone, **change), text.split()[0])


KEYS = derive_keys(b"k" * 32, "broker.example.com/audit")


def test_a_signed_tombstone_verifies_under_the_key_of_its_log():
    """The note travels in the record and is verified from there."""
    signed = sign_tombstone(cut_at_midnight(), KEYS)
    (read,) = tombstones_of([record_of(signed)])

    assert signed == read
    verify_tombstone(read, KEYS.public)


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(cut_at_midnight(), id="not-signed"),
        pytest.param(
            sign_tombstone(cut_at_midnight(), derive_keys(b"x" * 32, KEYS.name)), id="by-a-stranger"
        ),
        pytest.param(
            sign_tombstone(cut_at_midnight(), derive_keys(b"k" * 32, "other.example/audit")),
            id="by-the-key-of-another-log",
        ),
        pytest.param(
            dataclasses.replace(sign_tombstone(cut_at_midnight(), KEYS), run=uuid4()),
            id="signature-of-another-tombstone",
        ),
        pytest.param(
            dataclasses.replace(
                cut_at_midnight(),
                note=sign_checkpoint(Checkpoint(KEYS.name, 7, bytes(32)), KEYS, datetime.now(UTC)),
            ),
            id="signature-of-a-checkpoint",
        ),
    ],
)
def test_a_forged_tombstone_is_refused(forged):
    """Whoever may write into the database cannot say that rows were removed in good order."""
    with pytest.raises(TombstoneRejected):
        verify_tombstone(forged, KEYS.public)


def test_a_tombstone_is_never_taken_for_a_checkpoint():
    """One key signs both: neither text can be read as the other."""
    with pytest.raises(CheckpointRejected):
        verify_checkpoint(sign_tombstone(cut_at_midnight(), KEYS).note, KEYS.public)


def test_a_tombstone_covers_the_rows_that_it_names_and_no_other():
    """A hole beside it, or of another writer, stays a hole."""
    removed = Removed()
    removed.add(cut_at_midnight())

    assert [1, 2, 3, 4, 5, 7, 8] == [seq for seq in range(12) if removed.covers(WRITER, seq)]
    assert removed.covers_all(WRITER, 1, 5)
    assert not removed.covers_all(WRITER, 5, 7)
    assert not removed.covers(OTHER, 1)
    assert leaves(4, 5, 7, 8) == removed.leaves(WRITER, 2)
    assert {} == removed.leaves(WRITER, 1)


def test_parts_count_once_all_of_them_are_there():
    """Nothing is dropped before every part is durable, so a part alone covers nothing."""
    first, second = in_two_parts()
    removed = Removed()
    removed.add(second)
    before = removed.covers(WRITER, 1)
    removed.add(first)

    assert (False, True) == (before, removed.covers(WRITER, 1))
    assert (1, first.rows) == (removed.runs, removed.rows)


def in_two_parts() -> list[Tombstone]:
    builder = RemovalBuilder()
    builder.add(WRITER, 1, leaves(1, 2), whole=True)
    builder.add(OTHER, 1, leaves(1), whole=True)
    (whole,) = tombstones(builder)
    return [
        dataclasses.replace(whole, part=part, parts=2, removed=(whole.removed[part - 1],))
        for part in (1, 2)
    ]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"part": 1}, id="a-part-twice"),
        pytest.param({"rows": 4}, id="other-rows"),
        pytest.param({"older_than": timedelta(days=1)}, id="other-rule"),
        pytest.param({"exported": dataclasses.replace(EXPORTED, size=1)}, id="other-export"),
        pytest.param({"removed": ()}, id="rows-that-nobody-names"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(change):
    """One removal, one statement: a part that was slipped in is named."""
    first, second = in_two_parts()
    removed = Removed()
    removed.add(first)

    with pytest.raises(TombstoneRejected):
        removed.add(dataclasses.replace(second, **change))


def test_two_tombstones_with_one_row_agree_on_its_leaf():
    """A batch that was cut twice has one leaf for each row."""
    tombstone = cut_at_midnight()
    cut = dataclasses.replace(tombstone.removed[0].cuts[0], leaves=leaves(4, 5, 7) | {8: leaf(0)})
    other = dataclasses.replace(tombstone.removed[0], cuts=(cut,))
    removed = Removed()
    removed.add(tombstone)

    with pytest.raises(TombstoneRejected, match="another leaf"):
        removed.add(dataclasses.replace(tombstone, run=uuid4(), removed=(other,)))


def test_a_day_of_nothing_but_cuts_is_told_in_records_of_bounded_size():
    """However many batches are cut, no record grows beyond its bound, and none is left out."""
    builder = RemovalBuilder()
    for number in range(1, 21):
        # The worst batch there is: every other row of it stays.
        first = 2048 * number
        builder.add(WRITER, number, leaves(*range(first, first + 2048, 2)), whole=False)
    made = tombstones(builder)
    removed = Removed()
    for tombstone in made:
        removed.add(tombstone)

    sizes = [len(canonical_json(render_tombstone(tombstone))) for tombstone in made]
    assert len(made) > 1
    assert max(sizes) < MAX_PART + 1024
    assert builder.rows == removed.rows == 20 * 1024
    assert removed.covers(WRITER, 2048 * 20)
    assert not removed.covers(WRITER, 2048 * 20 + 1)


def test_an_empty_day_has_its_tombstone():
    """That there was nothing is said as well: the partition is gone with it."""
    (tombstone,) = tombstones(RemovalBuilder())

    assert (0, ()) == (tombstone.rows, tombstone.removed)
    assert [tombstone] == list(tombstones_of([record_of(tombstone)]))


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 8))), st.integers(1, 70))
def test_intervals_are_the_set_of_their_numbers(parts, first):
    """Whatever overlaps or touches is joined, and nothing is covered beyond it."""
    numbers = {seq for start, more in parts for seq in range(start, start + more + 1)}
    spans = Spans((start, start + more) for start, more in parts)

    assert list(spans_of(sorted(numbers))) == list(spans)
    for last in range(first, first + 4):
        assert (set(range(first, last + 1)) <= numbers) == spans.covers(first, last)
