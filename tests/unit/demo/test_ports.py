"""Which port is chosen when the usual one is taken."""

import socket
from collections.abc import Iterator

import pytest

from broker.demo.ports import choose_port


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of loopback that somebody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_that_is_taken_is_not_chosen(taken: int):
    """Its neighbour is, which is easier to remember than any other."""
    chosen = choose_port(taken)

    assert taken != chosen
    with socket.socket() as server:
        server.bind(("127.0.0.1", chosen))


def test_two_listeners_get_two_ports(taken: int):
    """A port that is free and promised to the other listener is not given twice."""
    first = choose_port(taken)

    assert first != choose_port(taken, taken={first})


def test_without_a_free_neighbour_the_system_chooses(taken: int):
    """However many ports are taken, there is one."""
    neighbours = range(taken, taken + 50)

    assert choose_port(taken, taken=neighbours) not in neighbours
