"""The policy input: everything that is verified, nothing that is not, in JSON's own types."""

from datetime import timedelta

import orjson
import pytest

from broker.domain import Principal
from broker.oauth import TokenType
from broker.policy.input import build_input
from tests.builders import (
    ALICE,
    BROKER,
    IDP,
    NOW,
    client,
    delegation,
    exchange,
    target,
    token_exchange_request,
    verified_token,
)

A, B = (Principal(BROKER, name) for name in ("svc-a", "svc-b"))


def test_an_exchange_as_the_policy_sees_it():
    """Design §6: these members and no others."""
    full = exchange(
        at=NOW + timedelta(microseconds=999_999),
        request=token_exchange_request(
            audiences=("svc-b",),
            resources=("https://b.test/",),
            requested_token_type=TokenType.JWT,
            purpose="billing",
        ),
        client=client(targets=frozenset({"svc-z", "svc-a"})),
        subject=verified_token(
            client_id="app",
            scopes=frozenset({"orders.write", "orders.read"}),
            scopeless=True,
            expires_at=NOW + timedelta(seconds=60, microseconds=1),
            policy_claims={"groups": ["staff"]},
        ),
        delegation=delegation(chain=(A, B), depth=2, max_depth=5, reenters=True),
        targets=(target(claims=("email", "acr"), max_lifetime=timedelta(minutes=2)),),
        scopes=("orders.write", "orders.read"),
    )

    now = int(NOW.timestamp())
    assert {
        "request": {
            "id": "request-1",
            "time": now,
            "audiences": ["svc-b"],
            "resources": ["https://b.test/"],
            "targets": [
                {
                    "name": "svc-b",
                    "audience": "svc-b",
                    "scopes": ["orders.read", "orders.write"],
                    "max_lifetime": 120,
                    "claims": ["email", "acr"],
                }
            ],
            "scopes": ["orders.write", "orders.read"],
            "requested_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "purpose": "billing",
            "source": "192.0.2.1",
        },
        "client": {
            "id": "svc-a",
            "auth_method": "client_secret_basic",
            "targets": ["svc-a", "svc-z"],
        },
        "subject": {
            "issuer": IDP,
            "subject": "alice",
            "client_id": "app",
            "token_type": "urn:ietf:params:oauth:token-type:jwt",
            "scopes": ["orders.read", "orders.write"],
            "scopeless": True,
            "audiences": ["svc-a"],
            "issued_at": now - 60,
            "expires_at": now + 60,
            "claims": {"groups": ["staff"]},
        },
        "actor": None,
        "delegation": {
            "acting": {"issuer": BROKER, "subject": "svc-a"},
            "chain": [
                {"issuer": BROKER, "subject": "svc-a"},
                {"issuer": BROKER, "subject": "svc-b"},
            ],
            "depth": 2,
            "max_depth": 5,
            "reenters": True,
            "actor_token": False,
        },
    } == build_input(full)


def test_an_actor_is_described_like_a_subject():
    """Design §6: ``actor`` is the same as ``subject``, or null."""
    token = verified_token(principal=Principal(IDP, "batch"))

    seen = build_input(exchange(actor=token))["actor"]

    assert build_input(exchange(subject=token))["subject"] == seen


@pytest.mark.row("OP-12")
def test_of_the_subject_s_claims_only_those_named_are_seen():
    """What policy sees the audit record holds, and neither needs an address to decide."""
    subject = verified_token(
        claims={"email": "alice@example.test", "groups": ["staff"], "ssn": "078-05-1120"},
        policy_claims={"groups": ["staff"]},
    )

    seen = build_input(exchange(subject=subject))

    assert {"groups": ["staff"]} == seen["subject"]["claims"]
    assert b"078-05-1120" not in orjson.dumps(seen)
    assert b"alice@" not in orjson.dumps(seen)


def test_the_identity_of_the_origin_is_seen_on_every_hop():
    """Invariant 9: our own tokens are still their subject's, of the issuer that knows it."""
    own = verified_token(principal=ALICE, asserted_by=BROKER, chain=(A,), delegation_depth=1)

    seen = build_input(exchange(subject=own))["subject"]

    assert (IDP, "alice") == (seen["issuer"], seen["subject"])


def test_the_input_is_one_text_for_one_exchange():
    """A decision is replayed from it, so sets have an order."""
    scopes = [f"s{number}" for number in range(50)]
    forwards = verified_token(scopes=frozenset(scopes))
    backwards = verified_token(scopes=frozenset(reversed(scopes)))

    assert orjson.dumps(build_input(exchange(subject=forwards))) == orjson.dumps(
        build_input(exchange(subject=backwards))
    )
