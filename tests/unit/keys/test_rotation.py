"""The life of a signing key, over any sequence of transitions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.keys.rotation import (
    KeyRecord,
    KeyState,
    KeyTable,
    Plan,
    Schedule,
    TooEarly,
    due,
    forced_promotion,
    promotion,
    revocation,
    standby_wait,
)

SCHEDULE = Schedule(
    rotate_every=timedelta(days=30),
    publish_before=timedelta(minutes=6),
    publish_after=timedelta(minutes=7),
)
START = datetime(2026, 11, 24, tzinfo=UTC)
PREPARED, ACTIVE, RETIRING, RETIRED = KeyState
ENTERED = {ACTIVE: "activated_at", RETIRING: "retiring_at", RETIRED: "retired_at"}


class LostError(Exception):
    """The plan was made on another state."""


class Keys:
    """What the tables do with a plan: all of it, or nothing."""

    def __init__(self) -> None:
        self.generation = 0
        self.now = START
        self.rows: dict[str, KeyRecord] = {}

    def table(self) -> KeyTable:
        published = tuple(key for key in self.rows.values() if key.state is not RETIRED)
        return KeyTable("ES256", self.generation, self.now, published)

    def apply(self, plan: Plan) -> None:
        if plan.generation != self.generation:
            raise LostError
        rows = dict(self.rows)
        for kid, before, after in plan.changes:
            assert before is rows[kid].state
            entered = {"state": after, ENTERED[after]: self.now}
            rows[kid] = replace(rows[kid], generation=self.generation + 1, **entered)
            assert len([key for key in rows.values() if key.state is ACTIVE]) <= 1
        for state in plan.new:
            kid = f"key-{len(rows)}"
            entered = {} if state is PREPARED else {ENTERED[state]: self.now}
            rows[kid] = KeyRecord(
                kid, "ES256", state, self.generation + 1, created_at=self.now, **entered
            )
        self.rows, self.generation = rows, self.generation + 1


class Life(RuleBasedStateMachine):
    """Time passes, leaders do what is due, operators rotate, and somebody sleeps on a plan."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = Keys()
        self.forced: set[str] = set()
        self.revoked: set[str] = set()
        self.slept_on: Plan | None = None

    @initialize()
    def first_leader(self) -> None:
        self.keys.apply(due(self.keys.table(), SCHEDULE))

    @rule(seconds=st.one_of(st.integers(0, 900), st.integers(0, 40 * 24 * 3600)))
    def pass_time(self, seconds: int) -> None:
        self.keys.now += timedelta(seconds=seconds)

    @rule()
    def do_what_is_due(self) -> None:
        plan = due(self.keys.table(), SCHEDULE)
        if plan:
            self.keys.apply(plan)
            # What was due is done: time stands still, and there is nothing more to do.
            assert not due(self.keys.table(), SCHEDULE)

    @rule()
    def rotate(self) -> None:
        try:
            self.keys.apply(promotion(self.keys.table(), SCHEDULE))
        except TooEarly as error:
            assert error.wait == standby_wait(self.keys.table(), SCHEDULE) > timedelta(0)

    @rule()
    def rotate_forced(self) -> None:
        plan = forced_promotion(self.keys.table(), SCHEDULE)
        self.forced |= {kid for kid, _, after in plan.changes if after is ACTIVE}
        self.keys.apply(plan)

    @precondition(lambda self: self.keys.generation)
    @rule(data=st.data(), usable=st.booleans())
    def revoke(self, data: st.DataObject, usable: bool) -> None:
        table = self.keys.table()
        bad = data.draw(st.sampled_from(table.keys))
        plan = revocation(table, bad.kid, usable=usable)
        before = set(self.keys.rows)
        self.keys.apply(plan)
        retired = {kid for kid, _, after in plan.changes if after is RETIRED}
        self.forced |= {kid for kid, _, after in plan.changes if after is ACTIVE}
        self.forced |= {
            kid for kid in set(self.keys.rows) - before if self.keys.rows[kid].state is ACTIVE
        }
        self.revoked |= retired
        # Gone at once, and nothing else changes: a standby only where it takes over, or cannot.
        assert bad.kid in retired
        assert {bad.kid} == retired or (bad.state is ACTIVE and not usable)
        assert (PREPARED in plan.new) == (bad.state is not RETIRING)

    @rule()
    def sleep_on_a_plan(self) -> None:
        self.slept_on = forced_promotion(self.keys.table(), SCHEDULE)

    @precondition(lambda self: self.slept_on is not None)
    @rule()
    def wake_up(self) -> None:
        before = dict(self.keys.rows)
        if self.slept_on.generation != self.keys.generation:
            with pytest.raises(LostError):
                self.keys.apply(self.slept_on)
            assert before == self.keys.rows  # (4)
        self.slept_on = None

    @invariant()
    def was_published_before_it_signed(self) -> None:
        for key in self.keys.rows.values():
            first = key.kid == "key-0"
            if key.activated_at is not None and not first and key.kid not in self.forced:
                assert key.activated_at - key.created_at >= SCHEDULE.publish_before  # (1)

    @invariant()
    def stays_published_after_it_signed(self) -> None:
        for key in self.keys.rows.values():
            if key.retired_at is not None and key.kid not in self.revoked:
                assert key.retired_at - key.retiring_at >= SCHEDULE.publish_after  # (2)

    @invariant()
    def one_signs_and_one_stands_by(self) -> None:
        states = [key.state for key in self.keys.rows.values()]
        if self.keys.generation:
            assert (1, 1) == (states.count(ACTIVE), states.count(PREPARED))  # (3)

    @invariant()
    def a_state_is_never_entered_again(self) -> None:
        for key in self.keys.rows.values():
            times = (key.created_at, key.activated_at, key.retiring_at, key.retired_at)
            known = [time for time in times if time is not None]
            assert sorted(known) == known


TestLife = pytest.mark.row("JK-02", "JK-03", "DRILL-9", "DRILL-10")(Life.TestCase)
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_first_key_signs_at_once_with_a_standby_beside_it():
    """Nobody can have cached a JWKS with keys of that algorithm."""
    plan = due(KeyTable("ES256", 0, START), SCHEDULE)

    assert Plan("ES256", 0, (), (ACTIVE, PREPARED)) == plan


def test_the_one_that_stops_comes_before_the_one_that_starts():
    """The database lets no two keys of an algorithm be active, at any moment."""
    keys = Keys()
    keys.apply(due(keys.table(), SCHEDULE))
    keys.now += SCHEDULE.rotate_every
    plan = due(keys.table(), SCHEDULE)

    assert (("key-0", ACTIVE, RETIRING), ("key-1", PREPARED, ACTIVE)) == plan.changes
    assert (PREPARED,) == plan.new


def test_too_early_says_how_much_longer():
    """An operator reads when to come back."""
    keys = Keys()
    keys.apply(due(keys.table(), SCHEDULE))
    keys.now += timedelta(minutes=1)
    with pytest.raises(TooEarly) as caught:
        promotion(keys.table(), SCHEDULE)

    assert timedelta(minutes=5) == caught.value.wait


def test_without_an_active_key_the_standby_still_has_to_have_been_published():
    """No transition of ours leaves that behind; a token that verifiers refuse helps nobody."""
    standby = KeyRecord("key-1", "ES256", PREPARED, 1, created_at=START)
    table = KeyTable("ES256", 1, START, (standby,))
    late = replace(table, at=START + SCHEDULE.publish_before)

    assert not due(table, SCHEDULE)
    assert (("key-1", PREPARED, ACTIVE),) == due(late, SCHEDULE).changes


def test_a_missing_standby_is_made():
    """And does not sign in the same breath."""
    active = KeyRecord("key-0", "ES256", ACTIVE, 1, created_at=START, activated_at=START)
    table = KeyTable("ES256", 1, START + SCHEDULE.rotate_every, (active,))

    assert Plan("ES256", 1, (), (PREPARED,)) == due(table, SCHEDULE)


def table_of(*states: KeyState) -> KeyTable:
    keys = tuple(
        KeyRecord(f"key-{number}", "ES256", state, 7, created_at=START, activated_at=START)
        for number, state in enumerate(states)
    )
    return KeyTable("ES256", 7, START, keys)


@pytest.mark.row("JK-03", "DRILL-10")
@pytest.mark.parametrize(
    ("table", "usable", "changes", "new"),
    [
        pytest.param(
            table_of(ACTIVE, PREPARED, RETIRING),
            True,
            (("key-0", ACTIVE, RETIRED), ("key-1", PREPARED, ACTIVE)),
            (PREPARED,),
            id="the-one-that-signs",
        ),
        pytest.param(
            table_of(PREPARED, ACTIVE),
            True,
            (("key-0", PREPARED, RETIRED),),
            (PREPARED,),
            id="the-standby",
        ),
        pytest.param(
            table_of(RETIRING, ACTIVE, PREPARED),
            True,
            (("key-0", RETIRING, RETIRED),),
            (),
            id="one-that-signed-before",
        ),
        pytest.param(
            table_of(ACTIVE, PREPARED),
            False,
            (("key-0", ACTIVE, RETIRED), ("key-1", PREPARED, RETIRED)),
            (ACTIVE, PREPARED),
            id="with-a-standby-that-does-not-open",
        ),
        pytest.param(
            table_of(ACTIVE),
            False,
            (("key-0", ACTIVE, RETIRED),),
            (ACTIVE, PREPARED),
            id="without-a-standby",
        ),
    ],
)
def test_a_revoked_key_is_retired_at_once(table, usable, changes, new):
    """From whichever state; somebody signs afterwards, and somebody stands by."""
    assert Plan("ES256", 7, changes, new) == revocation(table, "key-0", usable=usable)
