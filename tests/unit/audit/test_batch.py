"""A batch's statement: what its hash and its leaf in the log are over."""

from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.batch import (
    NOTHING_BEFORE,
    STATEMENT_BYTES,
    Batch,
    batch_hash,
    batch_statement,
    parse_statement,
    seal_batch,
)

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
FIRST = seal_batch(UUID(int=1), None, [bytes(32)] * 3, AT)

batches = st.builds(
    lambda writer, number, first, count, at, root: seal_batch(
        writer,
        Batch(writer, number - 1, 1, first - 1, at, root, NOTHING_BEFORE, root),
        [root] * count,
        at,
    ),
    st.uuids(),
    st.integers(2, 2**63 - 1),
    st.integers(2, 2**62),
    st.integers(1, 5),
    st.datetimes(
        AT.replace(year=1970, tzinfo=None),
        AT.replace(year=9999, tzinfo=None),
        timezones=st.just(UTC),
    ),
    st.binary(min_size=32, max_size=32),
)


@given(batches)
def test_the_hash_of_a_batch_is_that_of_its_statement(batch):
    """Ours: links, leaf and proof speak of the same 113 bytes."""
    statement = batch_statement(batch)

    assert STATEMENT_BYTES == len(statement) == 113
    assert b"\x02" == statement[:1]
    assert batch.hash == sha256(statement).digest()
    assert batch == parse_statement(statement)


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(b"", id="empty"),
        pytest.param(batch_statement(FIRST)[:-1], id="cut-short"),
        pytest.param(batch_statement(FIRST) + b"\0", id="too-long"),
        pytest.param(b"\0" + batch_statement(FIRST)[1:], id="mark-of-a-leaf"),
        pytest.param(b"\x02" + bytes(112), id="number-zero"),
        pytest.param(
            batch_statement(FIRST)[:41] + b"\x7f" * 8 + batch_statement(FIRST)[49:],
            id="time-beyond-the-calendar",
        ),
    ],
)
def test_what_no_batch_says_is_refused(statement):
    """Ours: a proof from outside is read without surprises."""
    with pytest.raises(ValueError, match="not the statement of a batch"):
        parse_statement(statement)


def test_every_member_counts():
    """Ours: nothing of a batch can be another without another hash."""
    members = (UUID(int=1), 1, 1, 3, AT, FIRST.root, FIRST.previous)
    others = (UUID(int=2), 2, 2, 4, AT.replace(microsecond=1), bytes(32), bytes([1] * 32))
    hashes = {batch_hash(*members)}
    for at, other in enumerate(others):
        hashes.add(batch_hash(*members[:at], other, *members[at + 1 :]))

    assert FIRST.hash in hashes
    assert 8 == len(hashes)
