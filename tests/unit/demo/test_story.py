"""What the demo's story takes for a success, and what for a fault."""

from typing import Any

import pytest

from broker.demo.story import Ask, Hop
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
