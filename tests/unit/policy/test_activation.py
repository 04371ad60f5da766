"""What all activations add up to: a stack that a rollback takes from, and one trial beside it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.activation import (
    CONFIGURED,
    Action,
    Activation,
    Mode,
    Share,
    State,
    Trial,
    add_up,
)

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
HALF = Share(percent=50)


def row(
    seq: int,
    revision: str,
    mode: Mode = Mode.ENFORCE,
    action: Action = Action.ACTIVATE,
    share: Share | None = None,
) -> Activation:
    """One row of a ledger."""
    share = share or Share()
    return Activation(
        seq, action, mode, revision, share, "operator", "why", datetime(2026, 1, 1, tzinfo=UTC)
    )


def run(*steps: str) -> State:
    """What is in force after these: ``A`` enforces, ``?A`` observes, ``<`` rolls back."""
    state = State()
    for number, step in enumerate(steps, 1):
        if step == "<":
            back = state.way_back()
            assert back is not None
            made = row(number, back, action=Action.ROLLBACK)
        elif step.startswith("?"):
            made = row(number, step[1:], Mode.OBSERVE)
        else:
            made = row(number, step)
        state = state.after(made)
    return state


@pytest.mark.parametrize(
    ("steps", "live", "trial"),
    [
        pytest.param((), CONFIGURED, None, id="nothing-was-activated"),
        pytest.param((A,), A, None, id="enforced"),
        pytest.param((A, B, "<"), A, None, id="back"),
        pytest.param((A, B, C, "<", "<"), A, None, id="back-twice-is-further-back"),
        pytest.param((A, "<"), CONFIGURED, None, id="back-to-what-is-configured"),
        pytest.param((A, "?" + B), A, B, id="observed"),
        pytest.param((A, "?" + B, "<"), A, None, id="back-from-a-trial-leaves-the-live-one"),
        pytest.param((A, "?" + B, B), B, None, id="enforcing-ends-the-trial"),
        pytest.param((A, "?" + B, C), C, None, id="enforcing-another-ends-it-too"),
        pytest.param((A, "?" + B, B, "<"), A, None, id="back-after-promotion"),
        pytest.param((A, A, "<"), CONFIGURED, None, id="enforced-twice-is-once"),
        pytest.param((A, B, A, "<"), B, None, id="an-old-one-again"),
    ],
)
def test_what_is_in_force(steps, live, trial):
    """The stack and the trial, step by step."""
    state = run(*steps)

    assert live == state.live
    assert trial == (None if state.trial is None else state.trial.revision)
    assert len(steps) == state.seq


def test_at_the_bottom_there_is_no_way_back():
    """What is configured has nothing before it."""
    assert None is State().way_back()


@given(st.lists(st.sampled_from([A, B, C, "?" + A, "?" + B]), max_size=8))
def test_a_rollback_undoes_the_newest_step_exactly(steps):
    """Whatever came before: live policy and way back are those of before the step."""
    state = run(*steps)
    added = "d" * 64

    undone = run(*steps, added, "<")

    assert (state.live, state.enforced) == (undone.live, undone.enforced)
    assert None is undone.trial


@given(st.lists(st.sampled_from([A, B, C, "?" + A, "<"]), max_size=10))
def test_every_process_comes_to_the_same(steps):
    """Reading the rows at once or one after the other is the same, for replicas that join later."""
    rows, state = [], State()
    for number, step in enumerate(steps, 1):
        back = state.way_back()
        if step == "<" and back is None:
            continue
        made = (
            row(number, back or "", action=Action.ROLLBACK)
            if step == "<"
            else row(number, step.lstrip("?"), Mode.OBSERVE if "?" in step else Mode.ENFORCE)
        )
        rows.append(made)
        state = state.after(made)

    assert state == add_up(rows)
    assert state.live == CONFIGURED or state.live in state.needed()


def test_a_ledger_whose_beginning_is_gone_still_says_what_decides():
    """Of very many rows only the newest are read: the way back is shorter, the policy the same."""
    assert A == add_up([row(1001, A, action=Action.ROLLBACK)]).live
    assert A == add_up([row(1001, B), row(1002, A, action=Action.ROLLBACK)]).live


def test_a_trial_has_its_share():
    """Canary by clients and by percentage is part of what is in force."""
    state = State().after(row(1, A, Mode.CANARY, share=HALF))

    assert Trial(A, Mode.CANARY, HALF) == state.trial


CLIENTS = [f"client-{number}" for number in range(2000)]


@pytest.mark.parametrize("percent", [0, 1, 10, 50, 99, 100])
def test_a_percentage_of_clients_is_about_that_many(percent):
    """Spread evenly, whatever the clients are called."""
    chosen = sum(Share(percent).includes(client) for client in CLIENTS)

    assert abs(chosen / len(CLIENTS) - percent / 100) < 0.04
    assert (chosen == 0) == (percent == 0)
    assert (chosen == len(CLIENTS)) == (percent == 100)


@given(st.text(), st.integers(0, 100), st.integers(0, 100))
def test_whoever_is_chosen_stays_chosen_as_the_share_grows(client, percent, more):
    """No client goes back and forth while a canary is widened."""
    low, high = sorted((percent, more))

    assert Share(low).includes(client) <= Share(high).includes(client)


def test_a_client_that_is_named_is_chosen():
    """By its exact id."""
    share = Share(clients=frozenset({"checkout"}))

    assert [True, False] == [share.includes(name) for name in ("checkout", "checkout2")]
