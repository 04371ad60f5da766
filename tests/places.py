"""The three places at which a JWT is presented, so that one table of faults runs at each.

A place makes a good JWT of its kind, takes it back to be judged, and knows by what name it
refuses what is wrong with it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

import pytest

from broker.clients.authenticate import ClientAuthenticator
from broker.clients.registry import ClientRegistry
from broker.domain import Credentials
from broker.errors import Rejected
from broker.oauth import CLIENT_ASSERTION_TYPE_JWT_BEARER
from broker.settings import Settings
from tests import verification
from tests.configuration import document
from tests.fakes import Revoked
from tests.jwts import (
    BROKER_ISSUER,
    CLIENT_KEY,
    IDP,
    KEYS,
    PrivateKey,
    actor_jwt,
    client_assertion,
    subject_jwt,
)

ACCEPTED = "accepted"
TOKEN_ENDPOINT = f"{BROKER_ISSUER}/token"


class Unthrottled:
    """Lets everybody try again: what is counted is another file's concern."""

    def check(self, client_id: str, source: str, now: datetime) -> int | None:
        """Nobody waits."""
        return None

    def failed(self, client_id: str, source: str, now: datetime) -> None:
        """Nothing is counted."""

    def succeeded(self, client_id: str, source: str) -> None:
        """Nothing is remembered."""


@dataclass
class ReplayMemory:
    """The claims of one process, as the database would keep them for all."""

    claimed: dict[tuple[str, str, str], datetime] = field(default_factory=dict)

    async def claim(self, kind: str, issuer: str, jti: str, expires_at: datetime) -> bool:
        """Whether this is the first claim of exactly this ``jti``."""
        key = (kind, issuer, jti)
        first = key not in self.claimed
        self.claimed.setdefault(key, expires_at)
        return first


def authenticator(
    replay: Any = None, throttle: Any = None, revocations: Any = None, **overrides: Any
) -> Any:
    """An authenticator of the test configuration; an override is a section of it."""
    return ClientAuthenticator(
        _registry_of(json.dumps(overrides)),
        issuer=BROKER_ISSUER,
        token_endpoint=TOKEN_ENDPOINT,
        # By identity: an empty throttle has the length 0.
        throttle=Unthrottled() if throttle is None else throttle,
        replay=ReplayMemory() if replay is None else replay,
        revocations=Revoked() if revocations is None else revocations,
    )


@lru_cache(maxsize=64)
def _registry_of(written: str) -> ClientRegistry:
    return ClientRegistry(Settings.model_validate(document(**json.loads(written))))


@cache
def standing_authenticator() -> ClientAuthenticator:
    """The authenticator of the test configuration as it stands, made once."""
    return authenticator()


def asserting(assertion: str, client_id: str | None = None) -> Credentials:
    """What a request with this client assertion presents."""
    return Credentials(
        unverified_client_id=client_id,
        unverified_client_assertion=assertion,
        unverified_client_assertion_type=CLIENT_ASSERTION_TYPE_JWT_BEARER,
    )


@dataclass(frozen=True)
class Place:
    """Where a JWT is presented: as subject token, actor token or client assertion."""

    name: str
    key: PrivateKey  # who makes good ones
    make: Callable[..., str]  # a good one, with overrides
    judge: Callable[..., Any]  # a coroutine that returns, or raises ``Rejected``
    names: dict[str, str]  # the reasons that are not called after the fault

    async def outcome(self, token: str, *, now: datetime | None = None) -> str:
        """``accepted``, or the reason for the refusal; any other exception is a failure."""
        try:
            await self.judge(token, now=now or datetime.now(UTC))
        except Rejected as rejected:
            return rejected.reason.value
        return ACCEPTED

    def reason(self, fault: str) -> str:
        """The reason by which this place refuses a fault."""
        return self.names.get(fault, f"{self.name}.{fault}")


async def _authenticate(assertion: str, *, now: datetime) -> Any:
    return await standing_authenticator().authenticate(
        asserting(assertion), source="192.0.2.1", now=now
    )


def _assertion(**overrides: Any) -> str:
    """A client assertion; ``typ`` and ``kid`` as the other two have them."""
    header = {"typ": overrides.pop("typ", "JWT")} | overrides.pop("header", {})
    kid = overrides.pop("kid", None)
    return client_assertion(header=header | ({} if kid is None else {"kid": kid}), **overrides)


SUBJECT = Place("subject_token", KEYS[IDP], subject_jwt, verification.subject, {})
ACTOR = Place("actor_token", KEYS[IDP], actor_jwt, verification.actor, {})
# Every forgery is one and the same failure: a client's text may not tell which check it was.
CLIENT = Place(
    "client",
    CLIENT_KEY,
    _assertion,
    _authenticate,
    dict.fromkeys(
        (
            *("malformed", "algorithm_not_allowed", "key_unknown", "signature_invalid"),
            *("type_not_accepted", "claim_missing", "claim_invalid", "not_yet_valid", "too_old"),
        ),
        "client.assertion_invalid",
    )
    | {
        "expired": "client.assertion_expired",
        "audience_mismatch": "client.assertion_audience",
        "issuer_unknown": "client.assertion_invalid",
    },
)

PLACES = [pytest.param(place, id=place.name) for place in (SUBJECT, ACTOR, CLIENT)]
at_each_place = pytest.mark.parametrize("place", PLACES)


def keyed(place: Place, *jwks: dict[str, Any], algorithms: list[str]) -> Place:
    """The same place where these are the keys of whoever makes its tokens."""
    keys = {"jwks": {"keys": list(jwks)}, "algorithms": algorithms}
    if place.name != CLIENT.name:
        return ruled(place, **keys)

    async def judge(token: str, *, now: datetime) -> Any:
        using = _authenticator_with(json.dumps(keys))
        return await using.authenticate(asserting(token), source="192.0.2.1", now=now)

    return replace(place, judge=judge)


def ruled(place: Place, **rules: Any) -> Place:
    """The place of a subject or actor token where its issuer has further rules."""

    async def judge(token: str, *, now: datetime) -> Any:
        return await place.judge(token, now=now, verifier=verification.verifier(rules={IDP: rules}))

    return replace(place, judge=judge)


# A configuration is judged whole each time, and many rows of a table share one.
@lru_cache(maxsize=64)
def _authenticator_with(settings: str) -> ClientAuthenticator:
    clients = [
        client | json.loads(settings) if client["id"] == "svc-jwt" else client
        for client in document()["clients"]
    ]
    return authenticator(clients=clients)
