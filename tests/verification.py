"""A verifier over the test configuration, and tokens of our own for it to read."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from broker.blocklist.rule import Rule
from broker.domain import Client, Principal, VerifiedToken
from broker.errors import Reason, VerificationRejected
from broker.issuers.registry import IssuerRegistry
from broker.jose.jwk import load_keys
from broker.settings import Settings
from broker.tokens.own import OwnTokens
from broker.tokens.references import References
from broker.tokens.verify import TokenVerifier
from tests import builders
from tests.configuration import document
from tests.fakes import Revoked
from tests.jwts import ABSENT, BROKER_ISSUER, IDP, jwt, public_jwk
from tests.wire import JWT


class ReferenceMemory(dict[bytes, str]):
    """The records of reference tokens of one process, as the database would keep them for all."""

    async def find(self, digest: bytes) -> str | None:
        """The record of the token of this hash."""
        return self.get(digest)


REFERENCE_TABLE = ReferenceMemory()
OWN_KEY = ec.generate_private_key(ec.SECP256R1())
ANCESTOR = "A" * 22
ANCESTORS_KEY = "K" * 22


def registry(issuers: Iterable[Any], **overrides: Any) -> IssuerRegistry:
    """A registry of these issuers and our own."""
    own = load_keys({"keys": [public_jwk(OWN_KEY, alg="ES256")]}, ["ES256"])
    return IssuerRegistry(issuers, own=BROKER_ISSUER, own_keys=lambda: own, **overrides)


def verifier(**overrides: Any) -> TokenVerifier:
    """A verifier of the test configuration; an override is a rule by issuer, or a section."""
    return _verifier_of(json.dumps(overrides))


# It keeps nothing between tokens, and a configuration is judged whole each time it is made.
@lru_cache(maxsize=256)
def _verifier_of(written: str) -> TokenVerifier:
    overrides = json.loads(written)
    rules = overrides.pop("rules", {})
    body = document(**overrides)
    body["issuers"] = [issuer | rules.get(issuer["issuer"], {}) for issuer in body["issuers"]]
    settings = Settings.model_validate(body)
    return TokenVerifier(
        registry(settings.issuers),
        issuer=settings.issuer,
        clients=settings.clients,
        targets=settings.targets,
        references=References(REFERENCE_TABLE),
    )


def verifier_with(references: References, *own_jwks: dict[str, Any]) -> TokenVerifier:
    """A verifier of the test configuration over these references and these keys of ours."""
    settings = Settings.model_validate(document())
    own = load_keys({"keys": list(own_jwks)}, ["ES256"])
    return TokenVerifier(
        IssuerRegistry(settings.issuers, own=BROKER_ISSUER, own_keys=lambda: own),
        issuer=settings.issuer,
        clients=settings.clients,
        targets=settings.targets,
        references=references,
    )


def own_tokens(using: TokenVerifier | None = None, *rules: Rule) -> OwnTokens:
    """What introspection and revocation ask, where these rules are in force."""
    return OwnTokens(using or verifier(), Revoked(*rules), issuer=BROKER_ISSUER)


def known_client() -> Client:
    """The client ``svc-known``, which the identity provider calls ``known-app``."""
    return builders.client("svc-known", known_as=frozenset({Principal(IDP, "known-app")}))


async def subject(
    token: str, client: Client | None = None, *, declared: str = JWT, **options: Any
) -> VerifiedToken:
    """Verify a subject token that ``client`` presents now."""
    now = options.pop("now", datetime.now(UTC))
    request = builders.token_exchange_request(
        unverified_subject_token=token, subject_token_type=declared
    )
    using = options.pop("verifier", None) or verifier(**options)
    return await using.verify_subject(request, client or builders.client(), now=now)


async def actor(token: str, client: Client | None = None, **options: Any) -> VerifiedToken | None:
    """Verify an actor token that ``client`` presents now."""
    now = options.pop("now", datetime.now(UTC))
    request = builders.token_exchange_request(unverified_actor_token=token, actor_token_type=JWT)
    using = options.pop("verifier", None) or verifier(**options)
    return await using.verify_actor(request, client or builders.client(), now=now)


def refusal(verification: Any) -> str:
    """The reason for which a verification is refused; in a test without a loop of its own."""
    return asyncio.run(refused(verification))


async def refused(verification: Any) -> str:
    """The reason for which a verification is refused."""
    with pytest.raises(VerificationRejected) as caught:
        await verification
    assert isinstance(caught.value.reason, Reason)
    return caught.value.reason.value


def own_jwt(typ: Any = "at+jwt", **overrides: Any) -> str:
    """An access token of ours for ``svc-b``: alice of the identity provider, by ``svc-a``."""
    now = int(time.time())
    claims = {
        "iss": BROKER_ISSUER,
        "sub": "idp:alice",
        "sub_id": {"format": "iss_sub", "iss": IDP, "sub": "alice"},
        "aud": "svc-b",
        "scope": "orders.read",
        "client_id": "svc-a",
        "iat": now - 5,
        "nbf": now - 5,
        "exp": now + 3_600,  # longer than the suite runs: some are made when it is collected
        "jti": str(uuid.uuid4()),
        "act": {"iss": BROKER_ISSUER, "sub": "svc-a"},
        "delegation_depth": 1,
        "max_delegation_depth": 8,
        "txn": "root",
        "lineage": [ANCESTOR],
        "lineage_keys": [ANCESTORS_KEY],
        "lineage_clients": ["svc-a"],
        "root_iat": now - 30,
    } | overrides
    body = {name: value for name, value in claims.items() if value is not ABSENT}
    return jwt(body, key=OWN_KEY, header={"typ": typ})
