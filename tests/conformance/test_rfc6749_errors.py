"""RFC 6749 §5.2, RFC 8693 §2.2.2: which error a refusal is, and that it is nothing more."""

import pytest

from broker.errors import PUBLIC, Reason
from tests.jwts import ACTS, IDP, STRICT, subject_jwt
from tests.wire import assert_refused, basic, exchange_form

DECIDED = ("policy", "delegation", "target", "scope", "mint", "subject_token", "actor_token")


@pytest.mark.row("D-02", "OA-5.2-01", "OA-5.2-07", "TX-2.2.2-02", "TX-2.2.2-05")
@pytest.mark.parametrize(
    ("client", "form", "reason"),
    [
        pytest.param("svc-a", {"audience": "svc-x"}, "target.unknown", id="unknown-target"),
        pytest.param(
            "svc-no-grant",
            {"subject_token": {"aud": "svc-no-grant"}},
            "policy.target_not_granted",
            id="target-not-granted",
        ),
        pytest.param("svc-a", {"scope": "a  b"}, "scope.malformed", id="malformed-scope"),
        pytest.param("svc-a", {"scope": "nothing"}, "policy.scope_unknown", id="unknown-scope"),
        pytest.param(
            "svc-a", {"scope": "orders.write"}, "policy.scope_not_held", id="scope-not-held"
        ),
        pytest.param(
            "svc-purpose",
            {"subject_token": {"aud": "svc-purpose"}},
            "policy.purpose_missing",
            id="purpose-missing",
        ),
        pytest.param(
            "svc-shallow",
            {
                "subject_token": {
                    "iss": ACTS,
                    "aud": "svc-shallow",
                    "act": {"iss": IDP, "sub": "a"},
                    "delegation_depth": 1,
                }
            },
            "delegation.depth_exceeded",
            id="too-deep",
        ),
        pytest.param(
            "svc-b",
            {"subject_token": {"iss": STRICT, "aud": "svc-b", "tenant": "t"}},
            "subject_token.issuer_not_for_client",
            id="issuer-not-for-this-client",
        ),
        pytest.param(
            "svc-a",
            {"subject_token": {"aud": "svc-b"}},
            "subject_token.audience_mismatch",
            id="meant-for-somebody-else",
        ),
        pytest.param(
            "svc-a", {"grant_type": "password"}, "request.grant_type_unsupported", id="grant-type"
        ),
        pytest.param(
            "svc-no-grant-type",
            {"subject_token": {"aud": "svc-no-grant-type"}},
            "client.grant_type_not_allowed",
            id="client-may-not",
        ),
    ],
)
async def test_s5_2_a_refusal_is_exactly_its_registered_error(broker, client, form, reason):
    """Status 400, the code that fits, the fixed text of the reason, and no member besides."""
    if isinstance(form.get("subject_token"), dict):
        form = form | {"subject_token": subject_jwt(**form["subject_token"])}
    public = PUBLIC[Reason(reason)]
    response = await broker.exchange(exchange_form(**form), auth=basic(client))

    assert public.description == assert_refused(response, public.error)
    assert [reason] == await broker.audited()


@pytest.mark.row("D-02", "D-01")
@pytest.mark.parametrize(
    "reason", [reason for reason in Reason if reason.partition(".")[0] in DECIDED]
)
def test_s2_2_2_what_is_wrong_with_tokens_targets_and_scopes_is_a_400(reason):
    """RFC 8693 §2.2.2: three codes for all of them; a dependency that is down is a 503."""
    public = PUBLIC[reason]
    if public.status == 503:
        assert "temporarily_unavailable" == public.error
        return

    assert 400 == public.status
    expected = {"target": "invalid_target", "scope": "invalid_scope"}
    kind = reason.partition(".")[0]
    if kind in expected and reason is not Reason.TARGET_FORMAT_UNSUPPORTED:
        assert expected[kind] == public.error
    else:
        assert public.error in {"invalid_request", "invalid_target", "invalid_scope"}


@pytest.mark.row("D-02", "D-01")
def test_no_reason_is_answered_with_a_code_of_another_endpoint():
    """Never invalid_grant or access_denied, and 401 only for a client that failed."""
    assert {"invalid_grant", "access_denied", "invalid_token"}.isdisjoint(
        public.error for public in PUBLIC.values()
    )
    assert {"invalid_client"} == {
        public.error.value for public in PUBLIC.values() if public.status == 401
    }
