"""Step 7: what is answered for a token whose audit row is durable."""

from datetime import UTC, datetime, timedelta

import pytest

from broker.domain import Evaluation, IssuedToken, Permit, SignedToken
from broker.exchange.response import build_response
from broker.oauth import Mode, TokenType
from tests.builders import exchange, target

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def issued(*, expires_in: float = 60.0, scopes=("orders.read",)) -> IssuedToken:
    """A token that lives for so many seconds more."""
    expires_at = NOW + timedelta(seconds=expires_in)
    permit = Permit(
        exchange=exchange(),
        evaluation=Evaluation("revision", b"{}", {}),
        targets=(target(),),
        scopes=scopes,
        derived=(),
        expires_at=expires_at,
        mode=Mode.DELEGATION,
        chain=(),
        max_depth=3,
        purpose=None,
        claims={},
    )
    return IssuedToken(
        SignedToken(
            permit,
            id="id",
            token="a.b.c",
            txn="txn",
            kid="kid",
            issued_at=NOW,
            expires_at=expires_at,
            claims={},
        )
    )


@pytest.mark.row("TX-2.2.1-01", "TX-2.2.1-03", "TX-2.2.1-04", "TX-2.2.1-07", "TX-2.2.1-08", "D-10")
@pytest.mark.parametrize("token_type", [TokenType.ACCESS_TOKEN, TokenType.JWT])
def test_the_answer_has_all_that_the_rfc_names_but_a_refresh_token(token_type):
    """RFC 8693 §2.2.1: scope too, also where it is what was asked for."""
    assert {
        "access_token": "a.b.c",
        "issued_token_type": token_type.value,
        "token_type": "Bearer",
        "expires_in": 60,
        "scope": "a b",
    } == build_response(issued(scopes=("a", "b")), issued_token_type=token_type, now=NOW)


@pytest.mark.row("TX-2.2.1-06", "D-10")
@pytest.mark.parametrize(
    ("remaining", "expires_in"),
    [(300.0, 300), (299.9, 299), (1.0, 1), (0.4, 1), (0.0, 1), (-5.0, 1)],
)
def test_the_rest_of_its_life_is_rounded_down_and_at_least_a_second(remaining, expires_in):
    """RFC 8693 §2.2.1: some clients take 0 for a token that does not expire."""
    answer = build_response(issued(expires_in=remaining), issued_token_type=TokenType.JWT, now=NOW)

    assert expires_in == answer["expires_in"]
    assert isinstance(answer["expires_in"], int)
