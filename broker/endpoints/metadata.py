"""What the broker says of itself: its metadata and its public keys. RFC 8414, RFC 7517 §5."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, get_args
from urllib.parse import urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import Response

from broker.keys.keyring import PublishedJwks
from broker.oauth import GRANT_TYPE_TOKEN_EXCHANGE, JWKS_MAX_AGE, AuthMethod
from broker.settings import Algorithm

Endpoint = Callable[[Request], Awaitable[Response]]

_CACHEABLE: Final = f"public, max-age={JWKS_MAX_AGE}, must-revalidate"
_OAUTH: Final = "/.well-known/oauth-authorization-server"
_OPENID: Final = "/.well-known/openid-configuration"
JWKS_PATH: Final = "/.well-known/jwks.json"
TOKEN_PATH: Final = "/token"  # noqa: S105 — a path
INTROSPECTION_PATH: Final = "/introspect"
REVOCATION_PATH: Final = "/revoke"


def metadata_paths(issuer: str) -> tuple[str, ...]:
    """Return where the metadata of ``issuer`` is looked for: inserted before its path, RFC 8414
    §3.1, and appended to it, as OpenID Connect Discovery §4 has it.
    """  # noqa: D205 — one sentence
    path = urlsplit(issuer).path
    inserted = (_OAUTH + path, _OPENID + path)
    return tuple(dict.fromkeys((*inserted, path + _OAUTH, path + _OPENID)))


def build_metadata(issuer: str) -> bytes:
    """Return the metadata document: what is offered, explicitly, and no empty list. RFC 8414 §2."""
    methods, algorithms = [method.value for method in AuthMethod], list(get_args(Algorithm))
    document: dict[str, Any] = {
        "issuer": issuer,
        "token_endpoint": issuer + TOKEN_PATH,
        "jwks_uri": issuer + JWKS_PATH,
        # Required, and there is no authorization endpoint that could give any (D-05).
        "response_types_supported": ["none"],
        "grant_types_supported": [GRANT_TYPE_TOKEN_EXCHANGE],
        "introspection_endpoint": issuer + INTROSPECTION_PATH,
        "revocation_endpoint": issuer + REVOCATION_PATH,
    }
    # Clients authenticate alike at all three; a list that is left out would not say so.
    for endpoint in ("token", "introspection", "revocation"):
        document |= {
            f"{endpoint}_endpoint_auth_methods_supported": methods,
            f"{endpoint}_endpoint_auth_signing_alg_values_supported": algorithms,
        }
    return orjson.dumps(document)


def metadata_endpoint(issuer: str) -> Endpoint:
    """Return the endpoint that answers with the metadata; nothing of the request is in it."""
    body = build_metadata(issuer)

    async def metadata(_: Request) -> Response:
        return Response(body, media_type="application/json", headers={"cache-control": _CACHEABLE})

    return metadata


def jwks_endpoint(published: Callable[[], PublishedJwks]) -> Endpoint:
    """Return the endpoint that answers with the public keys, or 304 if they are known already."""

    async def jwks(request: Request) -> Response:
        current = published()
        headers = {"cache-control": _CACHEABLE, "etag": current.etag}
        if _is_known(request.headers.get("if-none-match", ""), current.etag):
            return Response(status_code=304, headers=headers)
        return Response(current.body, media_type="application/json", headers=headers)

    return jwks


def _is_known(if_none_match: str, etag: str) -> bool:
    """Whether the client has this version. RFC 9110 §13.1.2: compared weakly."""
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in known or known == ["*"]
