"""Promises 2.4: nobody can fill a table that cannot be emptied."""

from datetime import timedelta

import pytest

from broker.audit.budget import ALL_SOURCES, RefusalBudget
from broker.errors import Reason
from tests.builders import NOW

MINUTE = timedelta(minutes=1)


def spend(budget, source="192.0.2.1", reason=Reason.CLIENT_UNKNOWN, now=NOW):
    return budget.spend(source, reason, now)


def test_a_source_has_so_many_rows_an_interval():
    """Ours: then its refusals are counted, and in the next interval it has as many again."""
    budget = RefusalBudget(rows=2, per=MINUTE)

    assert [True, True, False, False] == [spend(budget) for _ in range(4)]
    assert spend(budget, now=NOW + MINUTE)


def test_one_source_takes_no_rows_from_another():
    """Ours: a flood from one address hides nothing that comes from elsewhere."""
    budget = RefusalBudget(rows=1, per=MINUTE)

    assert [True, False, True] == [
        spend(budget, source) for source in ("192.0.2.1", "192.0.2.1", "192.0.2.2")
    ]


def test_many_sources_share_a_bound():
    """Ours: an attacker has many addresses, and the table has one disk."""
    budget = RefusalBudget(rows=1, per=MINUTE)
    rows = sum(spend(budget, f"192.0.2.{number}") for number in range(200))
    counted = budget.take_counted()

    assert ALL_SOURCES == rows
    assert counted is not None
    assert 200 - ALL_SOURCES == counted.counts.total()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("2001:db8::1", "2001:db8::2", id="one-64"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", id="mapped-ipv4"),
    ],
)
def test_the_addresses_of_one_holder_are_one_source(one, other):
    """Ours: whoever has a /64 has 2^64 addresses."""
    budget = RefusalBudget(rows=1, per=MINUTE)

    assert [True, False] == [spend(budget, one), spend(budget, other)]


def test_counts_are_by_reason_and_taken_once():
    """Promises 2.4: one row with a count."""
    budget = RefusalBudget(rows=1, per=MINUTE)
    spend(budget)
    for reason in (Reason.CLIENT_UNKNOWN, Reason.REQUEST_MEDIA_TYPE, Reason.CLIENT_UNKNOWN):
        spend(budget, reason=reason, now=NOW + timedelta(seconds=1))
    counted = budget.take_counted()

    assert counted is not None
    assert {"client.unknown": 2, "request.media_type": 1} == dict(counted.counts)
    assert {"192.0.2.1": 3} == dict(counted.sources)
    assert NOW + timedelta(seconds=1) == counted.since
    assert budget.take_counted() is None


def test_what_could_not_be_recorded_is_counted_on():
    """Design 7: there is no mode that drops."""
    budget = RefusalBudget(rows=1, per=MINUTE)
    for _ in range(3):
        spend(budget)
    counted = budget.take_counted()
    assert counted is not None
    spend(budget)
    budget.put_back(counted)
    again = budget.take_counted()

    assert again is not None
    assert {"client.unknown": 3} == dict(again.counts)


@pytest.mark.row("OP-06")
def test_a_clock_that_steps_back_stops_no_row_for_long():
    """Ours: the interval begins anew instead of lasting until the clock has caught up."""
    budget = RefusalBudget(rows=1, per=MINUTE)
    spend(budget)

    assert spend(budget, now=NOW - timedelta(days=1))


def test_memory_is_bounded_by_the_rows():
    """Ours: however many sources, only those that got rows are remembered."""
    budget = RefusalBudget(rows=2, per=MINUTE)
    for number in range(5000):
        spend(budget, f"10.0.{number // 250}.{number % 250}")

    assert len(budget._used) <= 2 * ALL_SOURCES
    assert budget._counted is not None
    assert len(budget._counted.sources) <= 2 * ALL_SOURCES
