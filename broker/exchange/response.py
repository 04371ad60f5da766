"""Step 7, respond: the answer to a token exchange. RFC 8693 §2.2.1."""

from datetime import datetime
from typing import Any

from broker.domain import IssuedToken
from broker.oauth import TOKEN_USAGE_BEARER, TokenType


def build_response(
    issued: IssuedToken, *, issued_token_type: TokenType, now: datetime
) -> dict[str, Any]:
    """Return the members of the body: all that the RFC has, but no refresh token.

    Only a token whose audit row is durable has the type that is taken here.
    """
    signed = issued.signed
    remaining = int((signed.expires_at - now).total_seconds())
    return {
        "access_token": signed.token,
        "issued_token_type": issued_token_type.value,
        "token_type": TOKEN_USAGE_BEARER,
        # Rounded down, so that nobody relies on the token for longer than it lives; and at least
        # 1, because some clients take 0 for "does not expire".
        "expires_in": max(1, remaining),
        # Sent even if it is what was asked for: RFC 6749 §3.3 lets clients assume less and less.
        "scope": " ".join(signed.permit.scopes),
    }
