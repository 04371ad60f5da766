"""One configuration as services: built whole, so that it can be put in force by one assignment."""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.audit.commit import AuditTrail
from broker.clients.authenticate import ClientAuthenticator
from broker.clients.registry import ClientRegistry
from broker.endpoints.health import Readiness
from broker.exchange.pipeline import TokenExchange
from broker.issuers.registry import IssuerRegistry
from broker.keys.keyring import Keyring
from broker.limits.throttle import FailureThrottle
from broker.policy.engine import PolicyEngine
from broker.policy.load import load_engine
from broker.policy.targets import TargetRegistry
from broker.replay import ReplayStore
from broker.settings import Settings
from broker.tokens.references import References
from broker.tokens.store import ReferenceStore
from broker.tokens.verify import TokenVerifier


@dataclass(frozen=True, slots=True)
class Shared:
    """What outlives every configuration: connections, and the state of the process."""

    keyring: Keyring
    replay: ReplayStore
    references: ReferenceStore
    trail: AuditTrail
    tls: ssl.SSLContext
    clock: Callable[[], datetime]
    build_id: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Wired:
    """One configuration, ready to serve."""

    settings: Settings
    exchange: TokenExchange
    engine: PolicyEngine
    issuers: IssuerRegistry
    clients: ClientRegistry
    throttle: FailureThrottle

    def describe(self) -> dict[str, Any]:
        """Return what is worth recording of it: no secret, no key."""
        settings = self.settings
        return {
            "issuer": settings.issuer,
            "policy_engine": settings.policy.engine,
            "policy_revision": self.engine.revision,
            "clients": len(settings.clients),
            "targets": len(settings.targets),
            "trusted_issuers": [issuer.issuer for issuer in settings.issuers],
        }


def wire(settings: Settings, shared: Shared, previous: Wired | None) -> Wired:
    """Return ``settings`` as services; blocks, for policy may have to be compiled.

    What ``previous`` has learnt and is still true stays: fetched keys, counted failures.
    Raises ``ConfigurationError``.
    """
    engine = load_engine(settings.policy)
    issuers = IssuerRegistry(
        settings.issuers,
        own=settings.issuer,
        own_keys=shared.keyring.verification_keys,
        previous=None if previous is None else previous.issuers,
        tls=shared.tls,
    )
    clients = ClientRegistry(
        settings, previous=None if previous is None else previous.clients, tls=shared.tls
    )
    rate = settings.limits.authentication_failures
    if previous is not None and previous.settings.limits.authentication_failures == rate:
        throttle = previous.throttle
    else:
        throttle = FailureThrottle(rate)
    exchange = TokenExchange(
        issuer=settings.issuer,
        authenticator=ClientAuthenticator(
            clients,
            issuer=settings.issuer,
            token_endpoint=settings.token_endpoint,
            throttle=throttle,
            replay=shared.replay,
        ),
        verifier=TokenVerifier(
            issuers,
            issuer=settings.issuer,
            clients=settings.clients,
            targets=settings.targets,
            references=References(shared.references),
        ),
        targets=TargetRegistry(settings.targets, max_targets=settings.max_targets),
        engine=engine,
        signing_keys=shared.keyring,
        trail=shared.trail,
        ceiling=settings.max_delegation_depth,
        clock=shared.clock,
        build_id=shared.build_id,
    )
    return Wired(settings, exchange, engine, issuers, clients, throttle)


def judge_readiness(wired: Wired | None, *, keys: bool, database: bool) -> Readiness:
    """Return what an exchange needs, and whether it is there. Design: the admin listener."""
    statuses = () if wired is None else wired.issuers.status()
    tried: Mapping[str, str] = {
        status.alias: "loaded" if status.loaded else (status.fault or "not tried")
        for status in statuses
    }
    return Readiness(
        checks={
            "keys": keys,
            "policy": wired is not None and wired.engine.available,
            "database": database,
            # Tried once: whether with success is said beside it, and fails only that issuer's.
            "issuers": wired is not None and "not tried" not in tried.values(),
        },
        issuers=tried,
    )


def algorithms_of(settings: Settings) -> frozenset[str]:
    """Return every algorithm that something is signed with."""
    return frozenset({settings.keys.algorithm, *(t.algorithm for t in settings.targets)})
