"""When a server that fails is left in peace, and when it is tried again."""

import pytest

from broker.circuit import Circuit, State


@pytest.fixture
def clock() -> list[float]:
    """Monotonic seconds, moved by hand."""
    return [0.0]


@pytest.fixture
def circuit(clock: list[float]) -> Circuit:
    """Opens after three failures in a row, for ten seconds."""
    return Circuit(lambda: clock[0], failures=3, cooldown=10.0)


def fail(circuit: Circuit, times: int) -> None:
    """Ask so often, in vain."""
    for _ in range(times):
        assert circuit.admit()
        circuit.failed()


def test_it_opens_after_failures_in_a_row(circuit):
    """Not one earlier."""
    fail(circuit, 2)
    before = circuit.state
    fail(circuit, 1)

    assert [State.CLOSED, State.OPEN] == [before, circuit.state]
    assert not circuit.admit()


def test_a_success_begins_the_count_anew(circuit):
    """In a row."""
    for _ in range(5):
        fail(circuit, 2)
        circuit.succeeded()

    assert State.CLOSED is circuit.state


def test_after_the_cooldown_one_may_ask(circuit, clock):
    """One, however many want to."""
    fail(circuit, 3)
    clock[0] = 9.9
    early = circuit.admit()
    clock[0] = 10.0

    assert [False, True, False, False] == [early, *(circuit.admit() for _ in range(3))]
    assert State.HALF_OPEN is circuit.state


def test_its_success_lets_everybody_ask(circuit, clock):
    """Closed, and the failures before are forgotten."""
    fail(circuit, 3)
    clock[0] = 10.0
    assert circuit.admit()
    circuit.succeeded()
    fail(circuit, 2)

    assert State.CLOSED is circuit.state


def test_its_failure_keeps_the_circuit_open_for_another_cooldown(circuit, clock):
    """One is enough this time."""
    fail(circuit, 3)
    clock[0] = 10.0
    fail(circuit, 1)
    clock[0] = 19.9
    early = circuit.admit()
    clock[0] = 20.0

    assert [False, True] == [early, circuit.admit()]


def test_one_who_leaves_lets_the_next_one_try(circuit, clock):
    """A client that hangs up must not keep the circuit half open for ever."""
    fail(circuit, 3)
    clock[0] = 10.0
    assert circuit.admit()
    circuit.abandoned()

    assert circuit.admit()


def test_one_who_leaves_a_closed_circuit_changes_nothing(circuit):
    """Leaving is no failure of the server."""
    assert circuit.admit()
    circuit.abandoned()

    assert State.CLOSED is circuit.state


def test_a_late_failure_of_many_in_flight_does_not_reset_the_cooldown_to_nothing(circuit, clock):
    """Those that were asking when it opened fail as well; that makes it no shorter."""
    for _ in range(5):
        circuit.admit()
    clock[0] = 1.0
    for _ in range(5):
        circuit.failed()
    clock[0] = 10.9

    assert not circuit.admit()
