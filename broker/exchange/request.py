"""Step 0, parse: what was asked, or why it is no token exchange request. RFC 8693 §2.1.

What holds when ``parse_request`` returns:

(1) the body is one form, within its bounds, and nothing was said in the URL;
(2) no parameter that is read here was sent twice, except ``audience`` and ``resource``;
(3) the grant is token exchange;
(4) every token has its type and every type its token;
(5) the requested type is one that is issued here.

An earlier fault hides a later one. Nothing is trimmed, and nothing is left out because it is long:
a parameter that is not used is unknown (RFC 6749 §3.2) or empty, or the request is refused.
"""

from typing import Final

from broker.clients.request import RawRequest, read_parameters
from broker.domain import TokenExchangeRequest
from broker.errors import ParseRejected, Reason
from broker.oauth import GRANT_TYPE_TOKEN_EXCHANGE, TokenType

_REPEATABLE: Final = frozenset({"audience", "resource"})  # RFC 8693 §2.1, RFC 8707 §2
# All others that mean something at a token endpoint like this one; the client's credentials too.
_SINGLE: Final = frozenset(
    {
        *("grant_type", "subject_token", "subject_token_type", "actor_token", "actor_token_type"),
        *("requested_token_type", "scope", "purpose", "authorization_details"),
    }
)
_ISSUED: Final = {
    token_type.value: token_type for token_type in (TokenType.ACCESS_TOKEN, TokenType.JWT)
}


def parse_request(
    raw: RawRequest,
    *,
    id: str,  # noqa: A002 — the field that it fills
    source: str,
) -> TokenExchangeRequest:
    """Return the request, with empty parameters absent and nothing verified.

    ``id`` and ``source`` are ours: the request id, and the address that it came from.

    Raises ``ParseRejected`` with a reason ``request.…``.
    """
    # (1) and (2): as at every endpoint where a client authenticates.
    parameters = read_parameters(raw, single=_SINGLE, repeatable=_REPEATABLE)
    single, repeated = parameters.single, parameters.repeated

    # (3) Before the tokens are asked for: another grant has other parameters.
    grant_type = single.get("grant_type")
    if grant_type is None:
        raise ParseRejected(Reason.REQUEST_GRANT_TYPE_MISSING)
    if grant_type != GRANT_TYPE_TOKEN_EXCHANGE:
        raise ParseRejected(Reason.REQUEST_GRANT_TYPE_UNSUPPORTED)

    # (4) What the types mean is judged in ``verify``, by the rules of the issuer.
    subject_token, subject_token_type = _subject_token(single)
    actor_token, actor_token_type = _actor_token(single)

    # (5) Never another one instead. RFC 8693 §2.2.1 would allow it; who asks for one needs it.
    requested = _ISSUED.get(single.get("requested_token_type", TokenType.ACCESS_TOKEN))
    if requested is None:
        raise ParseRejected(Reason.REQUEST_REQUESTED_TOKEN_TYPE_UNSUPPORTED)

    return TokenExchangeRequest(
        id=id,
        source=source,
        credentials=parameters.credentials,
        unverified_subject_token=subject_token,
        subject_token_type=subject_token_type,
        unverified_actor_token=actor_token,
        actor_token_type=actor_token_type,
        requested_token_type=requested,
        audiences=tuple(repeated["audience"]),
        resources=tuple(repeated["resource"]),
        scope=single.get("scope"),
        purpose=single.get("purpose"),
    )


def _subject_token(single: dict[str, str]) -> tuple[str, str]:
    token, token_type = single.get("subject_token"), single.get("subject_token_type")
    if token is None:
        raise ParseRejected(Reason.REQUEST_SUBJECT_TOKEN_MISSING)
    if token_type is None:
        raise ParseRejected(Reason.REQUEST_SUBJECT_TOKEN_TYPE_MISSING)
    return token, token_type


def _actor_token(single: dict[str, str]) -> tuple[str | None, str | None]:
    token, token_type = single.get("actor_token"), single.get("actor_token_type")
    if token is None and token_type is not None:
        raise ParseRejected(Reason.REQUEST_ACTOR_TOKEN_MISSING)
    if token is not None and token_type is None:
        raise ParseRejected(Reason.REQUEST_ACTOR_TOKEN_TYPE_MISSING)
    return token, token_type
