"""What the demo's story takes for a success, and what for a fault."""

from typing import Any

import pytest

from broker.demo.cutoff import Cut, Introspected
from broker.demo.story import Admin, Ask, Hop
from broker.oauth import OAuthError


def hop(expected: OAuthError | None, status: int, body: dict[str, Any]) -> Hop:
    ask = Ask("checkout", "inventory", "inventory.read")
    return Hop("title", "why", ask, expected, "token", status=status, body=body)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param(hop(None, 200, {"access_token": "t"}), True, id="a-token-where-one-is-due"),
        pytest.param(hop(None, 200, {}), False, id="an-empty-answer"),
        pytest.param(hop(None, 400, {"error": "invalid_scope"}), False, id="refused-for-nothing"),
        pytest.param(hop(None, 500, {"access_token": "t"}), False, id="a-token-with-500"),
        pytest.param(
            hop(OAuthError.INVALID_SCOPE, 400, {"error": "invalid_scope"}), True, id="refused"
        ),
        pytest.param(
            hop(OAuthError.INVALID_SCOPE, 400, {"error": "invalid_request"}),
            False,
            id="refused-for-something-else",
        ),
        pytest.param(
            hop(OAuthError.INVALID_SCOPE, 200, {"access_token": "t", "error": "invalid_scope"}),
            False,
            id="refused-and-given",
        ),
    ],
)
def test_a_hop_knows_whether_it_went_as_it_should(told: Hop, expected: bool):
    """`broker dev --once` exits with 1 if the broker did anything else than the story says."""
    assert expected is told.is_as_expected


def test_a_hop_does_not_show_its_tokens():
    """Not the one presented, and not the one that came back."""
    told = repr(hop(None, 200, {"access_token": "secret-token"}))

    assert "secret-token" not in told
    assert "'token'" not in told


ACTIVE = {"active": True, "scope": "inventory.read", "act": {}, "aud": "inventory", "exp": 1}
INACTIVE = {"active": False}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(ACTIVE, INACTIVE, True, id="told-everything-and-then-nothing"),
        pytest.param(ACTIVE, ACTIVE, False, id="still-active"),
        pytest.param(INACTIVE, INACTIVE, False, id="never-active"),
        pytest.param({"active": True}, INACTIVE, False, id="told-too-little"),
        pytest.param(ACTIVE, {**ACTIVE, "active": False}, False, id="told-too-much"),
        pytest.param(ACTIVE, {}, False, id="no-answer"),
    ],
)
def test_an_introspection_knows_whether_the_token_died(before, after, expected: bool):
    """RFC 7662 §2.2: of a token that is not active nothing is said but that."""
    assert expected is Introspected("inventory", "checkout", before, after).is_as_expected


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(201, {"hits": {"tokens": 2}}, True, id="both"),
        pytest.param(201, {"hits": {"tokens": 3}}, True, id="and-another"),
        pytest.param(201, {"hits": {"tokens": 1}}, False, id="one-got-away"),
        pytest.param(201, {"hits": None}, False, id="not-counted"),
        pytest.param(503, {"error": "temporarily_unavailable"}, False, id="not-revoked"),
    ],
)
def test_a_cut_knows_whether_it_hit(status: int, body: dict[str, Any], expected: bool):
    """The story knows of two tokens; each has to be among what was hit."""
    assert expected is Cut({}, 2, status, body).is_as_expected


def test_a_login_counts_as_later_in_the_next_second():
    """``iat`` is in whole seconds: one in the second of the cut could be from before it."""
    body = {"rule": {"not_before": "2026-01-02T03:04:05.000001+00:00"}}

    assert 1767323046 == Cut({}, 2, 201, body).over_at


def test_the_admin_s_token_is_not_shown():
    """Neither by what holds it nor in what was answered."""
    assert "secret" not in repr(Admin("http://127.0.0.1:9090", "secret"))
    assert "secret" not in repr(Introspected("a", "b", {"active": "secret"}, {}))
