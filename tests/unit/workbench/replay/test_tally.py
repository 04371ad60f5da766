"""What is found is grouped and counted, in bounded memory, and nothing gets lost in it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.difference import Kind
from broker.workbench.replay.change import Change
from broker.workbench.replay.past import Cause, Lost
from broker.workbench.replay.report import Outcome
from broker.workbench.replay.tally import EXAMPLES, MOST, OTHERS, Tally
from tests.replaying import past, report, tally_of

REFUSED = Change(Kind.REFUSED, "policy.denied")
WIDER = Change(Kind.WIDER_SCOPES, "orders.write")
SHORTER = Change(Kind.SHORTER_LIFE, "120 s → 60 s")
PAST = past()


def test_equal_changes_are_one_group_with_days_and_examples() -> None:
    """Who asks, for what, what changes, how often on which day, and rows to look at."""
    tally = Tally()
    for number in range(9):
        day = f"2026-11-2{number % 3 + 1}T12:00:00.000000Z"
        tally.add(replace(PAST, id=f"row-{number}", at=day), (REFUSED,))

    (group,) = tally.groups
    assert (group.client, group.target, group.kind, group.count) == (
        *("svc-a", "svc-b", Kind.REFUSED, 9),
    )
    assert dict(group.days) == {"2026-11-21": 3, "2026-11-22": 3, "2026-11-23": 3}
    assert [one.id for one in group.examples] == [f"row-{n}" for n in range(EXAMPLES)]
    assert report(tally).per_day(group.count) == 3


def test_a_sample_is_reckoned_up() -> None:
    """Of a tenth of the rows, ten times as many calls a day are meant."""
    assert report(tally_of([REFUSED]), sample=0.1).per_day(1) == pytest.approx(10)


def test_what_widens_comes_first_and_then_what_breaks() -> None:
    """However rare it is."""
    tally = tally_of([SHORTER], [SHORTER], [SHORTER], [REFUSED], [REFUSED], [WIDER])

    assert [group.kind for group in tally.groups] == [
        *(Kind.WIDER_SCOPES, Kind.REFUSED, Kind.SHORTER_LIFE),
    ]


@given(st.lists(st.lists(st.sampled_from([REFUSED, WIDER, SHORTER]), unique=True, max_size=3)))
def test_every_decision_is_counted_once(changes: list[list[Change]]) -> None:
    """As unchanged or as changed; and each of its changes in one group."""
    tally = tally_of(*changes)

    assert tally.decisions == len(changes)
    assert tally.changed == sum(bool(each) for each in changes)
    assert tally.widening == sum(WIDER in each for each in changes)
    assert tally.breaking == sum(REFUSED in each for each in changes)
    assert sum(group.count for group in tally.groups) == sum(map(len, changes))


def test_clients_that_are_many_do_not_fill_the_memory() -> None:
    """Beyond the most they share a group of their kind, and are counted in it."""
    tally = Tally()
    for number in range(MOST + 100):
        tally.add(replace(PAST, client=f"c-{number}", targets="t" * 5000), (REFUSED,))

    groups = tally.groups
    assert len(groups) == MOST + 1
    assert [group.count for group in groups if group.client == OTHERS] == [100]
    assert max(len(group.target) for group in groups) < 300


def test_days_and_revisions_that_are_many_do_not_either() -> None:
    """A clock that is wrong cannot make them endless."""
    tally = Tally()
    for number in range(1000):
        moment = f"{1000 + number}-01-01T00:00:00.000000Z"
        tally.add(replace(PAST, at=moment, revision=str(number)), (REFUSED,))

    assert len(tally.days) == len(tally.groups[0].days) == 400
    assert len(tally.revisions) == 50
    assert tally.groups[0].count == tally.decisions == 1000


@pytest.mark.parametrize(
    ("tally", "whole", "outcome"),
    [
        pytest.param(tally_of([], []), True, Outcome.SAME, id="nothing changes"),
        pytest.param(tally_of([], [SHORTER]), True, Outcome.CHANGES, id="something changes"),
        pytest.param(tally_of([WIDER, SHORTER]), True, Outcome.WIDENS, id="one widens"),
        pytest.param(tally_of(), True, Outcome.UNFINISHED, id="nothing was replayed"),
        pytest.param(tally_of([], []), False, Outcome.UNFINISHED, id="it was given up"),
    ],
)
def test_what_was_not_compared_is_no_clean_result(
    tally: Tally, whole: bool, outcome: Outcome
) -> None:
    """A check that saw nothing does not pass."""
    assert report(tally, whole=whole).outcome is outcome


def test_what_cannot_be_replayed_is_in_the_report() -> None:
    """By its cause."""
    tally = tally_of([])
    tally.lose(Lost(Cause.COUNTED, 40))
    tally.lose(Lost(Cause.ERASED))
    tally.lose(Lost(Cause.ERASED))

    assert report(tally).render()["not_replayable"] == {"counted": 40, "erased": 2}
