"""RFC 9068: access tokens that say one thing, and what is asked of one that comes back."""

import time

import pytest

from tests import builders, verification
from tests.jwts import (
    ABSENT,
    IDP,
    STRANGERS_KEY,
    jwt,
    public_jwk,
    subject_jwt,
    unverified_claims,
)
from tests.verification import own_jwt
from tests.wire import ACCESS_TOKEN, assert_issued, assert_refused, basic, exchange_form


@pytest.mark.row("AT-3-03", "AT-2.2.3-01")
async def test_s3_one_scope_name_at_two_targets_needs_both_grants(broker):
    """RFC 9068 §3, §5: what it would mean at the second target nobody has granted."""
    form = {"subject_token": subject_jwt(aud="svc-shallow"), "scope": "orders.read"}
    both = await broker.exchange(
        exchange_form(**form, audience=["svc-b", "svc-c"]), auth=basic("svc-shallow")
    )
    one = await broker.exchange(exchange_form(**form, audience="svc-b"), auth=basic("svc-shallow"))

    assert_refused(both, "invalid_target")
    assert_issued(one)
    assert ["policy.target_not_granted", "issued"] == await broker.audited()


@pytest.mark.row("SB-2.3-01", "TX-6-04")
async def test_a_token_has_the_least_that_was_asked_for(broker):
    """RFC 9700 §2.3: of all that the subject holds, what was asked for, for one audience."""
    token = subject_jwt(scope="orders.read orders.write profile")
    body = assert_issued(
        await broker.exchange(exchange_form(subject_token=token, scope="orders.read"))
    )
    claims = unverified_claims(body["access_token"])

    assert ("svc-b", "orders.read") == (claims["aud"], claims["scope"])


def _forged() -> str:
    """A token that says it is ours, under the name of our key and by another one."""
    header = {"typ": "at+jwt", "kid": public_jwk(verification.OWN_KEY)["kid"]}
    return jwt(unverified_claims(own_jwt()), key=STRANGERS_KEY, header=header)


@pytest.mark.row("AT-4-02", "AT-4-01", "TX-2.1-26")
@pytest.mark.parametrize(
    ("token", "reason"),
    [
        pytest.param(lambda: own_jwt(iss=IDP), "subject_token.key_unknown", id="another-issuer"),
        pytest.param(
            lambda: own_jwt(iss="https://broker.test/"), "subject_token.issuer_unknown", id="slash"
        ),
        pytest.param(
            lambda: own_jwt(aud="svc-c"), "subject_token.audience_mismatch", id="for-another"
        ),
        pytest.param(lambda: own_jwt(aud=ABSENT), "subject_token.claim_missing", id="no-audience"),
        pytest.param(
            lambda: own_jwt(exp=int(time.time()) - 1), "subject_token.expired", id="expired"
        ),
        pytest.param(lambda: own_jwt(exp=ABSENT), "subject_token.claim_missing", id="no-expiry"),
        pytest.param(lambda: own_jwt(typ="JWT"), "subject_token.type_not_accepted", id="typ-jwt"),
        pytest.param(lambda: own_jwt(typ=ABSENT), "subject_token.type_not_accepted", id="no-typ"),
        pytest.param(_forged, "subject_token.signature_invalid", id="forged"),
    ],
)
async def test_s4_our_own_token_is_judged_like_any_other(token, reason):
    """RFC 9068 §4: issuer, audience, algorithm, key, time and type, each by itself."""
    client = builders.client("svc-b", targets=frozenset({"svc-b"}))

    assert reason == await verification.refused(
        verification.subject(token(), client, declared=ACCESS_TOKEN)
    )
    assert (
        "alice"
        == (await verification.subject(own_jwt(), client, declared=ACCESS_TOKEN)).principal.subject
    )
