"""A request that a client authenticates with: one form, and no parameter in two meanings.

The token, introspection and revocation endpoints all read their requests here, so that none of
them understands a body, or the credentials in it, in another way than the others do.

What holds when ``read_parameters`` returns:

(1) the body is one form, within its bounds, and nothing was said in the URL;
(2) no parameter that is read was sent twice, except those that may be;
(3) empty parameters are absent (RFC 6749 §3.2), and nothing is verified.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from broker.clients.form import parse_form
from broker.domain import Credentials
from broker.errors import ParseRejected, Reason
from broker.oauth import MAX_BODY

# RFC 6749 appendix B. Several clients say which charset they use; there is only the one.
_MEDIA_TYPE: Final = re.compile(
    r"application/x-www-form-urlencoded"
    r"(?:[ \t]*;[ \t]*charset=(?:utf-8|\"utf-8\"))?[ \t]*",
    re.ASCII | re.IGNORECASE,
)
# How a client authenticates in the body. RFC 6749 §2.3.1, RFC 7521 §4.2.
_CREDENTIALS: Final = frozenset(
    {"client_id", "client_secret", "client_assertion", "client_assertion_type"}
)
# RFC 7009 §2.1, RFC 7662 §2.1.
_INQUIRY: Final = frozenset({"token", "token_type_hint"})


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as the wire gave it: every header of a name, the query, the whole body."""

    content_types: tuple[str, ...]
    query: bytes = field(repr=False)
    authorization: tuple[str, ...] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters that mean something at an endpoint, and the credentials among them."""

    single: dict[str, str] = field(repr=False)
    repeated: dict[str, list[str]] = field(repr=False)
    credentials: Credentials


@dataclass(frozen=True, slots=True)
class TokenInquiry:
    """A well-formed request about one token: to introspect it, or to revoke it.

    ``token_type_hint`` is read by nobody: there is one place to look, and a wrong hint may hide
    nothing (RFC 7009 §2.1, RFC 7662 §2.1).
    """

    credentials: Credentials
    unverified_token: str = field(repr=False)


def parse_inquiry(raw: RawRequest) -> TokenInquiry:
    """Return the request, with nothing verified.

    Raises ``ParseRejected`` with a reason ``request.…``.
    """
    parameters = read_parameters(raw, single=_INQUIRY)
    token = parameters.single.get("token")
    if token is None:
        raise ParseRejected(Reason.REQUEST_TOKEN_MISSING)
    return TokenInquiry(parameters.credentials, token)


def read_parameters(
    raw: RawRequest, *, single: frozenset[str], repeatable: frozenset[str] = frozenset()
) -> Parameters:
    """Return the parameters of these names, and the client's credentials.

    Raises ``ParseRejected`` with a reason ``request.…``.
    """
    once, often = _sort(read_form(raw), single | _CREDENTIALS, repeatable)  # (1), (2), (3)
    return Parameters(
        once,
        often,
        Credentials(
            unverified_authorization=raw.authorization,
            unverified_client_id=once.get("client_id"),
            unverified_client_secret=once.get("client_secret"),
            unverified_client_assertion=once.get("client_assertion"),
            unverified_client_assertion_type=once.get("client_assertion_type"),
        ),
    )


def read_form(raw: RawRequest) -> list[tuple[str, str]]:
    """Return every parameter of the one form in their order, repeated and empty ones too.

    Raises ``ParseRejected`` with a reason ``request.…``.
    """
    _require_one_form(raw)
    return parse_form(raw.body)


def _require_one_form(raw: RawRequest) -> None:
    # Two content types, like none, leave open what the body is.
    if len(raw.content_types) != 1 or _MEDIA_TYPE.fullmatch(raw.content_types[0]) is None:
        raise ParseRejected(Reason.REQUEST_MEDIA_TYPE)
    if len(raw.body) > MAX_BODY:
        raise ParseRejected(Reason.REQUEST_BODY_TOO_LARGE)
    # URLs are logged on the way: refused even if harmless, before somebody relies on it.
    if raw.query:
        raise ParseRejected(Reason.REQUEST_QUERY_PARAMETERS)


def _sort(
    form: list[tuple[str, str]], singles: frozenset[str], repeatable: frozenset[str]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the parameters that may come once, and those that may come often, without empty ones.

    Raises ``ParseRejected``: ``request.repeated_parameter``.
    """
    # Names of the caller's choosing are compared with ours and never become keys.
    single: dict[str, str] = {}
    repeated: dict[str, list[str]] = {name: [] for name in repeatable}
    for name, value in form:
        if name in singles:
            # A second one is a fault even if it is equal, or empty: the next reader may take the
            # other. RFC 6749 §3.2.
            if name in single:
                raise ParseRejected(Reason.REQUEST_REPEATED_PARAMETER)
            single[name] = value
        elif name in repeatable and value:
            repeated[name].append(value)
    # Only now, so that an empty copy beside a full one has been counted.
    return {name: value for name, value in single.items() if value}, repeated
