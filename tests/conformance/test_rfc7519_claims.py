"""RFC 7519 §4.1: what the registered claims must look like, and when they hold.

Where the places differ it is said: a subject or actor token past its ``exp`` is refused even
within the leeway (what follows from it would be dead on arrival), a client assertion is not.
"""

from datetime import UTC, datetime, timedelta

import pytest

from tests.jwts import ABSENT, compact, public_jwk, unverified_claims
from tests.places import ACCEPTED, ACTOR, CLIENT, PLACES, SUBJECT, at_each_place
from tests.verification import refused, subject

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
TOKENS = [pytest.param(place, id=place.name) for place in (SUBJECT, ACTOR)]
at_each_token = pytest.mark.parametrize("place", TOKENS)


def made(place, **claims) -> str:
    """A good token as of ``NOW``."""
    return place.make(**({"iat": AT - 5, "exp": AT + 60} | claims))


@pytest.mark.row("JW-15", "ATK-TIME-01", "CA-3-07", "GHSA-wxg7-w2v3-w38g")
@at_each_place
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(str(AT + 60), id="text"),
        pytest.param("", id="empty-text"),
        pytest.param("2026-11-24T12:00:00Z", id="iso-8601"),
        pytest.param(True, id="true"),
        pytest.param(False, id="false"),
        pytest.param(None, id="null"),
        pytest.param([AT], id="array"),
        pytest.param({"t": AT}, id="object"),
    ],
)
async def test_s2_a_numeric_date_is_a_number(place, claim, value):
    """RFC 7519 §2: and null is not the absence of a bound."""
    token = made(place, **{claim: value})

    assert place.reason("claim_invalid") == await place.outcome(token, now=NOW)


@pytest.mark.row("JW-15", "ATK-TIME-01", "GHSA-wxg7-w2v3-w38g", "CA-3-07", "CA-3-08")
@at_each_place
@pytest.mark.parametrize(
    "value", [0, -1, -(2**63), 2**63, 2**64 - 1, 1e20, 1e308, 253_402_300_800, -0.5]
)
async def test_s2_an_absurd_expiry_is_refused(place, value):
    """ATK-TIME-01: before 1970, after the year 9999, and whatever a clock cannot hold."""
    outcome = await place.outcome(made(place, exp=value), now=NOW)

    assert outcome in {place.reason("claim_invalid"), place.reason("expired")}


@pytest.mark.row("JW-15", "ATK-TIME-01")
@at_each_place
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e309", "1e400"])
async def test_s2_what_is_no_number_of_json_is_no_token(place, number):
    """RFC 8259 §6."""
    claims = str(unverified_claims(made(place))).replace("'", '"').encode()
    claims = claims.replace(str(AT + 60).encode(), number.encode())
    header = {"alg": "ES256", "kid": public_jwk(place.key)["kid"], "typ": "JWT"}

    assert place.reason("malformed") == await place.outcome(
        compact(header, claims, place.key, "ES256"), now=NOW
    )


@pytest.mark.row("JW-15", "ATK-TIME-01", "INV-2")
async def test_s2_a_fraction_is_legal_and_rounded_down():
    """RFC 7519 §2: a life never grows by rounding."""
    token = made(SUBJECT, exp=AT + 60.5, iat=AT - 5.25)
    verified = await subject(token, now=NOW)

    assert (NOW + timedelta(seconds=60), NOW - timedelta(seconds=6)) == (
        verified.expires_at,
        verified.issued_at,
    )


@pytest.mark.row("GHSA-wxg7-w2v3-w38g", "TX-2.2.2-01", "JW-10")
@at_each_token
@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat"])
async def test_s4_1_no_mandatory_claim_may_be_missing(place, claim):
    """GHSA-wxg7-w2v3-w38g: what is absent is never passed over."""
    reason = "issuer_unknown" if claim == "iss" else "claim_missing"

    assert place.reason(reason) == await place.outcome(made(place, **{claim: ABSENT}), now=NOW)


@pytest.mark.row("CA-3-01", "CA-3-04", "CA-3-07", "CA-3-10", "GHSA-wxg7-w2v3-w38g")
@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("iss", "client.assertion_invalid"),
        ("sub", "client.assertion_invalid"),
        ("aud", "client.assertion_audience"),
        ("exp", "client.assertion_invalid"),
        ("jti", "client.assertion_invalid"),
        ("iat", ACCEPTED),
        ("nbf", ACCEPTED),
    ],
)
async def test_s4_1_no_claim_that_an_assertion_needs_may_be_missing(claim, expected):
    """RFC 7523 §3; ``iat`` and ``nbf`` are its only optional ones."""
    assert expected == await CLIENT.outcome(made(CLIENT, **{claim: ABSENT}), now=NOW)


EDGES = [
    # seconds from now, or None: as in a good token
    ({"exp": AT + 1}, ACCEPTED, ACCEPTED),
    ({"exp": AT + 0.9}, "expired", ACCEPTED),
    ({"exp": AT}, "expired", ACCEPTED),
    ({"exp": AT - 1}, "expired", ACCEPTED),
    ({"exp": AT - 29, "iat": AT - 60}, "expired", ACCEPTED),
    ({"exp": AT - 30, "iat": AT - 60}, "expired", "expired"),
    ({"exp": AT - 31, "iat": AT - 60}, "expired", "expired"),
    ({"nbf": AT}, ACCEPTED, ACCEPTED),
    ({"nbf": AT + 30}, ACCEPTED, ACCEPTED),
    ({"nbf": AT + 30.5}, "not_yet_valid", "not_yet_valid"),
    ({"nbf": AT + 31}, "not_yet_valid", "not_yet_valid"),
    ({"nbf": AT + 300, "exp": AT + 600}, "not_yet_valid", "not_yet_valid"),
    ({"iat": AT + 8}, ACCEPTED, ACCEPTED),
    ({"iat": AT + 30}, ACCEPTED, ACCEPTED),
    ({"iat": AT + 31}, "not_yet_valid", ACCEPTED),
    ({"iat": AT + 60, "exp": AT + 90}, "not_yet_valid", ACCEPTED),
    ({"iat": AT + 61, "exp": AT + 90}, "not_yet_valid", "not_yet_valid"),
    ({"iat": AT + 3600, "exp": AT + 7200}, "not_yet_valid", "not_yet_valid"),
    ({"iat": AT + 20, "exp": AT + 10}, "claim_invalid", "claim_invalid"),
    ({"iat": AT + 10, "exp": AT + 10}, ACCEPTED, "claim_invalid"),
    ({"nbf": AT + 20, "exp": AT + 10}, "claim_invalid", ACCEPTED),
    ({"iat": AT - 3600, "exp": AT + 60}, ACCEPTED, "claim_invalid"),
    ({"iat": AT - 3541, "exp": AT + 60}, ACCEPTED, "claim_invalid"),
    ({"iat": AT - 3540, "exp": AT + 60}, ACCEPTED, ACCEPTED),
    ({"iat": AT - 86_430, "exp": AT + 60}, ACCEPTED, "claim_invalid"),
    ({"iat": AT - 86_431, "exp": AT + 60}, "too_old", "claim_invalid"),
    ({"iat": AT + 31, "nbf": AT - 5}, "not_yet_valid", ACCEPTED),
    ({"iat": AT + 20, "nbf": AT - 5, "exp": AT + 10}, "claim_invalid", "claim_invalid"),
    ({"iat": AT, "exp": AT + 3600}, ACCEPTED, ACCEPTED),
    ({"iat": AT, "exp": AT + 3601}, ACCEPTED, "claim_invalid"),
    ({"iat": AT + 30, "exp": AT + 3630}, ACCEPTED, ACCEPTED),
    ({"iat": AT + 31, "exp": AT + 3631}, "not_yet_valid", "claim_invalid"),
    ({"iat": AT, "exp": AT + 10**9}, ACCEPTED, "claim_invalid"),
]


@pytest.mark.row("JW-16", "ATK-TIME-01", "CA-3-07", "CA-3-08", "CA-3-09", "TX-2.1-31", "INV-2")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("claims", "token", "assertion"),
    [
        pytest.param(
            *edge,
            id=",".join(f"{name}{value - AT:+}" for name, value in edge[0].items()),
        )
        for edge in EDGES
    ],
)
async def test_s4_1_4_to_6_edges_of_time(place, claims, token, assertion):
    """RFC 7519 §4.1.4 to §4.1.6: leeway 30 s; an assertion's ``iat`` may be 60 s ahead."""
    expected = assertion if place is CLIENT else token
    expected = expected if expected == ACCEPTED else place.reason(expected)

    assert expected == await place.outcome(made(place, **claims), now=NOW)


@pytest.mark.row("ATK-TIME-01")
@at_each_place
@pytest.mark.parametrize("step", [-3600, -300, 300, 86_400 * 2])
async def test_s4_1_a_clock_that_is_wrong_accepts_nothing(place, step):
    """Drill 8: a token that was good is refused while the clock is off, and good afterwards."""
    token = made(place)
    off = NOW + timedelta(seconds=step)
    first, again = await place.outcome(token, now=off), await place.outcome(token, now=NOW)

    assert [place.reason("not_yet_valid" if step < 0 else "expired"), ACCEPTED] == [first, again]


AUDIENCES = {
    "absent": ABSENT,
    "null": None,
    "number": 1,
    "true": True,
    "object": {"aud": "svc-a"},
    "empty": "",
    "empty array": [],
    "an empty member": ["svc-a", ""],
    "nested": [["svc-a"]],
    "a number in it": ["svc-a", 1],
    "null in it": ["svc-a", None],
    "over 1 KiB": "a" * 1025,
}


@pytest.mark.row("JW-17", "ATK-AUD-01")
@at_each_token
@pytest.mark.parametrize("value", [pytest.param(v, id=name) for name, v in AUDIENCES.items()])
async def test_s4_1_3_aud_is_a_string_or_an_array_of_strings(place, value):
    """RFC 7519 §4.1.3: a malformed one is refused even if the right value is in it."""
    reason = "claim_missing" if value is ABSENT else "claim_invalid"

    assert place.reason(reason) == await place.outcome(made(place, aud=value), now=NOW)


@pytest.mark.row("JW-18")
@at_each_token
@pytest.mark.parametrize("claim", ["sub", "jti"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="null"),
        pytest.param(1, id="number"),
        pytest.param(True, id="true"),
        pytest.param(["alice"], id="array"),
        pytest.param({"sub": "alice"}, id="object"),
        pytest.param("", id="empty"),
        pytest.param("a" * 1025, id="over-1-kib"),
        pytest.param("é" * 513, id="over-1-kib-in-bytes"),
    ],
)
async def test_s4_1_1_names_are_strings_of_at_most_1_kib(place, claim, value):
    """RFC 7519 §4.1.1, §4.1.2: case-sensitive strings; the cap is ours."""
    token = made(place, **{claim: value})

    assert place.reason("claim_invalid") == await place.outcome(token, now=NOW)


@pytest.mark.row("JW-18", "CA-3-01")
@pytest.mark.parametrize("value", [None, 1, ["svc-jwt"], "", "SVC-JWT", "svc-jwt ", "svc-a"])
@pytest.mark.parametrize("claim", ["iss", "sub"])
async def test_s4_1_1_an_assertion_is_its_clients_own(claim, value):
    """RFC 7523 §3 (1), (2): exactly its id, in both."""
    outcome = await CLIENT.outcome(made(CLIENT, **{claim: value}), now=NOW)

    assert outcome in {
        "client.assertion_invalid",
        "client.unknown",
        "client.method_not_allowed",
    }


@pytest.mark.row("JW-18", "ATK-ISS-01")
@at_each_token
@pytest.mark.parametrize("value", [None, 1, True, ["https://idp.test"], {}, "", "x" * 1025])
async def test_s4_1_1_an_issuer_is_a_known_string(place, value):
    """RFC 8725 §3.8: of another type it is nobody."""
    assert place.reason("issuer_unknown") == await place.outcome(made(place, iss=value), now=NOW)


@pytest.mark.row("CA-3-10")
@pytest.mark.parametrize("value", [None, 1, True, ["x"], {}, "", "x" * 1025])
async def test_s4_1_7_an_assertion_has_a_name_to_be_remembered_by(value):
    """RFC 7523 §3 (7): ours requires it."""
    assert "client.assertion_invalid" == await CLIENT.outcome(made(CLIENT, jti=value), now=NOW)


@pytest.mark.row("TX-6-03", "INV-2")
async def test_s4_1_4_what_is_about_to_expire_has_what_is_left():
    """Invariant 2: never more than the token's own ``exp``."""
    verified = await subject(made(SUBJECT, exp=AT + 1), now=NOW)

    assert NOW + timedelta(seconds=1) == verified.expires_at
    assert "subject_token.expired" == await refused(subject(made(SUBJECT, exp=AT), now=NOW))
