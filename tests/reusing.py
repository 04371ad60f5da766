"""The pipeline of one process, whole but for its database and its policy, for tests of reuse."""

import asyncio
import json
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from broker.audit.commit import AuditTrail
from broker.audit.event import Event
from broker.audit.queue import AlreadyClaimed, AuditUnavailable
from broker.audit.store import Claim
from broker.clients.authenticate import ClientAuthenticator
from broker.clients.registry import ClientRegistry
from broker.domain import Attempt, Credentials, Evaluation, IssuedToken, TokenExchangeRequest
from broker.exchange.pipeline import TokenExchange
from broker.exchange.reuse import MAX_BYTES, TokenReuse
from broker.issuers.registry import IssuerRegistry
from broker.jose.jwk import KeySet, load_keys
from broker.jose.sign import SigningKey, generate_signing_key
from broker.limits.quotas import QuotaLimits
from broker.limits.throttle import FailureThrottle
from broker.limits.turns import Turns
from broker.policy.rollout import Decider, Rollout
from broker.policy.targets import TargetRegistry
from broker.settings import Limits, Settings
from broker.tokens.references import References
from broker.tokens.verify import TokenVerifier
from tests.audit import new_vault
from tests.builders import BROKER, NOW, token_exchange_request
from tests.configuration import document, secret
from tests.decisions import allowance, refusal
from tests.fakes import Revoked
from tests.jwts import subject_jwt
from tests.verification import ReferenceMemory


@cache
def configuration() -> Settings:
    """The configuration that the tests share."""
    return Settings.model_validate(document())


@cache
def clients() -> ClientRegistry:
    """Its clients, whose secrets take a while to read."""
    return ClientRegistry(configuration())


class Rows:
    """The audit trail in a list; ``away``: its database is."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.claimed: set[bytes] = set()
        self.away = False
        self.gate: asyncio.Event | None = None  # what a row has to wait for

    async def append(self, event: Event, claims: list[Claim] = [], *_: Any) -> None:  # noqa: B006 — read only
        """Keep a row, together with its claims."""
        await (asyncio.sleep(0) if self.gate is None else self.gate.wait())
        if self.away:
            raise AuditUnavailable("away")
        keys = frozenset(key for key, _ in claims)
        if taken := keys & self.claimed:
            raise AlreadyClaimed(taken)
        self.claimed |= keys
        self.records.append(json.loads(event.record))

    @property
    def issued(self) -> list[dict[str, Any]]:
        """Of tokens that were given out."""
        return [record for record in self.records if record["outcome"] == "issued"]


class Keys:
    """Our own keys: what signs, and what is published."""

    executor = None

    def __init__(self) -> None:
        self.count = 0
        self.all = [generate_signing_key("ES256")]

    def signing_key(self, algorithm: str) -> SigningKey:
        """The one that signs."""
        assert algorithm == "ES256"
        self.count += 1
        return self.all[-1]

    def rotate(self) -> None:
        """Let another one sign."""
        self.all.append(generate_signing_key("ES256"))

    def published(self) -> KeySet:
        """What our own tokens verify with."""
        return load_keys({"keys": [key.public_jwk for key in self.all]}, ["ES256"])


@dataclass
class Policy:
    """What some policy says. ``reuse`` in seconds, 0 for never."""

    revision: str = "r1"
    allow: bool = True
    scopes: tuple[str, ...] = ("orders.read", "orders.write")
    lifetime: int = 120
    reuse: int = 60
    mode: str = "delegation"
    claims: tuple[str, ...] = ()
    ebbs: bool = False  # what it allows depends on the time
    available: bool = True

    async def evaluate(self, asked: bytes) -> Evaluation:
        """Decide as a careful one would."""
        given = json.loads(asked)
        wanted = given["request"]["scopes"] or given["subject"]["scopes"]
        scopes = sorted({*wanted} & {*self.scopes} & {*given["subject"]["scopes"]})
        if not self.allow or not scopes:
            return Evaluation(self.revision, asked, refusal("policy.denied"))
        lifetime = self.lifetime
        if self.ebbs and given["request"]["time"] % 40 >= 20:
            scopes, lifetime = scopes[:1], lifetime // 2
        output = allowance(
            targets=[target["name"] for target in given["request"]["targets"]],
            scopes=scopes,
            lifetime=lifetime,
            mode=self.mode,
            max_depth=given["delegation"]["max_depth"],
            claims=list(self.claims),
        )
        reuse = min(self.reuse, lifetime)
        return Evaluation(self.revision, asked, output | ({"reuse": reuse} if reuse else {}))

    async def aclose(self) -> None:
        """Nothing is open."""


@dataclass
class Process:
    """A process of the broker: what it shares with nobody. ``now`` is its clock."""

    policy: Policy = field(default_factory=Policy)
    revoked: Revoked = field(default_factory=Revoked)
    keys: Keys = field(default_factory=Keys)
    rows: Rows = field(default_factory=Rows)
    now: datetime = NOW
    max_bytes: int = MAX_BYTES
    ids: int = 0
    exchange: TokenExchange = field(init=False)

    def __post_init__(self) -> None:
        self.verifier = TokenVerifier(
            IssuerRegistry(configuration().issuers, own=BROKER, own_keys=self.keys.published),
            issuer=BROKER,
            clients=configuration().clients,
            targets=configuration().targets,
            references=References(ReferenceMemory()),
        )
        self.reload()

    def reload(self) -> None:
        """Put a configuration in force: another pipeline over the same process."""
        self.exchange = TokenExchange(
            issuer=BROKER,
            authenticator=ClientAuthenticator(
                clients(),
                issuer=BROKER,
                token_endpoint=f"{BROKER}/token",
                throttle=FailureThrottle(configuration().limits.authentication_failures),
                replay=None,  # type: ignore[arg-type] — nobody here has an assertion
                revocations=self.revoked,
            ),
            verifier=self.verifier,
            revocations=self.revoked,
            targets=TargetRegistry(configuration().targets, max_targets=4),
            decider=Decider(self.policy, Rollout(), 8),  # type: ignore[arg-type] — a small one
            signing_keys=self.keys,
            trail=AuditTrail(
                self.rows,  # type: ignore[arg-type] — a list in the place of the database
                issuer=BROKER,
                vault=new_vault(),
                clock=self.clock,
                build_id=self.new_id,
            ),
            reuse=TokenReuse(
                *(self.revoked, self.keys),
                issuer=BROKER,
                clock=self.clock,
                build_id=self.new_id,
                max_bytes=self.max_bytes,
            ),
            quotas=QuotaLimits(Limits(), configuration().clients),
            turns=Turns(),
            ceiling=8,
            clock=self.clock,
            build_id=self.new_id,
        )

    def clock(self) -> datetime:
        """The time here."""
        return self.now

    def wait(self, seconds: float) -> None:
        """Let time pass, or the clock be set."""
        self.now += timedelta(seconds=seconds)

    def new_id(self) -> str:
        """An id that nobody has had."""
        self.ids += 1
        return f"019ab000-0000-7000-8000-{self.ids:012d}"

    async def ask(self, token: str, using: str = "svc-a", **members: Any) -> IssuedToken:
        """Run one request through the pipeline. Raises ``Rejected``."""
        asked = request(token, using, **members)
        return await self.exchange.exchange(
            Attempt(self.new_id(), asked.source, self.now), lambda: asked
        )


def subject(**claims: Any) -> str:
    """A token of alice's for both clients, for an hour from ``NOW`` on."""
    iat = int(NOW.timestamp())
    values = {"iat": iat, "exp": iat + 3600, "aud": ["svc-a", "svc-b"]}
    return subject_jwt(**values | {"scope": "orders.read orders.write"} | claims)


def request(token: str, using: str = "svc-a", **members: Any) -> TokenExchangeRequest:
    """A request of a client that has its secret."""
    credentials = Credentials(
        unverified_authorization=(_basic(using),),
    )
    return token_exchange_request(
        **{"credentials": credentials, "unverified_subject_token": token} | members
    )


def _basic(using: str) -> str:
    return f"Basic {b64encode(f'{using}:{secret(using)}'.encode()).decode()}"
