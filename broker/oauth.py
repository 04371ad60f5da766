"""The vocabulary of the RFCs: identifiers, codes and limits, and nothing that computes.

One name for each thing, spelled as its RFC spells it, so that no second one appears elsewhere.
"""

from enum import StrEnum
from typing import Final

# RFC 8693 §2.1
GRANT_TYPE_TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
# RFC 6749 §4.4.2
GRANT_TYPE_CLIENT_CREDENTIALS: Final = "client_credentials"
# RFC 7523 §2.2
CLIENT_ASSERTION_TYPE_JWT_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class TokenType(StrEnum):
    """Token type identifiers that we accept or issue. RFC 8693 §3."""

    ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
    ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
    JWT = "urn:ietf:params:oauth:token-type:jwt"


class OAuthError(StrEnum):
    """Error codes. RFC 6749 §5.2, RFC 7009 §2.2.1, RFC 8693 §2.2.2, RFC 8707 §2.

    The last two are registered for the authorization endpoint (RFC 6749 §4.1.2.1).
    """

    INVALID_REQUEST = "invalid_request"
    INVALID_CLIENT = "invalid_client"
    INVALID_SCOPE = "invalid_scope"
    INVALID_TARGET = "invalid_target"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    UNSUPPORTED_TOKEN_TYPE = "unsupported_token_type"
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"
    SERVER_ERROR = "server_error"


class AuthMethod(StrEnum):
    """How a client authenticates. RFC 7591 §2 (``token_endpoint_auth_method``)."""

    CLIENT_SECRET_BASIC = "client_secret_basic"
    CLIENT_SECRET_POST = "client_secret_post"
    PRIVATE_KEY_JWT = "private_key_jwt"


class Mode(StrEnum):
    """Whether the issued token names a new actor. RFC 8693 §1.1."""

    DELEGATION = "delegation"
    IMPERSONATION = "impersonation"


TOKEN_USAGE_BEARER: Final = "Bearer"  # RFC 6750, the ``token_type`` of every answer
TYP_ACCESS_TOKEN: Final = "at+jwt"  # RFC 9068 §2.1
# Ours: the signed record that a reference token stands for. It is stored and never leaves.
TYP_REFERENCE: Final = "reference+jwt"
REFERENCE_BYTES: Final = 32  # of a reference token, all of them random: RFC 6749 §10.10

# Claims that the broker writes itself: nothing that a subject brings may become one of them.
RESERVED_CLAIMS: Final = frozenset(
    {
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope"),
        *("act", "may_act", "cnf", "txn", "purpose", "sub_id", "lineage"),
        *("root_iat", "lineage_keys", "lineage_clients"),
        *("delegation_depth", "max_delegation_depth"),
    }
)

# Bounds, all enforced before anything is decoded. Bytes, unless the name says otherwise.
MAX_BODY: Final = 64 * 1024
MAX_PARAMETERS: Final = 200
MAX_TOKEN: Final = 16 * 1024
MAX_JOSE_HEADER: Final = 1024
MAX_JSON_DEPTH: Final = 16
MAX_NAME: Final = 1024  # ``iss``, ``sub``, ``jti`` and the like
MAX_ISSUED_TOKEN: Final = 8 * 1024
MAX_REQUEST_HEADERS: Final = 16 * 1024
JWKS_MAX_AGE: Final = 300  # seconds
