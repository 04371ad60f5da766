"""How new batches are looked for: by what a snapshot of PostgreSQL says that it saw."""

from uuid import UUID

import pytest

from broker.audit.seal_scan import FIND_ALL, FIND_NEW, Scan, Snapshot


@pytest.mark.parametrize(
    ("text", "snapshot"),
    [
        ("10:10:", Snapshot(10, 10, ())),
        ("10:20:10", Snapshot(10, 20, (10,))),
        ("10:20:10,14,15", Snapshot(10, 20, (10, 14, 15))),
    ],
)
def test_a_snapshot_is_read_and_written_as_postgresql_does(text, snapshot):
    """PostgreSQL, pg_snapshot: xmin, xmax, and what ran in between."""
    assert snapshot == Snapshot.parse(text)
    assert text == str(snapshot)


def test_a_horizon_is_a_snapshot_that_saw_everything_below():
    """Ours: after a restart nothing more is known than the oldest that ran."""
    assert Snapshot(7, 7, ()) == Snapshot.before(7)


def test_a_search_goes_on_behind_the_last_batch():
    """Ours: page by page, in the snapshot that it began with."""
    within = Snapshot.parse("30:40:30,33")
    scan = Scan(Snapshot.parse("10:20:10,14"), within)
    writer = UUID(int=5)

    assert FIND_NEW == scan.query(50)[0]
    later = scan.past((25, writer, 3)).query(50)
    assert (25, writer, 3, "30:40:30,33", 50, 20, 40, (10, 14)) == later[1]
    everything = Scan(None, within).past((0, writer, 3)).query(50)
    assert (FIND_ALL, (writer, 3, 50)) == everything
