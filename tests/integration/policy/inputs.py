"""Policy inputs by ``policies/schemas/input.json``, good unless a test says otherwise."""

import copy
import json
from typing import Any

from tests.jwts import BROKER_ISSUER, IDP, SCOPELESS

TIME = 1_795_521_600
ABSENT = object()


def target(name: str = "svc-b", **members: Any) -> dict[str, Any]:
    """A target as the input shows it."""
    return {
        "name": name,
        "audience": name,
        "scopes": ["orders.read", "orders.write"],
        "max_lifetime": 300,
        "claims": [],
    } | members


def customers(**members: Any) -> dict[str, Any]:
    """The other target, which knows another scope."""
    values = {"scopes": ["customers.read", "orders.read"], "max_lifetime": 120} | members
    return target("svc-c", **values)


def policy_input(**changes: Any) -> dict[str, Any]:
    """What ``svc-a`` asks of ``svc-b`` for alice; ``subject__scopes=[…]`` changes a member."""
    document: dict[str, Any] = {
        "request": {
            "id": "request-1",
            "time": TIME,
            "audiences": ["svc-b"],
            "resources": [],
            "targets": [target()],
            "scopes": ["orders.read"],
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "purpose": None,
            "source": "192.0.2.1",
        },
        "client": {"id": "svc-a", "auth_method": "client_secret_basic", "targets": ["svc-a"]},
        "subject": {
            "issuer": IDP,
            "subject": "alice",
            "client_id": None,
            "token_type": "urn:ietf:params:oauth:token-type:jwt",
            "scopes": ["orders.read", "orders.write"],
            "scopeless": False,
            "audiences": ["svc-a"],
            "issued_at": TIME - 60,
            "expires_at": TIME + 3600,
            "claims": {},
        },
        "actor": None,
        "delegation": {
            "acting": {"issuer": BROKER_ISSUER, "subject": "svc-a"},
            "chain": [{"issuer": BROKER_ISSUER, "subject": "svc-a"}],
            "depth": 1,
            "max_depth": 8,
            "reenters": False,
            "actor_token": False,
        },
    }
    document = copy.deepcopy(document)
    for path, value in changes.items():
        section, _, member = path.partition("__")
        place, name = (document[section], member) if member else (document, section)
        if value is ABSENT:
            del place[name]
        else:
            place[name] = value
    return document


def encoded(**changes: Any) -> bytes:
    """The same as an engine is given it."""
    return json.dumps(policy_input(**changes)).encode()


def scopeless(**changes: Any) -> dict[str, Any]:
    """A subject whose issuer gives no scopes, at a target where scopes follow from others."""
    return {
        "client__id": "svc-derive",
        "subject__issuer": SCOPELESS,
        "subject__scopes": [],
        "subject__scopeless": True,
        "request__targets": [customers()],
        "request__scopes": ["customers.read"],
    } | changes


PERMITS: dict[str, dict[str, Any]] = {
    "one-scope": {},
    "two-scopes": {"request__scopes": ["orders.write", "orders.read"]},
    "depth-at-the-limit": {"delegation__depth": 8},
    "lower-limit-of-the-subject": {"delegation__max_depth": 2},
    "default-scope": {"client__id": "svc-default", "request__scopes": []},
    "narrowed": {"client__id": "svc-narrow", "subject__scopes": ["orders.read"]}
    | {"request__scopes": ["orders.read", "orders.write", "no.such"]},
    "impersonation": {"client__id": "svc-imp"},
    "purpose": {"client__id": "svc-purpose", "request__purpose": "billing"},
    "purpose-that-nobody-asked-for": {"request__purpose": "billing"},
    "derived-of-a-scope": scopeless(subject__scopes=["orders.write"], subject__scopeless=False),
    "derived-of-identity": scopeless(),
    "reentry": {"client__id": "svc-reenter", "delegation__reenters": True},
    "reuse": {"client__id": "svc-reuse"},
    "reuse-for-two-targets": {"client__id": "svc-reuse"}
    | {"request__targets": [target(), customers(max_lifetime=20)]},
    "actor-token": {"actor": policy_input()["subject"], "delegation__actor_token": True},
    "two-targets": {"request__targets": [target(), customers()]},
    "claims-of-the-target": {"request__targets": [target(claims=["email", "acr"])]}
    | {"subject__claims": {"email": "alice@example.com", "groups": ["a", "b"]}},
    "names-outside-ascii": {"subject__subject": 'ålice\u2028 \\ " \u0001 \U0001f600'},
    "large": {"subject__claims": {"groups": [f"group-{number}" for number in range(3000)]}},
}

REFUSALS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "target-not-granted": ({"client__id": "svc-no-grant"}, ["policy.target_not_granted"]),
    "one-of-two-targets-not-granted": (
        {"request__targets": [target(), target("svc-x")]},
        ["policy.target_not_granted"],
    ),
    "issuer-not-allowed": (
        {"client__id": "svc-idp-only", "subject__issuer": "https://other.test"},
        ["policy.issuer_not_allowed"],
    ),
    "modes-differ": (
        {"client__id": "svc-imp", "request__targets": [target(), customers()]},
        ["policy.mode_conflict"],
    ),
    "impersonation-with-actor-token": (
        {"client__id": "svc-imp", "delegation__actor_token": True},
        ["policy.impersonation_with_actor_token"],
    ),
    "purpose-missing": ({"client__id": "svc-purpose"}, ["policy.purpose_missing"]),
    "purpose-not-allowed": (
        {"client__id": "svc-purpose", "request__purpose": "fun"},
        ["policy.purpose_not_allowed"],
    ),
    "depth-exceeded": ({"delegation__depth": 9}, ["delegation.depth_exceeded"]),
    "depth-unknown": ({"delegation__depth": None}, ["delegation.depth_exceeded"]),
    "depth-of-the-grant": (
        {"client__id": "svc-shallow", "delegation__depth": 2},
        ["delegation.depth_exceeded"],
    ),
    "loop": ({"delegation__reenters": True}, ["delegation.loop"]),
    "no-scope-and-no-default": ({"request__scopes": []}, ["scope.missing"]),
    "scope-unknown": ({"request__scopes": ["no.such"]}, ["policy.scope_unknown"]),
    "scope-not-granted": (
        {"request__targets": [target(scopes=["admin"])], "request__scopes": ["admin"]},
        ["policy.scope_not_granted"],
    ),
    "scope-not-held": ({"subject__scopes": []}, ["policy.scope_not_held"]),
    "nothing-left-to-narrow-to": (
        {"client__id": "svc-narrow", "subject__scopes": []},
        ["policy.scope_nothing_left"],
    ),
}

# No honest caller sends these; whatever the answer is, both engines give the same and no yes.
MALFORMED: dict[str, dict[str, Any]] = {
    "no-request": {"request": ABSENT},
    "no-client": {"client": ABSENT},
    "no-subject": {"subject": ABSENT},
    "no-delegation": {"delegation": ABSENT},
    "scopes-are-text": {"request__scopes": "orders.read"},
    "scopes-null": {"request__scopes": None},
    "targets-empty": {"request__targets": []},
    "targets-null": {"request__targets": None},
    "depth-is-text": {"delegation__depth": "1"},
    "depth-is-an-object": {"delegation__depth": {}},
    "subject-scopes-null": {"subject__scopes": None},
    "lifetime-is-text": {"request__targets": [target(max_lifetime="300")]},
}
