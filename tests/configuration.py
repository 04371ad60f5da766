"""The configuration that the conformance rows speak of, and the variations that they need.

Each client stands for one thing that a client or its grant can be; all share the target ``svc-b``.
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

from tests.jwts import (
    ACTS,
    BROKER_ISSUER,
    CLIENT_KEY,
    IDP,
    KEEP,
    KEYS,
    ONCE,
    OTHER,
    SCOPELESS,
    STRICT,
    public_jwk,
)

ORDERS = ["orders.read", "orders.write"]
# The same for every broker of the suite, for several share a database.
KEY_FILES = {"kek": b"k" * 32, "audit.key": b"a" * 32, "checkpoint.key": b"c" * 32}
# Where the trail has its keys, in the folder of the configuration.
AUDIT_KEYS = {"key_file": "audit.key", "checkpoints": {"key_file": "checkpoint.key"}}


def write_keys(folder: Path, *names: str) -> None:
    """Write key files, all of them unless some are named, as only their owner can read them."""
    for name in names or KEY_FILES:
        (folder / name).write_text(base64.b64encode(KEY_FILES[name]).decode())
        (folder / name).chmod(0o600)


def secret(client_id: str) -> str:
    """The secret of a client of the test configuration."""
    return hashlib.sha256(f"test secret of {client_id}".encode()).hexdigest()


def _issuer(issuer: str, alias: str, **rules: Any) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "alias": alias,
        "jwks": {"keys": [public_jwk(KEYS[issuer], alg="ES256")]},
        "algorithms": ["ES256"],
        "token_types": [
            "urn:ietf:params:oauth:token-type:access_token",
            "urn:ietf:params:oauth:token-type:jwt",
            "urn:ietf:params:oauth:token-type:id_token",
        ],
        "typ": ["at+jwt", "JWT"],
        "leeway": "30s",
        "audiences": [BROKER_ISSUER],
    } | rules


def _client(client_id: str, **settings: Any) -> dict[str, Any]:
    return {
        "id": client_id,
        "auth": "client_secret_basic",
        "secrets": [f"sha256:{hashlib.sha256(secret(client_id).encode()).hexdigest()}"],
    } | settings


def _target(name: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, "scopes": ORDERS, "max_lifetime": "5m"} | settings


def document(**overrides: Any) -> dict[str, Any]:
    """``broker.yaml``, except for what the place it runs in decides."""
    keyed = {"auth": "private_key_jwt", "secrets": [], "jwks": {"keys": [public_jwk(CLIENT_KEY)]}}
    return {
        "issuer": BROKER_ISSUER,
        "max_targets": 3,
        # High enough that tests which authenticate wrongly do not throttle one another.
        "limits": {"authentication_failures": "100000/1m"},
        # Likewise, so that a refusal before authentication has its own row in every test.
        "audit": {"unauthenticated_refusals": "100000/1m"} | AUDIT_KEYS,
        "issuers": [
            _issuer(IDP, "idp"),
            _issuer(OTHER, "other", policy_claims=["groups"]),
            _issuer(ACTS, "acts", asserts=["act", "may_act", "max_delegation_depth"]),
            _issuer(KEEP, "keep", subject="keep"),
            _issuer(ONCE, "once", one_time=True, require=["jti"]),
            _issuer(SCOPELESS, "scopeless", scopeless=True),
            _issuer(STRICT, "strict", require=["jti", "tenant"], max_age="1h", clients=["svc-a"]),
        ],
        "clients": [
            _client("svc-a", targets=["svc-a"]),
            _client("svc-b", targets=["svc-b"]),
            _client("svc-c", targets=["svc-c"]),
            _client("my-client.id"),
            _client("svc-post", auth="client_secret_post"),
            _client("svc-jwt", **keyed),
            _client("svc-jwt-endpoint", **keyed, assertion_audience="endpoint"),
            _client("svc-default", default_target="svc-b"),
            _client("svc-known", known_as=[{"issuer": IDP, "id": "known-app"}]),
            _client("svc-no-grant"),
            _client("svc-no-grant-type", grant_types=[]),
            _client("svc-narrow"),
            _client("svc-imp"),
            _client("svc-purpose"),
            _client("svc-derive"),
            _client("svc-reenter"),
            _client("svc-shallow"),
            _client("svc-reuse"),
            _client("svc-idp-only"),
            _client("svc-blocked"),
            _client("svc-ref", targets=["svc-ref"]),
            # A resource server that exchanges nothing.
            _client("svc-mail", targets=["svc-mail", "svc-uri"], grant_types=[]),
        ],
        "targets": [
            _target("svc-a"),
            _target("svc-b", resources=["https://svc-b.test/"]),
            _target("svc-c", scopes=["customers.read", "orders.read"], max_lifetime="2m"),
            _target(
                "svc-uri",
                audience="https://uri.test/",
                resources=["https://uri.test/", "https://uri.test/t1", "https://uri.test/?t=1"],
            ),
            _target("svc-mail", claims=["email", "acr", "auth_time", "groups"]),
            _target("svc-rsa", algorithm="RS256"),
            _target("svc-ed", algorithm="Ed25519"),
            _target("svc-ref", format="reference"),
        ],
    } | overrides


def _grant(**settings: Any) -> dict[str, Any]:
    return {
        "scopes": ORDERS,
        "derives": {},
        "default_scopes": [],
        "excess": "refuse",
        "max_lifetime": "5m",
        "max_depth": 8,
        "mode": "delegation",
        "purposes": [],
        "reentry": False,
        "issuers": ["*"],
    } | settings


def grants() -> dict[str, Any]:
    """The grants data: client, target, what it may get there."""
    customers = _grant(scopes=["customers.read", "orders.read"])
    to_b = {"svc-b": _grant()}
    return {
        "svc-a": {
            "svc-b": _grant(),
            "svc-c": customers,
            **{name: _grant() for name in ("svc-uri", "svc-mail", "svc-rsa", "svc-ed", "svc-ref")},
        },
        "svc-b": {"svc-a": _grant(), "svc-b": _grant(), "svc-c": customers},
        "svc-c": {"svc-a": _grant(), "svc-b": _grant()},
        "svc-ref": {"svc-b": _grant(), "svc-c": customers},
        "my-client.id": to_b,
        "svc-post": to_b,
        "svc-jwt": to_b,
        "svc-jwt-endpoint": to_b,
        "svc-default": {"svc-b": _grant(default_scopes=["orders.read"])},
        "svc-known": to_b,
        "svc-no-grant-type": to_b,
        "svc-blocked": to_b,
        "svc-narrow": {"svc-b": _grant(excess="narrow"), "svc-c": customers | {"excess": "narrow"}},
        "svc-imp": {"svc-b": _grant(mode="impersonation"), "svc-c": customers},
        "svc-purpose": {"svc-b": _grant(purposes=["support-case", "billing"])},
        "svc-derive": {
            "svc-c": customers
            | {
                "scopes": ["orders.read"],
                "derives": {"customers.read": ["orders.write", "identity"]},
            }
        },
        "svc-reenter": {"svc-b": _grant(reentry=True)},
        "svc-shallow": {"svc-b": _grant(max_depth=1)},
        "svc-reuse": {
            "svc-b": _grant(reuse="1m"),
            "svc-c": customers | {"reuse": "30s"},
            "svc-ref": _grant(reuse="1m"),
        },
        "svc-idp-only": {"svc-b": _grant(issuers=[IDP])},
    }
