"""Good values that take overrides: what the steps hand to one another."""

from datetime import UTC, datetime, timedelta
from typing import Any

from broker.blocklist.rule import OUTRIGHT, Rule, Scope
from broker.domain import (
    Client,
    Credentials,
    Delegation,
    Exchange,
    Principal,
    Target,
    TokenExchangeRequest,
    VerifiedToken,
)
from broker.oauth import AuthMethod, TokenType

BROKER = "https://broker.test"
IDP = "https://idp.test"
OTHER_IDP = "https://other.test"
NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)

ALICE = Principal(IDP, "alice")


def client(id: str = "svc-a", **overrides: Any) -> Client:  # noqa: A002 — the field's name
    """An authenticated client that is the target of its own name."""
    values: dict[str, Any] = {
        "id": id,
        "principal": Principal(BROKER, id),
        "auth_method": AuthMethod.CLIENT_SECRET_BASIC,
        "targets": frozenset({id}),
    }
    return Client(**values | overrides)


def target(name: str = "svc-b", **overrides: Any) -> Target:
    """A target that knows two scopes."""
    values: dict[str, Any] = {
        "name": name,
        "audience": name,
        "scopes": frozenset({"orders.read", "orders.write"}),
        "max_lifetime": timedelta(minutes=5),
    }
    return Target(**values | overrides)


def verified_token(**overrides: Any) -> VerifiedToken:
    """A user's token from the identity provider, for ``svc-a``."""
    values: dict[str, Any] = {
        "principal": ALICE,
        "asserted_by": IDP,
        "local_subject": "idp:alice",
        "token_type": TokenType.JWT,
        "typ": "at+jwt",
        "audiences": ("svc-a",),
        "scopes": frozenset({"orders.read"}),
        "issued_at": NOW - timedelta(minutes=1),
        "expires_at": NOW + timedelta(hours=1),
        "jti": "s-1",
        "digest": "00" * 32,
        "lineage_id": "AAAAAAAAAAAAAAAAAAAAAA",
        "key_id": "KKKKKKKKKKKKKKKKKKKKKK",
        "kid": "k-1",
    } | overrides
    # A token that descends from nothing is its own root.
    return VerifiedToken(**{"root_issued_at": values["issued_at"]} | values)


def revocation(scope: Scope, **overrides: Any) -> Rule:
    """A rule of the ledger; one with a ``not_before`` kills what was issued before ``NOW``."""
    values: dict[str, Any] = {
        "seq": 1,
        "scope": scope,
        "issuer": "",
        "key": "",
        "not_before": None if scope in OUTRIGHT else NOW,
        "reason": "a test",
        "by": "a test",
        "at": NOW,
    }
    return Rule(**values | overrides)


def token_exchange_request(**overrides: Any) -> TokenExchangeRequest:
    """A well-formed request for ``orders.read`` at ``svc-b``."""
    values: dict[str, Any] = {
        "id": "request-1",
        "source": "192.0.2.1",
        "credentials": Credentials(),
        "unverified_subject_token": "a.b.c",
        "subject_token_type": TokenType.JWT,
        "audiences": ("svc-b",),
        "scope": "orders.read",
    }
    return TokenExchangeRequest(**values | overrides)


def delegation(**overrides: Any) -> Delegation:
    """The client ``svc-a`` acts for a subject that nobody acted for before."""
    values: dict[str, Any] = {
        "acting": Principal(BROKER, "svc-a"),
        "chain": (Principal(BROKER, "svc-a"),),
        "subject_chain": (),
        "depth": 1,
        "max_depth": 8,
        "reenters": False,
        "actor_token": False,
    }
    return Delegation(**values | overrides)


def exchange(**overrides: Any) -> Exchange:
    """All of the above, put together."""
    values: dict[str, Any] = {
        "request": token_exchange_request(),
        "at": NOW,
        "client": client(),
        "subject": verified_token(),
        "actor": None,
        "delegation": delegation(),
        "targets": (target(),),
        "scopes": ("orders.read",),
    }
    return Exchange(**values | overrides)
