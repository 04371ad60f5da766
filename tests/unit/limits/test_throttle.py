"""Who has to wait after failing to authenticate, and who never has to."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain import source_network
from broker.limits.throttle import SOURCE_FACTOR, FailureThrottle
from broker.settings import Rate
from tests.builders import NOW

RATE = Rate(count=5, per=timedelta(seconds=50))  # one failure is forgiven every 10 s
HOME, AWAY = "192.0.2.1", "198.51.100.9"


@pytest.fixture
def throttle():
    return FailureThrottle(RATE, max_entries=100)


def flood(throttle, client, source, times, *, now=NOW):
    """Fail as often as the throttle lets one, at most so many times; return how often it did."""
    for count in range(times):
        if throttle.check(client, source, now) is not None:
            return count
        throttle.failed(client, source, now)
    return times


@pytest.mark.row("OA-2.3-04")
def test_too_many_failures_have_to_wait(throttle):
    """RFC 6749 §2.3.1: guessing is bounded, and the wait is said in whole seconds."""
    assert 5 == flood(throttle, "svc-a", HOME, 50)
    assert 10 == throttle.check("svc-a", HOME, NOW)
    assert 1 == throttle.check("svc-a", HOME, NOW + timedelta(seconds=9.5))


@pytest.mark.row("OA-2.3-04")
def test_waiting_helps(throttle):
    """After the time that was said, one more attempt is judged; after the whole time, all are."""
    flood(throttle, "svc-a", HOME, 50)

    assert 1 == flood(throttle, "svc-a", HOME, 50, now=NOW + timedelta(seconds=10))
    assert 5 == flood(throttle, "svc-a", HOME, 50, now=NOW + timedelta(seconds=70))


@pytest.mark.row("OA-2.3-04")
def test_a_flood_on_one_client_leaves_the_others_alone(throttle):
    """Also behind the same address, which may be that of a load balancer."""
    flood(throttle, "svc-a", HOME, 1000)

    assert throttle.check("svc-b", HOME, NOW) is None


def test_nobody_is_locked_out_by_somebody_elsewhere(throttle):
    """Whoever knows a client's id can fail in its name, but only at their own address."""
    for host in range(200):
        flood(throttle, "svc-a", f"198.51.100.{host}", 50)

    assert throttle.check("svc-a", HOME, NOW) is None


def test_new_ids_are_no_way_around(throttle):
    """A source that tries another id each time runs out as well."""
    tried = sum(flood(throttle, f"guess-{n}", HOME, 1) for n in range(1000))

    assert RATE.count * SOURCE_FACTOR == tried
    assert throttle.check("svc-b", HOME, NOW) is not None
    assert throttle.check("svc-b", AWAY, NOW) is None


def test_a_bad_neighbour_does_not_shut_out_a_client_that_was_here(throttle):
    """Behind one address, who has authenticated there is judged by its own failures alone."""
    throttle.succeeded("svc-b", HOME)
    for n in range(1000):
        flood(throttle, f"guess-{n}", HOME, 5)

    assert throttle.check("svc-b", HOME, NOW) is None
    assert 5 == flood(throttle, "svc-b", HOME, 50), "but it has no free guesses"


def test_success_forgives_nothing(throttle):
    """An attacker beside the real client must not have its count wiped by it."""
    for _ in range(10):
        flood(throttle, "svc-a", HOME, 1)
        throttle.succeeded("svc-a", HOME)

    assert throttle.check("svc-a", HOME, NOW) is not None


def test_made_up_ids_push_no_real_client_out(throttle):
    """What remembers real clients is filled by success alone."""
    throttle.succeeded("svc-b", HOME)
    for n in range(1000):
        throttle.failed(f"guess-{n}", f"203.0.113.{n % 250}", NOW)
    for n in range(1000):
        throttle.failed(f"guess-{n}", HOME, NOW)

    assert throttle.check("svc-b", HOME, NOW) is None


def test_an_unknown_id_waits_like_a_known_one(throttle):
    """The limit tells nobody which clients exist: it does not know either."""
    assert flood(throttle, "svc-a", HOME, 50) == flood(throttle, "no-such", HOME, 50)


@pytest.mark.row("ATK-DOS-01")
def test_memory_is_bounded(throttle):
    """Ids and addresses are free to make up."""
    for n in range(2000):
        throttle.failed(f"{n}" * 5000, f"2001:db8:{n:x}::1", NOW)
        throttle.succeeded(f"real-{n}", f"2001:db8:{n:x}::1")

    assert 300 == len(throttle)


@pytest.mark.row("OP-06")
def test_a_clock_that_steps_back_locks_nobody_out_and_frees_nobody(throttle):
    """NTP may do that; the wait stays what it was."""
    flood(throttle, "svc-a", HOME, 50)

    assert 10 == throttle.check("svc-a", HOME, NOW - timedelta(hours=1))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("unix:/socket", "unix:/other", False),
        ("", "", True),
    ],
)
def test_one_source_is_what_one_party_holds(one, other, same):
    """Whoever has an IPv6 address has 2^64 of them."""
    assert same == (source_network(one) == source_network(other))


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 20), st.booleans()), max_size=80)
)
def test_never_more_failures_than_the_rate_allows(attempts):
    """In any window: the bucket's size and what was refilled, whatever happens in between."""
    throttle = FailureThrottle(RATE)
    elapsed, failures = 0, {"a": 0, "b": 0}
    for client, pause, succeeds in attempts:
        elapsed += pause
        now = NOW + timedelta(seconds=elapsed)
        if throttle.check(client, HOME, now) is not None:
            continue
        if succeeds:
            throttle.succeeded(client, HOME)
        else:
            throttle.failed(client, HOME, now)
            failures[client] += 1

    assert max(failures.values()) <= RATE.count + elapsed / 10
