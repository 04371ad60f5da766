"""Attack: measure how long a refusal takes, and learn which clients, or tokens, exist.

That equal *work* is done is counted in the unit tests of step 1. Here the time is looked at, with
a statistic that a busy machine does not spoil: each pair of attempts is made back to back, in
alternating order, and it is the *median* of the differences that must vanish in the spread.
"""

import base64
import hashlib
import json
import secrets
import statistics
import time
from datetime import UTC, datetime

import pytest

from broker.blocklist.rule import Rule, Scope
from broker.domain import Credentials
from broker.errors import AuthenticationRejected
from broker.jose.sign import LocalKey, generate_signing_key, sign_compact
from broker.tokens.own import Inactive
from broker.tokens.references import References
from tests.jwts import STRANGERS_KEY, b64url, client_assertion, unverified_claims
from tests.places import asserting, authenticator
from tests.verification import ReferenceMemory, own_jwt, own_tokens, verifier_with

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


def record_of(token: str, key: LocalKey) -> str:
    """What a reference token stands for, as minting signs it; one that anybody may have."""
    header = {
        "alg": key.algorithm,
        "kid": key.kid,
        "typ": "reference+jwt",
        "ath": b64url(hashlib.sha256(token.encode()).digest()),
    }
    return sign_compact(key, header, json.dumps(unverified_claims(own_jwt())).encode())


@pytest.mark.row("ATK-TIM-01", "IN-2.3-02")
async def test_a_reference_token_that_never_was_takes_as_long_as_a_revoked_one():
    """ATK-TIM-01: guessing does not tell which texts were tokens once.

    Each is asked about for the first time: a signature is not verified twice, and whoever asks
    again has asked before.
    """
    table, key, now = ReferenceMemory(), generate_signing_key("ES256"), datetime.now(UTC)
    tokens = own_tokens(
        verifier_with(References(table), key.public_jwk),
        Rule(1, Scope.TXN, "", "root", None, "test", "test", now),
    )
    differences, wholes = [], []
    for number in range(ROUNDS // 3):
        revoked, unknown = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        table[hashlib.sha256(revoked.encode()).digest()] = record_of(revoked, key)
        times = {}
        for token in (revoked, unknown) if number % 2 else (unknown, revoked):
            began = time.perf_counter_ns()
            outcome = await tokens.examine(token, now=now)
            times[token] = time.perf_counter_ns() - began
            assert outcome is (Inactive.REVOKED if token == revoked else Inactive.UNKNOWN)
        differences.append(times[revoked] - times[unknown])
        wholes.append(times[revoked])

    assert abs(statistics.median(differences)) < 0.2 * statistics.median(wholes)
