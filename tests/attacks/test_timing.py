"""Attack: measure how long a refusal takes, and learn which clients exist.

That equal *work* is done is counted in the unit tests of step 1. Here the time is looked at, with
a statistic that a busy machine does not spoil: each pair of attempts is made back to back, in
alternating order, and it is the *median* of the differences that must vanish in the spread.
"""

import base64
import statistics
import time
from datetime import UTC, datetime

import pytest

from broker.domain import Credentials
from broker.errors import AuthenticationRejected
from tests.jwts import STRANGERS_KEY, client_assertion
from tests.places import asserting, authenticator

ROUNDS = 2500


def basic(client_id: str) -> Credentials:
    """A wrong secret for this client."""
    text = base64.b64encode(f"{client_id}:{'x' * 43}".encode()).decode()
    return Credentials(unverified_authorization=(f"Basic {text}",))


async def spent(using, credentials: Credentials, now: datetime) -> int:
    """How long a refusal takes, in nanoseconds."""
    began = time.perf_counter_ns()
    with pytest.raises(AuthenticationRejected):
        await using.authenticate(credentials, source="192.0.2.1", now=now)
    return time.perf_counter_ns() - began


async def difference(one: Credentials, other: Credentials, rounds: int) -> tuple[float, float]:
    """The median difference of the two, and the median of the first, in nanoseconds."""
    using, now = authenticator(), datetime.now(UTC)
    differences, firsts = [], []
    for number in range(rounds):
        pair = (one, other) if number % 2 else (other, one)
        times = [await spent(using, each, now) for each in pair]
        first, second = times if number % 2 else reversed(times)
        differences.append(first - second)
        firsts.append(first)
    return statistics.median(differences), statistics.median(firsts)


@pytest.mark.row("ATK-TIM-01", "OA-2.3-06")
async def test_an_unknown_client_takes_as_long_as_a_wrong_secret():
    """ATK-TIM-01: over 5,000 samples, the median difference is a small part of the whole."""
    apart, whole = await difference(basic("svc-a"), basic("svc-z"), ROUNDS)

    assert abs(apart) < max(0.25 * whole, 5_000)


@pytest.mark.row("ATK-TIM-01", "OA-2.3-06")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("svc-jwt", "nobody", id="unknown-client"),
        pytest.param("svc-jwt", "svc-a", id="client-with-a-secret"),
    ],
)
async def test_an_assertion_from_nobody_takes_as_long_as_a_forged_one(one, other):
    """ATK-TIM-01: a verification is made in either case, and it is what takes the time."""
    forged, unknown = (
        asserting(client_assertion(each, key=STRANGERS_KEY)) for each in (one, other)
    )
    apart, whole = await difference(forged, unknown, ROUNDS // 3)

    assert abs(apart) < 0.25 * whole
