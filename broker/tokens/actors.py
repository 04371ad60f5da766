"""Read who acts and who may act. RFC 8693 §4.1 (act), §4.4 (may_act)."""

from typing import Any

from broker.domain import Principal
from broker.oauth import MAX_JSON_DEPTH
from broker.tokens.claims import Claims, is_name
from broker.tokens.refusal import Cause, TokenRefused


def read_chain(claims: Claims, issuer: str) -> tuple[Principal, ...]:
    """Return ``act`` as a chain, the current actor first and the oldest last; empty if absent.

    A member without ``iss`` is of ``issuer``, who signed the token. Members that identify nobody
    (``exp``, ``aud``, ``scope`` …) have no effect (TX-4.1-02).
    """
    chain: list[Principal] = []
    level: Claims = claims
    # A loop over a bound that the parser has enforced already: nobody's nesting is our stack.
    while "act" in level:
        if len(chain) >= MAX_JSON_DEPTH:
            raise TokenRefused(Cause.CLAIM_INVALID)
        level = level["act"]
        chain.append(_read_party(level, issuer))
    return tuple(chain)


def find_may_act(claims: Claims, issuer: str) -> Principal | None:
    """Return the one party that may act, or None if the token does not say.

    What is not an object that identifies somebody is refused: it is a restriction that we cannot
    read, not the absence of one (TX-4.4-04).
    """
    return _read_party(claims["may_act"], issuer) if "may_act" in claims else None


def _read_party(value: Any, issuer: str) -> Principal:  # noqa: ANN401 — JSON of any form
    if not isinstance(value, dict):
        raise TokenRefused(Cause.CLAIM_INVALID)
    iss, sub = value.get("iss", issuer), value.get("sub")
    if not is_name(iss) or not is_name(sub):
        raise TokenRefused(Cause.CLAIM_INVALID)
    return Principal(str(iss), str(sub))
