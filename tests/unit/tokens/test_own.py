"""Whether a token of ours is active, whoever asks: every state it can be in."""

from datetime import UTC, datetime, timedelta

import pytest

from broker.blocklist.rule import Rule, Scope
from broker.domain import VerifiedToken
from broker.errors import Reason, VerificationRejected
from broker.tokens.own import Inactive, OwnTokens
from broker.tokens.references import References
from broker.tokens.store import ReferencesUnavailable
from tests.fakes import Revoked
from tests.jwts import (
    ABSENT,
    BROKER_ISSUER,
    IDP,
    KEYS,
    jwt,
    public_jwk,
    subject_jwt,
    unverified_claims,
)
from tests.verification import (
    OWN_KEY,
    REFERENCE_TABLE,
    own_jwt,
    own_tokens,
    verifier,
    verifier_with,
)

HOUR = timedelta(hours=1)


async def state(token: str, *rules: Rule, at: timedelta = timedelta()) -> VerifiedToken | Inactive:
    return await own_tokens(None, *rules).examine(token, now=datetime.now(UTC) + at)


def rule(scope: Scope, issuer: str = "", key: str = "", *, after: timedelta | None = None) -> Rule:
    now = datetime.now(UTC)
    return Rule(1, scope, issuer, key, None if after is None else now + after, "t", "t", now)


async def test_an_active_token_is_whole():
    """RFC 7662 §2.2: nobody is asked whom it was meant for."""
    token = await state(own_jwt())

    assert isinstance(token, VerifiedToken)
    assert ("svc-a", ("svc-b",), "idp:alice") == (
        token.client_id,
        token.audiences,
        token.local_subject,
    )


@pytest.mark.row("IN-2.2-08", "CA-D-01", "CVE-2026-1486")
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param({"exp": 1_600_000_000}, Inactive.OUT_OF_TIME, id="expired"),
        pytest.param(
            {"nbf": 4_000_000_000, "exp": 4_000_000_001}, Inactive.OUT_OF_TIME, id="not-yet-valid"
        ),
        pytest.param({"typ": "JWT"}, Inactive.OTHER_TYPE, id="another-typ"),
        pytest.param({"typ": "reference+jwt"}, Inactive.OTHER_TYPE, id="a-record"),
        pytest.param({"client_id": "gone"}, Inactive.REVOKED, id="client-removed"),
        pytest.param(
            {"sub_id": {"format": "iss_sub", "iss": "https://gone.test", "sub": "a"}},
            Inactive.UNKNOWN,
            id="issuer-of-its-origin-removed",
        ),
        pytest.param({"lineage": ABSENT}, Inactive.UNKNOWN, id="no-lineage"),
        pytest.param({"iss": IDP}, Inactive.UNKNOWN, id="another-issuer"),
    ],
)
async def test_each_state_is_told_apart_for_counting(fault, expected):
    """Promises §2.4: a count by cause; the caller sees none of it."""
    assert expected is await state(own_jwt(**fault))


def signed_by_a_trusted_issuer() -> str:
    return jwt(unverified_claims(own_jwt()), key=KEYS[IDP], header={"typ": "at+jwt"})


@pytest.mark.row("IN-2.2-08")
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(subject_jwt, id="a-trusted-issuer-s"),
        pytest.param(signed_by_a_trusted_issuer, id="ours-signed-by-a-trusted-issuer"),
        pytest.param(str, id="empty"),
        pytest.param(lambda: "." * 10**6, id="a-million-dots"),
        pytest.param(lambda: "\ud800" * 43, id="a-lone-surrogate"),
    ],
)
async def test_what_is_no_token_of_ours_is_unknown(make):
    """RFC 7662 §4: whoever else may have signed it, and whatever form it has."""
    assert Inactive.UNKNOWN is await state(make())


@pytest.mark.row("IN-2.2-08", "INV-10")
@pytest.mark.parametrize(
    "revoked",
    [
        pytest.param(rule(Scope.SUBJECT, IDP, "alice", after=HOUR), id="subject"),
        pytest.param(rule(Scope.ACTOR, BROKER_ISSUER, "svc-a", after=HOUR), id="actor"),
        pytest.param(rule(Scope.CLIENT, key="svc-a", after=HOUR), id="client"),
        pytest.param(rule(Scope.ISSUER, IDP, after=HOUR), id="issuer"),
        pytest.param(rule(Scope.TXN, key="root"), id="txn"),
        pytest.param(rule(Scope.ALL, after=HOUR), id="everything"),
    ],
)
async def test_a_revocation_of_any_scope_reaches_it(revoked):
    """Invariant 10: at introspection as at exchange."""
    assert Inactive.REVOKED is await state(own_jwt(), revoked)
    assert isinstance(await state(own_jwt()), VerifiedToken)


@pytest.mark.row("RV-2.2-03", "IN-2.2-08")
async def test_who_does_not_know_what_was_revoked_says_nothing():
    """Promises §4: cut off from the ledger it answers with 503, not with what it last knew."""
    cut_off = Revoked()
    cut_off.stale = True
    tokens = OwnTokens(verifier(), cut_off, issuer=BROKER_ISSUER)
    with pytest.raises(VerificationRejected) as caught:
        await tokens.examine(own_jwt(), now=datetime.now(UTC))

    assert Reason.REVOCATION_UNAVAILABLE is caught.value.reason


@pytest.mark.row("RV-2.2-03")
async def test_before_our_keys_are_loaded_no_token_is_unknown():
    """RFC 7009 §2.2.1: an HSM that is down at the start makes no token revoked."""
    tokens = own_tokens(verifier_with(References(REFERENCE_TABLE)))
    with pytest.raises(VerificationRejected) as caught:
        await tokens.examine(own_jwt(), now=datetime.now(UTC))

    assert Reason.ISSUER_UNAVAILABLE is caught.value.reason


class _Away:
    """A table that does not answer."""

    async def find(self, digest: bytes) -> str | None:
        raise ReferencesUnavailable


@pytest.mark.row("RV-2.2-03")
async def test_a_table_that_does_not_answer_makes_no_reference_token_unknown():
    """RFC 7009 §2.2.1: 503; and a JWT needs no table."""
    tokens = own_tokens(verifier_with(References(_Away()), public_jwk(OWN_KEY, alg="ES256")))
    with pytest.raises(VerificationRejected) as caught:
        await tokens.examine("A" * 43, now=datetime.now(UTC))

    assert Reason.REFERENCE_UNAVAILABLE is caught.value.reason
    assert isinstance(await tokens.examine(own_jwt(), now=datetime.now(UTC)), VerifiedToken)
