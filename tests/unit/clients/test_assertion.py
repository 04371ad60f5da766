"""Client authentication by a signed assertion. RFC 7523 §2.2, §3."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from broker.clients import assertion as module
from broker.clients.assertion import (
    LEEWAY,
    MAX_AHEAD,
    MAX_LIFETIME,
    REPLAY_KIND,
    AssertionVerifier,
    build_stand_ins,
)
from broker.clients.registry import ClientRegistry
from broker.errors import AuthenticationRejected
from broker.jose.compact import parse_compact
from broker.replay import ReplayUnavailable
from broker.settings import Settings
from tests.configuration import document, secret
from tests.jwts import (
    BROKER_ISSUER,
    CLIENT_KEY,
    IDP,
    KEYS,
    STRANGERS_KEY,
    client_assertion,
    public_jwk,
    subject_jwt,
)
from tests.places import (
    ACCEPTED,
    CLIENT,
    TOKEN_ENDPOINT,
    ReplayMemory,
    asserting,
    authenticator,
    keyed,
)

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
ENDPOINT = "svc-jwt-endpoint"
RSA = rsa.generate_private_key(65537, 2048)
ED = ed25519.Ed25519PrivateKey.generate()


async def outcome(assertion: str, using=None, *, now: datetime | None = None, **beside) -> str:
    """``accepted`` and the client's id, or the reason."""
    judge = using or authenticator()
    try:
        found = await judge.authenticate(
            asserting(assertion, **beside), source="192.0.2.1", now=now or datetime.now(UTC)
        )
    except AuthenticationRejected as rejected:
        return rejected.reason.value
    return f"{ACCEPTED} {found.id}"


@pytest.mark.row("CA-3-03", "CA-3-04", "CA-3-05", "CA-3-06", "ATK-AUTH-02", "D-04", "MD-4-01")
@pytest.mark.parametrize(
    ("aud", "strict", "endpoint"),
    [
        pytest.param(BROKER_ISSUER, True, True, id="issuer"),
        pytest.param([BROKER_ISSUER], True, True, id="issuer-in-an-array"),
        pytest.param(TOKEN_ENDPOINT, False, True, id="endpoint"),
        pytest.param([TOKEN_ENDPOINT], False, True, id="endpoint-in-an-array"),
        pytest.param([BROKER_ISSUER, TOKEN_ENDPOINT], False, False, id="both"),
        pytest.param([BROKER_ISSUER, BROKER_ISSUER], False, False, id="issuer-twice"),
        pytest.param([BROKER_ISSUER, "https://other.test"], False, False, id="with-another-server"),
        pytest.param("https://other.test", False, False, id="another-server"),
        pytest.param("https://other.test/token", False, False, id="another-server-s-endpoint"),
        pytest.param([], False, False, id="empty-array"),
        pytest.param([[BROKER_ISSUER]], False, False, id="nested"),
        pytest.param("", False, False, id="empty"),
        pytest.param(None, False, False, id="null"),
        pytest.param(1, False, False, id="number"),
        pytest.param({"aud": BROKER_ISSUER}, False, False, id="object"),
        pytest.param(f"{BROKER_ISSUER}/", False, False, id="trailing-slash"),
        pytest.param(f"{BROKER_ISSUER}:443", False, False, id="port"),
        pytest.param("HTTPS://broker.test", False, False, id="case-of-the-scheme"),
        pytest.param("https://BROKER.test", False, False, id="case-of-the-host"),
        pytest.param("https://broker%2Etest", False, False, id="percent"),
        pytest.param(f"{BROKER_ISSUER}/token/", False, False, id="endpoint-with-a-slash"),
        pytest.param(f"{BROKER_ISSUER}/token?x", False, False, id="endpoint-with-a-query"),
        pytest.param("svc-jwt", False, False, id="itself"),
        pytest.param("*", False, False, id="wildcard"),
    ],
)
async def test_an_assertion_is_for_this_server_alone(aud, strict, endpoint):
    """7523bis: our issuer as the sole value; the endpoint only where the client says so."""
    refused = "client.assertion_audience"
    outcomes = [await outcome(client_assertion(each, aud=aud)) for each in ("svc-jwt", ENDPOINT)]

    assert [
        "accepted svc-jwt" if strict else refused,
        f"accepted {ENDPOINT}" if endpoint else refused,
    ] == outcomes


@pytest.mark.row("CA-3-01", "CA-3-11", "ATK-AUTH-01")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"iss": "svc-jwt-endpoint"}, "client.assertion_invalid", id="iss-of-another"),
        pytest.param({"iss": IDP}, "client.assertion_invalid", id="iss-of-an-issuer"),
        pytest.param({"iss": "SVC-JWT"}, "client.assertion_invalid", id="iss-in-upper-case"),
        pytest.param({"sub": ENDPOINT}, "client.assertion_invalid", id="sub-of-another"),
        pytest.param({"sub": "svc-a"}, "client.method_not_allowed", id="sub-of-one-with-a-secret"),
        pytest.param({"sub": "nobody"}, "client.unknown", id="sub-of-nobody"),
        pytest.param({"iss": "nobody", "sub": "nobody"}, "client.unknown", id="nobody"),
        pytest.param({"key": STRANGERS_KEY}, "client.assertion_invalid", id="a-strangers-key"),
        pytest.param({"key": KEYS[IDP]}, "client.assertion_invalid", id="an-issuers-key"),
    ],
)
async def test_an_assertion_is_of_the_client_and_signed_by_it(changes, expected):
    """RFC 7523 §3 (1), (2), (9): ``iss`` and ``sub`` both, under its own keys."""
    assert expected == await outcome(client_assertion(**changes))


@pytest.mark.row("CA-3-11", "ATK-AUTH-01")
async def test_no_client_signs_for_another():
    """RFC 7523 §3 (9): with its own good key, under the other's name."""
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("svc-jwt", ENDPOINT)}
    clients = [
        each | {"jwks": {"keys": [public_jwk(keys[each["id"]])]}} if each["id"] in keys else each
        for each in document()["clients"]
    ]
    using = authenticator(clients=clients)
    matrix = {
        (name, signer): await outcome(client_assertion(name, key=keys[signer]), using)
        for name in keys
        for signer in keys
    }

    assert {
        (name, signer): f"accepted {name}" if name == signer else "client.assertion_invalid"
        for name in keys
        for signer in keys
    } == matrix


@pytest.mark.row("CA-3-11", "JW-05")
@pytest.mark.parametrize(
    ("alg", "key"),
    [
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("ES384", ec.generate_private_key(ec.SECP384R1())),
        ("ES512", ec.generate_private_key(ec.SECP521R1())),
        ("RS256", rsa.generate_private_key(65537, 2048)),
        ("PS256", rsa.generate_private_key(65537, 2048)),
        ("Ed25519", ed25519.Ed25519PrivateKey.generate()),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ],
    ids=["ES256", "ES384", "ES512", "RS256", "PS256", "Ed25519", "EdDSA"],
)
async def test_a_client_signs_with_the_algorithms_that_are_its_own(alg, key):
    """``clients[].algorithms``: each can be chosen, and none passes that is not."""
    here = keyed(CLIENT, public_jwk(key), algorithms=[alg])
    other = keyed(
        CLIENT, public_jwk(CLIENT_KEY, alg="ES256"), public_jwk(key), algorithms=["ES256"]
    )
    elsewhere = ACCEPTED if alg == "ES256" else "client.assertion_invalid"

    assert ACCEPTED == await here.outcome(CLIENT.make(key=key, alg=alg))
    assert elsewhere == await other.outcome(CLIENT.make(key=key, alg=alg))


@pytest.mark.row("CA-3-10", "ATK-RPL-01", "CVE-2025-46815")
async def test_an_assertion_is_used_once():
    """RFC 7523 §3 (7): the second time it is a replay, and another one is not."""
    using = authenticator()
    first, second = client_assertion(), client_assertion()

    assert [
        "accepted svc-jwt",
        "client.assertion_replayed",
        "accepted svc-jwt",
        "client.assertion_replayed",
    ] == [await outcome(each, using) for each in (first, first, second, first)]


@pytest.mark.row("CA-3-10", "ATK-RPL-01")
@pytest.mark.parametrize(
    ("jti", "other"),
    [
        ("abc", "ABC"),
        ("é", "e\u0301"),
        ("a", "\uff41"),
        ("a", "a "),
        ("1", "01"),
        ("a", "\u0430"),
    ],
)
async def test_a_jti_is_compared_exactly(jti, other):
    """ATK-RPL-01: differing only in case or Unicode it is another; exactly equal it is not."""
    using = authenticator()
    outcomes = [
        await outcome(client_assertion(jti=each), using) for each in (jti, other, jti, other)
    ]

    assert ["accepted svc-jwt"] * 2 + ["client.assertion_replayed"] * 2 == outcomes


@pytest.mark.row("CA-3-10", "ATK-RPL-01")
async def test_fifty_at_once_are_one_success():
    """ATK-RPL-01: whoever comes first; here against one process's memory."""
    using = authenticator()
    assertion = client_assertion()
    outcomes = await asyncio.gather(*(outcome(assertion, using) for _ in range(50)))

    assert (1, 49) == (
        outcomes.count("accepted svc-jwt"),
        outcomes.count("client.assertion_replayed"),
    )


@pytest.mark.row("CA-3-10", "ATK-RPL-01", "INV-9")
async def test_a_jti_is_claimed_for_its_own_client():
    """Two clients may use one jti, and neither uses up the other's."""
    memory = ReplayMemory()
    using = authenticator(memory)
    jti = str(uuid.uuid4())
    outcomes = [
        await outcome(client_assertion(each, jti=jti), using) for each in ("svc-jwt", ENDPOINT)
    ]

    assert ["accepted svc-jwt", f"accepted {ENDPOINT}"] == outcomes
    assert {(REPLAY_KIND, "svc-jwt", jti), (REPLAY_KIND, ENDPOINT, jti)} == set(memory.claimed)


@pytest.mark.row("CA-3-10", "ATK-RPL-01", "ATK-TIME-01")
async def test_a_claim_outlives_the_assertion_on_every_clock():
    """Kept until no process whose clock is within the leeway could still accept it."""
    memory = ReplayMemory()
    assertion = client_assertion(iat=AT, exp=AT + 60)
    await outcome(assertion, authenticator(memory), now=NOW)
    (kept_until,) = memory.claimed.values()
    last = NOW + timedelta(seconds=60) + LEEWAY - timedelta(seconds=1)

    assert NOW + timedelta(seconds=60) + 2 * LEEWAY == kept_until
    assert "client.assertion_replayed" == await outcome(assertion, authenticator(memory), now=last)
    assert "accepted svc-jwt" == await outcome(assertion, authenticator(), now=last)


@pytest.mark.row("CA-3-10")
@pytest.mark.parametrize(
    "changes",
    [
        {"key": STRANGERS_KEY},
        {"aud": "https://other.test"},
        {"exp": 1_600_000_000},
        {"iss": "x"},
        {"header": {"typ": "at+jwt"}},
    ],
    ids=["forged", "for-another", "expired", "of-another", "another-kind"],
)
async def test_only_a_good_assertion_is_spent(changes):
    """Nobody who sees a jti can use it up before its owner does."""
    memory = ReplayMemory()
    using = authenticator(memory)
    jti = str(uuid.uuid4())
    first = await outcome(client_assertion(jti=jti, **changes), using)

    assert not first.startswith(ACCEPTED)
    assert {} == memory.claimed
    assert "accepted svc-jwt" == await outcome(client_assertion(jti=jti), using)


@pytest.mark.row("TX-2.2.2-06", "OP-05")
async def test_without_the_database_nobody_gets_in_by_assertion():
    """Promises §1: fail closed; and it is not counted as a failed attempt."""

    class Unreachable:
        async def claim(self, kind, issuer, jti, expires_at) -> bool:
            raise ReplayUnavailable

    using = authenticator(Unreachable())

    assert "replay.unavailable" == await outcome(client_assertion(), using)
    assert "client.assertion_invalid" == await outcome(client_assertion(key=STRANGERS_KEY), using)


@pytest.mark.row("CA-2.2-01", "ATK-TYP-01")
@pytest.mark.parametrize(
    "assertion",
    [
        pytest.param(lambda: f"{client_assertion()} {client_assertion()}", id="two"),
        pytest.param(lambda: f"{client_assertion()}x.y", id="trailing-text"),
        pytest.param(lambda: "", id="empty"),
        pytest.param(lambda: "x", id="no-jwt"),
        pytest.param(lambda: secret("svc-a"), id="a-secret"),
        pytest.param(subject_jwt, id="a-subject-token"),
        pytest.param(lambda: client_assertion(sub=1), id="sub-is-a-number"),
        pytest.param(lambda: client_assertion(sub=["svc-jwt"]), id="sub-is-an-array"),
    ],
)
async def test_exactly_one_jwt_is_in_an_assertion(assertion):
    """RFC 7523 §2.2: anything else is a failed authentication, like every forgery."""
    assert await outcome(assertion()) in {"client.assertion_invalid", "client.unknown"}


@pytest.mark.row("CA-3-02", "ATK-AUTH-01")
@pytest.mark.parametrize(
    ("client_id", "expected"),
    [
        ("svc-jwt", "accepted svc-jwt"),
        (None, "accepted svc-jwt"),
        (ENDPOINT, "client.assertion_invalid"),
        ("svc-a", "client.assertion_invalid"),
        ("nobody", "client.assertion_invalid"),
        ("SVC-JWT", "client.assertion_invalid"),
        ("svc-jwt ", "client.assertion_invalid"),
        ("", "client.assertion_invalid"),
    ],
)
async def test_a_client_id_beside_it_names_the_same_client(client_id, expected):
    """RFC 7521 §4.2."""
    assert expected == await outcome(client_assertion(), client_id=client_id)


@pytest.mark.row("CA-M-01", "OA-2.3-03")
async def test_the_registered_method_is_the_only_one():
    """RFC 7591 §2: a key that fits does not help a client that is registered with a secret."""
    assert "client.method_not_allowed" == await outcome(client_assertion("svc-a"))


@pytest.mark.row("CA-3-08")
def test_the_bounds_are_those_that_are_promised():
    """RFC 7523 §3: an hour at most, clocks 30 s apart, ``iat`` a minute ahead."""
    assert (30, 60, 3600) == tuple(
        bound.total_seconds() for bound in (LEEWAY, MAX_AHEAD, MAX_LIFETIME)
    )


@pytest.mark.row("ATK-TIM-01", "OA-2.3-06")
@pytest.mark.parametrize("alg", ["ES256", "RS256", "PS384", "Ed25519", "EdDSA"])
def test_for_each_algorithm_in_use_there_is_a_key_that_stands_in(alg):
    """ATK-TIM-01: so an assertion from nobody costs a verification of the same kind."""
    key = {"E": CLIENT_KEY, "R": RSA, "P": RSA}.get(alg[0], CLIENT_KEY)
    key = ED if alg.startswith("Ed") else key
    clients = [
        {
            "id": "k",
            "auth": "private_key_jwt",
            "jwks": {"keys": [public_jwk(key)]},
            "algorithms": [alg],
        }
    ]
    issuers = [each | {"clients": ["*"]} for each in document()["issuers"]]
    settings = Settings.model_validate(document(clients=clients, targets=[], issuers=issuers))
    stand_ins = build_stand_ins(ClientRegistry(settings))

    assert [alg] == list(stand_ins)
    assert 1 == len(stand_ins[alg].candidates(None, alg))


@pytest.mark.row("ATK-TIM-01", "OA-2.3-06")
async def test_a_client_that_does_not_exist_costs_one_verification(monkeypatch):
    """ATK-TIM-01: equal work, counted: unknown, of another method, wrong key, unknown kid."""
    counted = []
    real = module.verify_signature

    def counting(jws, keys, algorithms):
        counted.append(bool(keys.candidates(jws.kid, jws.alg)))
        return real(jws, keys, algorithms)

    monkeypatch.setattr(module, "verify_signature", counting)
    using = authenticator()
    work = []
    for assertion in (
        client_assertion(),
        client_assertion("nobody", key=STRANGERS_KEY),
        client_assertion("svc-a", key=STRANGERS_KEY),
        client_assertion(key=STRANGERS_KEY),
        client_assertion(
            key=STRANGERS_KEY, header={"kid": public_jwk(CLIENT_KEY)["kid"], "typ": "JWT"}
        ),
    ):
        counted.clear()
        await outcome(assertion, using)
        work.append(sum(counted))

    assert [1] * 5 == work


async def test_a_verifier_without_any_stand_in_still_refuses_nobody_alike():
    """Where no client has keys there is nothing to tell apart."""
    verifier = AssertionVerifier(BROKER_ISSUER, TOKEN_ENDPOINT, ReplayMemory(), {})
    with pytest.raises(AuthenticationRejected, match=r"^client\.unknown$"):
        await verifier.verify(parse_compact(client_assertion("nobody")), None, now=NOW)


@pytest.mark.row("CA-3-01")
@pytest.mark.parametrize("claim", ["iss", "sub"])
async def test_the_verifier_itself_looks_at_both_names(claim):
    """RFC 7523 §3 (1), (2): whoever found the client did so before the signature."""
    clients = ClientRegistry(Settings.model_validate(document()))
    verifier = AssertionVerifier(BROKER_ISSUER, TOKEN_ENDPOINT, ReplayMemory(), {})
    jws = parse_compact(client_assertion(iat=AT, exp=AT + 60, **{claim: ENDPOINT}))
    with pytest.raises(AuthenticationRejected, match=r"^client\.assertion_invalid$"):
        await verifier.verify(jws, clients.find("svc-jwt"), now=NOW)
