"""One configuration as services: built whole, so that it can be put in force by one assignment."""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.app.limiting import Limiting
from broker.app.proxying import wire_proxy
from broker.audit.commit import AuditTrail
from broker.blocklist.feed import Blocklist
from broker.blocklist.store import Ledger
from broker.clients.authenticate import ClientAuthenticator
from broker.clients.registry import ClientRegistry
from broker.endpoints.health import Readiness
from broker.errors import ConfigurationError
from broker.exchange.pipeline import TokenExchange
from broker.exchange.reuse import TokenReuse
from broker.introspection.introspect import Introspection
from broker.issuers.registry import IssuerRegistry
from broker.keys.keyring import Keyring
from broker.limits.admission import Admission
from broker.limits.callers import CallerLimit
from broker.limits.quotas import QuotaLimits
from broker.limits.throttle import FailureThrottle
from broker.policy.engine import PROXY_ENTRYPOINT, PolicyEngine
from broker.policy.load import load_engines
from broker.policy.rollout import Decider, InForce, Rollout
from broker.policy.targets import TargetRegistry
from broker.proxy.memory import Memory
from broker.proxy.proxy import TokenProxy
from broker.replay import ReplayStore
from broker.revocation.revoke import Revocation
from broker.settings import Limits, Settings
from broker.tokens.own import OwnTokens
from broker.tokens.references import References
from broker.tokens.store import ReferenceStore
from broker.tokens.verify import TokenVerifier


@dataclass(frozen=True, slots=True)
class Shared:
    """What outlives every configuration: connections, and the state of the process."""

    keyring: Keyring
    ledger: Ledger
    blocklist: Blocklist
    replay: ReplayStore
    references: ReferenceStore
    trail: AuditTrail
    proxied: Memory
    rollout: Rollout
    limiting: Limiting
    tls: ssl.SSLContext
    clock: Callable[[], datetime]
    build_id: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Wired:
    """One configuration, ready to serve."""

    settings: Settings
    exchange: TokenExchange
    introspection: Introspection
    revocation: Revocation
    proxy: TokenProxy
    engine: PolicyEngine
    proxy_engine: PolicyEngine | None  # None: there is no upstream, so nothing to ask it
    issuers: IssuerRegistry
    clients: ClientRegistry
    throttle: FailureThrottle
    callers: CallerLimit
    door: Admission

    async def close_engines(self) -> None:
        """Let go of the policy."""
        await self.engine.aclose()
        if self.proxy_engine is not None:
            await self.proxy_engine.aclose()

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
            "upstreams": [upstream.name for upstream in settings.upstreams],
        }


def wire(settings: Settings, shared: Shared, previous: Wired | None) -> Wired:
    """Return ``settings`` as services; blocks, for policy may have to be compiled.

    What ``previous`` has learnt and is still true stays: fetched keys, counted failures.
    Raises ``ConfigurationError``.
    """
    # A server has its own ways to get another policy.
    rollout = shared.rollout if settings.policy.engine == "wasm" else Rollout()
    engine, proxy_engine = _engines(settings, rollout)
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
    throttle, callers = _limits(settings.limits, previous)
    # One of each for all endpoints, so that none is more lenient than another.
    authenticator = ClientAuthenticator(
        clients,
        issuer=settings.issuer,
        token_endpoint=settings.token_endpoint,
        throttle=throttle,
        replay=shared.replay,
        revocations=shared.blocklist,
    )
    verifier = TokenVerifier(
        issuers,
        issuer=settings.issuer,
        clients=settings.clients,
        targets=settings.targets,
        references=References(shared.references),
    )
    tokens = OwnTokens(verifier, shared.blocklist, issuer=settings.issuer)
    exchange = TokenExchange(
        issuer=settings.issuer,
        authenticator=authenticator,
        verifier=verifier,
        revocations=shared.blocklist,
        targets=TargetRegistry(settings.targets, max_targets=settings.max_targets),
        decider=Decider(engine, rollout, settings.max_delegation_depth),
        signing_keys=shared.keyring,
        trail=shared.trail,
        quotas=QuotaLimits(
            settings.limits,
            settings.clients,
            shared=shared.limiting.counts,
            previous=None if previous is None else previous.exchange.quotas,
        ),
        turns=shared.limiting.turns,
        reuse=TokenReuse(
            *(shared.blocklist, shared.keyring),
            issuer=settings.issuer,
            clock=shared.clock,
            build_id=shared.build_id,
        ),
        ceiling=settings.max_delegation_depth,
        clock=shared.clock,
        build_id=shared.build_id,
    )
    introspection = Introspection(
        authenticator=authenticator,
        tokens=tokens,
        audiences={target.name: target.audience for target in settings.targets},
        limit=callers,
        trail=shared.trail,
    )
    revocation = Revocation(
        issuer=settings.issuer,
        authenticator=authenticator,
        tokens=tokens,
        ledger=shared.ledger,
        feed=shared.blocklist,
        trail=shared.trail,
    )
    proxy = wire_proxy(
        settings,
        proxy_engine or engine,  # without an upstream it is never asked
        throttle=throttle,
        trail=shared.trail,
        memory=shared.proxied,
        tls=shared.tls,
        previous=None if previous is None else previous.proxy,
    )
    return Wired(
        *(settings, exchange, introspection, revocation, proxy, engine, proxy_engine),
        *(issuers, clients, throttle, callers),
        Admission(
            settings.limits.source,
            shared.limiting.turns,
            waiting=settings.limits.waiting,
            count=shared.trail.count_refusal,
            previous=None if previous is None else previous.door,
        ),
    )


def _limits(limits: Limits, previous: Wired | None) -> tuple[FailureThrottle, CallerLimit]:
    """Return what counts; where a rate is as before, so is what was counted."""
    throttle = FailureThrottle(limits.authentication_failures)
    callers = CallerLimit(limits.introspections)
    if previous is not None:
        before = previous.settings.limits
        if before.authentication_failures == limits.authentication_failures:
            throttle = previous.throttle
        if before.introspections == limits.introspections:
            callers = previous.callers
    return throttle, callers


def _engines(settings: Settings, rollout: Rollout) -> tuple[PolicyEngine, PolicyEngine | None]:
    """Return what decides: what was activated, or else what this configuration names."""
    engine, proxy = load_engines(settings.policy, proxy=bool(settings.upstreams))
    if settings.policy.engine == "opa":
        return engine, proxy
    if proxy is not None and rollout.live is not None and rollout.live.proxy is None:
        raise ConfigurationError(
            "upstreams: the policy that was activated does not decide about the token proxy;"
            " activate one that does first"
        )
    return InForce(engine, rollout), (
        None if proxy is None else InForce(proxy, rollout, entrypoint=PROXY_ENTRYPOINT)
    )


def configured_revision(wired: Wired | None) -> str:
    """Return the revision that the configuration names; empty before the first."""
    if wired is None:
        return ""
    engine = wired.engine
    return engine.configured if isinstance(engine, InForce) else engine.revision


def describe_issuers(wired: Wired) -> list[dict[str, Any]]:
    """Return how the keys of each issuer are, for the admin API."""
    return [
        {
            "issuer": status.issuer,
            "alias": status.alias,
            "loaded": status.loaded,
            "age": status.age,
            "fault": status.fault,
        }
        for status in wired.issuers.status()
    ]


def judge_readiness(
    wired: Wired | None,
    *,
    keys: bool,
    revocations: bool,
    database: bool,
    sealing: str,
    policy: Mapping[str, Any],
) -> Readiness:
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
            "revocations": revocations,
            "database": database,
            # Tried once: whether with success is said beside it, and fails only that issuer's.
            "issuers": wired is not None and "not tried" not in tried.values(),
        },
        issuers=tried,
        sealing=sealing,
        policy=policy,
    )


def algorithms_of(settings: Settings) -> frozenset[str]:
    """Return every algorithm that something is signed with."""
    return frozenset({settings.keys.algorithm, *(t.algorithm for t in settings.targets)})
