"""What is remembered: bounded in bytes, and what was used last stays longest."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from broker.cache import OVERHEAD, BoundedCache


@dataclass(frozen=True)
class Text:
    """A value of so many bytes."""

    size: int


def key(number: int) -> bytes:
    return number.to_bytes(2, "big")


def test_the_least_recently_used_goes_first():
    """And being found is being used."""
    cache = BoundedCache(3 * (OVERHEAD + 10))
    for number in range(3):
        cache.keep(key(number), Text(10))
    cache.find(key(0))
    cache.keep(key(3), Text(10))

    assert [True, False, True, True] == [cache.find(key(n)) is not None for n in range(4)]


def test_one_that_is_too_large_pushes_nobody_out():
    """It is not kept."""
    cache = BoundedCache(2 * OVERHEAD)
    cache.keep(key(0), Text(10))
    cache.keep(key(1), Text(2 * OVERHEAD))

    assert (Text(10), None) == (cache.find(key(0)), cache.find(key(1)))


def test_a_second_value_takes_the_place_of_the_first():
    """Also in the count of bytes."""
    cache = BoundedCache(10 * OVERHEAD)
    cache.keep(key(0), Text(100))
    cache.keep(key(0), Text(10))
    cache.drop(key(1))

    assert (1, OVERHEAD + 10) == (len(cache), cache.size)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3 * OVERHEAD), st.booleans())))
def test_it_is_never_larger_than_its_bound(steps):
    """Whatever is kept and dropped, in whichever order."""
    cache = BoundedCache(8 * OVERHEAD)
    for number, size, drop in steps:
        cache.drop(key(number)) if drop else cache.keep(key(number), Text(size))
        kept = [found for n in range(21) if (found := cache.find(key(n))) is not None]

        assert cache.size == sum(each.size + OVERHEAD for each in kept) <= 8 * OVERHEAD
        assert len(cache) == len(kept)
