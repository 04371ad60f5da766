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

import re
from dataclasses import dataclass, field
from typing import Final

from broker.domain import Credentials, TokenExchangeRequest
from broker.errors import ParseRejected, Reason
from broker.exchange.form import parse_form
from broker.oauth import GRANT_TYPE_TOKEN_EXCHANGE, MAX_BODY, TokenType

# RFC 6749 appendix B. Several clients say which charset they use; there is only the one.
_MEDIA_TYPE: Final = re.compile(
    r"application/x-www-form-urlencoded"
    r"(?:[ \t]*;[ \t]*charset=(?:utf-8|\"utf-8\"))?[ \t]*",
    re.ASCII | re.IGNORECASE,
)

_REPEATABLE: Final = frozenset({"audience", "resource"})  # RFC 8693 §2.1, RFC 8707 §2
# Of all others that mean something at a token endpoint like this one, a second is a fault even if
# it is equal, or empty: the next reader may take the other. RFC 6749 §3.2.
_SINGLE: Final = frozenset(
    {
        *("grant_type", "subject_token", "subject_token_type", "actor_token", "actor_token_type"),
        *("requested_token_type", "scope", "purpose", "authorization_details"),
        *("client_id", "client_secret", "client_assertion", "client_assertion_type"),
    }
)
_ISSUED: Final = {
    token_type.value: token_type for token_type in (TokenType.ACCESS_TOKEN, TokenType.JWT)
}


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as the wire gave it: every header of a name, the query, the whole body."""

    content_types: tuple[str, ...]
    query: bytes = field(repr=False)
    authorization: tuple[str, ...] = field(repr=False)
    body: bytes = field(repr=False)


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
    _require_one_form(raw)  # (1)
    single, repeated = _sort(parse_form(raw.body))  # (2)

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
        credentials=Credentials(
            unverified_authorization=raw.authorization,
            unverified_client_id=single.get("client_id"),
            unverified_client_secret=single.get("client_secret"),
            unverified_client_assertion=single.get("client_assertion"),
            unverified_client_assertion_type=single.get("client_assertion_type"),
        ),
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


def _require_one_form(raw: RawRequest) -> None:
    # Two content types, like none, leave open what the body is.
    if len(raw.content_types) != 1 or _MEDIA_TYPE.fullmatch(raw.content_types[0]) is None:
        raise ParseRejected(Reason.REQUEST_MEDIA_TYPE)
    if len(raw.body) > MAX_BODY:
        raise ParseRejected(Reason.REQUEST_BODY_TOO_LARGE)
    # URLs are logged on the way: refused even if harmless, before somebody relies on it.
    if raw.query:
        raise ParseRejected(Reason.REQUEST_QUERY_PARAMETERS)


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


def _sort(form: list[tuple[str, str]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the parameters that may come once, and those that may come often, without empty ones.

    Raises ``ParseRejected``: ``request.repeated_parameter``.
    """
    # Names of the caller's choosing are compared with ours and never become keys.
    single: dict[str, str] = {}
    repeated: dict[str, list[str]] = {name: [] for name in _REPEATABLE}
    for name, value in form:
        if name in _SINGLE:
            if name in single:
                raise ParseRejected(Reason.REQUEST_REPEATED_PARAMETER)
            single[name] = value
        elif name in _REPEATABLE and value:
            repeated[name].append(value)
    # Only now, so that an empty copy beside a full one has been counted.
    return {name: value for name, value in single.items() if value}, repeated
