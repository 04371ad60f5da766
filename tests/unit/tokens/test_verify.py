"""Step 2 as a whole: what it refuses with, what it may wait for, and that it never breaks."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain import VerifiedToken
from broker.errors import VerificationRejected
from broker.issuers.fetch import FetchFailed, FetchFault
from broker.issuers.jwks import CachedKeys
from broker.jose.jwk import KeySet, load_keys
from broker.settings import Settings
from broker.tokens.references import References
from broker.tokens.verify import TokenVerifier
from tests.builders import client, token_exchange_request
from tests.configuration import document
from tests.jwts import ABSENT, ACTS, IDP, KEYS, public_jwk, subject_jwt
from tests.places import ACCEPTED, ACTOR, PLACES, SUBJECT
from tests.verification import REFERENCE_TABLE, actor, own_jwt, refused, registry, subject, verifier

KEYS_OF_IDP = load_keys({"keys": [public_jwk(KEYS[IDP])]}, ["ES256"])


def verifier_with(load) -> TokenVerifier:
    """A verifier whose identity provider publishes its keys by ``load``."""
    configured = Settings.model_validate(document())
    issuers = registry(configured.issuers)
    issuers._sources[IDP] = CachedKeys("idp", load)
    return TokenVerifier(
        issuers,
        issuer=configured.issuer,
        clients=configured.clients,
        targets=configured.targets,
        references=References(REFERENCE_TABLE),
    )


@pytest.mark.row("TX-2.2.2-06", "MD-3.3-01", "ATK-ISS-02")
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        *((fault, "issuer.unavailable") for fault in ("timeout", "unreachable", "tls", "status")),
        *((fault, "issuer.unavailable") for fault in ("not_a_key_set", "no_usable_key")),
        ("issuer_mismatch", "subject_token.issuer_unknown"),
        ("foreign_jwks_uri", "subject_token.issuer_unknown"),
    ],
)
async def test_an_issuer_without_keys_is_an_outage_or_unusable(fault, expected):
    """RFC 8414 §3.3: metadata that is not its own makes it unusable; the rest is a 503."""

    async def load() -> KeySet:
        raise FetchFailed(FetchFault(fault))

    assert expected == await refused(subject(subject_jwt(), verifier=verifier_with(load)))
    # Another issuer is none the worse for it.
    assert ACTS == (await subject(subject_jwt(iss=ACTS), verifier=verifier_with(load))).asserted_by


@pytest.mark.row("ATK-SSRF-02", "ATK-KID-03", "JW-11", "D-12")
@pytest.mark.parametrize(
    ("token", "loads"),
    [
        pytest.param(subject_jwt(), 1, id="a-good-one"),
        pytest.param(subject_jwt(kid="unknown"), 1, id="an-unknown-kid"),
        pytest.param(subject_jwt(iss="https://evil.test"), 0, id="an-unknown-issuer"),
        pytest.param(subject_jwt(iss="https://idp.test/"), 0, id="an-issuer-misspelt"),
        pytest.param(subject_jwt(header={"alg": "none"}), 0, id="alg-none"),
        pytest.param(subject_jwt(header={"alg": "HS256"}), 0, id="an-hmac"),
        pytest.param(subject_jwt(header={"alg": "RS256"}), 0, id="an-algorithm-not-listed"),
        pytest.param(subject_jwt(header={"crit": ["x"]}), 0, id="crit"),
        pytest.param("not.a.token", 0, id="no-token"),
        pytest.param("." * 10**6, 0, id="a-million-dots"),
    ],
)
async def test_nobody_is_asked_for_keys_by_a_token_that_cannot_be_good(token, loads):
    """ATK-SSRF-02: keys are loaded for a configured issuer and an algorithm of its list."""
    asked = []

    async def load() -> KeySet:
        asked.append(1)
        return KEYS_OF_IDP

    using = verifier_with(load)
    for _ in range(3):
        try:
            await subject(token, verifier=using)
        except VerificationRejected as rejected:
            assert "issuer.unavailable" != rejected.reason

    assert loads == len(asked)


@pytest.mark.row("ATK-KID-03")
async def test_keys_that_were_loaded_serve_while_their_issuer_is_away():
    """Promises §1: cached keys serve; what they do not know is an outage, not a forgery."""
    answers = [KEYS_OF_IDP]

    async def load() -> KeySet:
        if answers:
            return answers.pop()
        raise FetchFailed(FetchFault.UNREACHABLE)

    using = verifier_with(load)
    good = [await subject(subject_jwt(), verifier=using) for _ in range(2)]

    assert [IDP, IDP] == [each.asserted_by for each in good]
    assert "subject_token.key_unknown" == await refused(
        subject(subject_jwt(kid="x"), verifier=using)
    )


async def test_no_actor_token_is_no_actor():
    """RFC 8693 §2.1: it is optional, and only absence is absence."""
    request = token_exchange_request()
    found = await verifier().verify_actor(request, client(), now=datetime.now(UTC))

    assert found is None
    assert "actor_token.malformed" == await refused(actor(""))


@pytest.mark.row("TX-2.2.2-01", "TX-2.2.2-02")
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"header": {"crit": ["x"]}}, "malformed"),
        ({"iss": "https://evil.test"}, "issuer_unknown"),
        ({"header": {"alg": "RS256"}}, "algorithm_not_allowed"),
        ({"kid": "x"}, "key_unknown"),
        ({"typ": "dpop+jwt"}, "type_not_accepted"),
        ({"exp": 1_600_000_000}, "expired"),
        ({"iat": 4_000_000_000, "exp": 4_000_000_001}, "not_yet_valid"),
        ({"iat": 1_600_000_000}, "too_old"),
        ({"sub": ABSENT}, "claim_missing"),
        ({"sub": 1}, "claim_invalid"),
        ({"may_act": {"sub": "x"}}, "claim_not_believed"),
        ({"aud": "x"}, "audience_mismatch"),
    ],
)
@pytest.mark.parametrize("place", [SUBJECT, ACTOR], ids=["subject", "actor"])
async def test_each_fault_has_the_same_reason_for_both_tokens(place, fault, expected):
    """RFC 8693 §2.2.2: an actor token is judged as fully as a subject token (TX-2.1-10)."""
    assert f"{place.name}.{expected}" == await place.outcome(place.make(**fault))
    assert ACCEPTED == await place.outcome(place.make())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=4), children, max_size=2)
    ),
    max_leaves=5,
)
CLAIMS = (
    *("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "scope", "azp", "client_id", "act"),
    *("may_act", "delegation_depth", "max_delegation_depth", "txn", "lineage", "sub_id", "events"),
    *("root_iat", "lineage_keys", "lineage_clients"),
)
overrides = st.dictionaries(st.sampled_from(CLAIMS), json_values, min_size=1, max_size=3)


@pytest.mark.row("ATK-JSON-01", "JW-15", "JW-17", "JW-18")
@settings(max_examples=120, deadline=None)
@given(claims=overrides, place=st.sampled_from([place.values[0] for place in PLACES]))
def test_whatever_a_signed_token_says_it_is_accepted_or_refused(claims, place):
    """No claim of any form breaks a step: an exception of another kind would be a 500."""
    token = place.make(**claims) if place.name == "client" else place.make(extra=claims)

    assert asyncio.run(place.outcome(token))


@pytest.mark.row("INV-2", "TX-6-03", "ATK-TIME-01")
@settings(max_examples=120, deadline=None)
@given(
    exp=st.floats(-100, 5000) | st.integers(-100, 5000),
    iat=st.integers(-100_000, 100),
    nbf=st.none() | st.integers(-100, 100),
    own=st.booleans(),
)
def test_what_is_accepted_is_alive_and_rounded_down(exp, iat, nbf, own):
    """Invariant 2: ``now < expires_at <= exp``, for foreign tokens and for ours."""
    now = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
    at = now.timestamp()
    claims = {"exp": at + exp, "iat": at + iat} | ({} if nbf is None else {"nbf": at + nbf})
    claims |= {"nbf": ABSENT} if own and nbf is None else {}
    token = own_jwt(**claims) if own else subject_jwt(**claims)
    try:
        verified = asyncio.run(subject(token, client("svc-b" if own else "svc-a"), now=now))
    except VerificationRejected:
        return
    assert isinstance(verified, VerifiedToken)
    assert at < verified.expires_at.timestamp() <= at + exp
    assert verified.issued_at.timestamp() <= at + 30
    assert nbf is None or nbf <= 30
