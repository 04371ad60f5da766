"""Which kind of JWT a token is, and what it may be declared as. RFC 8725 §3.11, §3.12, JW-12.

Nobody's word is taken for it: not the request's, and the token's own only where its ``typ`` says
more than "a JWT". Providers send ``typ: JWT`` for several kinds, so then the claims tell.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from broker.oauth import TYP_ACCESS_TOKEN, TokenType


class Kind(StrEnum):
    """The kinds of JWT that we can tell apart."""

    ACCESS_TOKEN = "access_token"  # noqa: S105 — a name, RFC 9068
    ID_TOKEN = "id_token"  # noqa: S105 — a name, OpenID Connect Core §2
    PLAIN = "plain"  # it does not say: an access token or ID token of no particular profile
    DPOP_PROOF = "dpop_proof"  # RFC 9449 §4.2
    CLIENT_ASSERTION = "client_assertion"  # RFC 7523
    SECURITY_EVENT = "security_event"  # RFC 8417; logout tokens are such
    INTROSPECTION = "introspection"  # RFC 9701
    TRANSACTION_TOKEN = "transaction_token"  # noqa: S105 — a name
    IDENTITY_GRANT = "identity_grant"  # ID-JAG
    STATUS_LIST = "status_list"
    REQUEST_OBJECT = "request_object"  # RFC 9101
    REFRESH_TOKEN = "refresh_token"  # noqa: S105 — a name; some providers' are JWTs


# In the short form and lower case, as ``broker.jose`` has them. Other values prove no kind.
_BY_TYP: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        TYP_ACCESS_TOKEN: Kind.ACCESS_TOKEN,
        "dpop+jwt": Kind.DPOP_PROOF,
        "client-authentication+jwt": Kind.CLIENT_ASSERTION,
        "secevent+jwt": Kind.SECURITY_EVENT,
        "logout+jwt": Kind.SECURITY_EVENT,
        "token-introspection+jwt": Kind.INTROSPECTION,
        "txntoken+jwt": Kind.TRANSACTION_TOKEN,
        "oauth-id-jag+jwt": Kind.IDENTITY_GRANT,
        "statuslist+jwt": Kind.STATUS_LIST,
        "oauth-authz-req+jwt": Kind.REQUEST_OBJECT,
    }
)

# Claims that only one kind has, the kinds that are never accepted first. ``nonce`` is not among
# them: ID tokens, DPoP proofs and more have one.
_BY_CLAIM: Final = (
    ("events", Kind.SECURITY_EVENT),
    ("htm", Kind.DPOP_PROOF),
    ("token_introspection", Kind.INTROSPECTION),
    ("req_wl", Kind.TRANSACTION_TOKEN),
    ("status_list", Kind.STATUS_LIST),
    ("at_hash", Kind.ID_TOKEN),
    ("c_hash", Kind.ID_TOKEN),
)
# Keycloak says it in a claim of the payload, whose header is that of its access tokens.
_REFRESH: Final = frozenset({"Refresh", "Offline"})
_MARKERS: Final = frozenset({"typ", *(claim for claim, _ in _BY_CLAIM)})

# The only accepted cells of the matrix kind by declared type. An RFC 9068 token is a JWT too, and
# is widely declared so (RFC 8693 §3); ``accepts`` has the condition for an ID token declared so.
_ACCEPTED: Final[Mapping[TokenType, frozenset[Kind]]] = MappingProxyType(
    {
        TokenType.ACCESS_TOKEN: frozenset({Kind.ACCESS_TOKEN, Kind.PLAIN}),
        TokenType.ID_TOKEN: frozenset({Kind.ID_TOKEN, Kind.PLAIN}),
        TokenType.JWT: frozenset({Kind.ACCESS_TOKEN, Kind.ID_TOKEN, Kind.PLAIN}),
    }
)


def kind_of(typ: str | None, claims: Mapping[str, Any]) -> Kind:
    """Return the kind of a JWT: by its ``typ``, in short form, else by its marker claims."""
    kind = None if typ is None else _BY_TYP.get(typ)
    if kind is not None:
        return kind
    if _MARKERS.isdisjoint(claims):
        return Kind.PLAIN
    said = claims.get("typ")
    if isinstance(said, str) and said in _REFRESH:
        return Kind.REFRESH_TOKEN
    return next((kind for claim, kind in _BY_CLAIM if claim in claims), Kind.PLAIN)


def accepts(declared: TokenType, kind: Kind, token_types: Collection[TokenType]) -> bool:
    """Whether a token of this kind may be declared so, at an issuer with these ``token_types``."""
    if declared not in token_types or kind not in _ACCEPTED[declared]:
        return False
    # Called a plain JWT, an ID token is still one, and the issuer's rules must allow those.
    return kind is not Kind.ID_TOKEN or TokenType.ID_TOKEN in token_types
