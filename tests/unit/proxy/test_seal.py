"""Tokens that leave the process: only whoever could ask for one can open it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.proxy.key import derive_key
from broker.proxy.seal import Seal, Unsealable

SHARED = bytes(range(32))
PARTS = st.lists(st.lists(st.binary(max_size=4), max_size=3), max_size=3)
REQUEST = [[b"checkout", b"s3cret"], [b"orders.read"]]


@given(PARTS, st.binary(max_size=100))
def test_the_same_request_opens_it_in_every_process(parts, plain):
    """With the same shared secret."""
    assert plain == Seal(SHARED).open(parts, Seal(SHARED).seal(parts, plain))


@given(PARTS, PARTS)
def test_no_other_request_opens_it_or_finds_it(one, other):
    """Another secret, client, scope or whatever."""
    seal = Seal(SHARED)
    opened = True
    try:
        seal.open(other, seal.seal(one, b"token"))
    except Unsealable:
        opened = False

    assert (one == other) == opened == (seal.place(one) == seal.place(other))


def test_with_another_shared_secret_it_is_nothing():
    """Nor does it stand in the same place."""
    seal, other = Seal(SHARED), Seal(bytes(32))

    assert seal.place(REQUEST) != other.place(REQUEST)
    with pytest.raises(Unsealable):
        other.open(REQUEST, seal.seal(REQUEST, b"token"))


@given(st.integers(0, 60), st.integers(1, 255))
def test_a_byte_that_was_changed_closes_it(index, change):
    """Whichever."""
    sealed = bytearray(Seal(SHARED).seal(REQUEST, b"a token of some length, thirty bytes"))
    sealed[index % len(sealed)] ^= change
    with pytest.raises(Unsealable):
        Seal(SHARED).open(REQUEST, bytes(sealed))


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x01" * 13, b"\x02" * 60, b"x" * 60])
def test_what_is_no_seal_opens_for_nobody(value):
    """Whatever somebody wrote there."""
    with pytest.raises(Unsealable):
        Seal(SHARED).open(REQUEST, value)


def test_no_two_seals_are_alike_and_none_shows_what_is_in_it():
    """A nonce of its own each; a place that is not the key of the memory."""
    seal = Seal(SHARED)
    first, second = seal.seal(REQUEST, b"token" * 9), seal.seal(REQUEST, b"token" * 9)

    assert first != second
    assert b"token" not in first + second
    assert derive_key(SHARED, REQUEST) != seal.place(REQUEST)
