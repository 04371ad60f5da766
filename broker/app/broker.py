"""One broker process: what lives as long as it does, and which configuration is in force.

A configuration is wired whole and then put in force by one assignment, so that a request sees one
configuration from its beginning to its end (OP-08). What outlives configurations, because it holds
connections or state of the process, is made once: database, audit writer, keyring, listeners.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from broker.app.detecting import Detecting
from broker.app.limiting import Limiting
from broker.app.parts import Parts, settled
from broker.app.place import ALONE, PATIENCE, Place
from broker.app.proxying import Proxying, build_proxy_listener
from broker.app.rolling import Rolling
from broker.app.sealing import Sealing
from broker.app.siblings import Siblings
from broker.app.streaming import Streaming
from broker.app.sweeping import sweep
from broker.app.wiring import (
    Shared,
    Wired,
    algorithms_of,
    configured_revision,
    describe_issuers,
    judge_readiness,
    wire,
)
from broker.audit.budget import RefusalBudget
from broker.audit.commit import AuditTrail
from broker.audit.lift import Lifter
from broker.audit.uuid7 import build_uuid7
from broker.audit.vault import load_vault
from broker.audit.writer import AuditWriter
from broker.blocklist.feed import Blocklist, memory_of
from broker.blocklist.store import Ledger, LedgerUnavailable
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.migrate import pending
from broker.endpoints.apps import build_admin_app, build_public_app, load_bearer
from broker.endpoints.health import AdminEndpoints, Readiness
from broker.endpoints.revocations import RevocationsEndpoint
from broker.endpoints.source import Networks
from broker.errors import ConfigurationError
from broker.issuers.fetch import build_tls
from broker.keys.keyring import Keyring, build_schedule, longest_life
from broker.keys.load import load_providers
from broker.keys.provider import ProviderUnavailable, Unopenable
from broker.keys.rotator import Rotator
from broker.keys.store import KeyStore, StoreUnavailable
from broker.limits.admission import Admission
from broker.listener import Listener
from broker.replay import ReplayStore
from broker.revocation.operator import OperatorRevocation, Survey
from broker.settings import Settings
from broker.telemetry.export import Telemetry
from broker.tokens.store import ReferenceStore

_log = logging.getLogger(__name__)

# What is built once and would be half new after a reload; a change of it asks for a restart.
_FIXED: Final = ("issuer", "listen", "admin", "database", "keys", "audit", "telemetry", "proxy")
# After a reload, how long requests that began before it may still ask the old policy engine.
_LINGER: Final = timedelta(seconds=10)


def utc_now() -> datetime:
    """Return the time, for tokens; durations are measured by a monotonic clock."""
    return datetime.now(UTC)


class Broker:
    """One broker process: ``start``, perhaps ``reload``, ``stop``.

    ``settings.database.url`` may be overridden by ``database_url``, and ``kek_file`` likewise,
    where an embedded database was started beside it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        telemetry: Telemetry,
        database_url: str | None = None,
        kek_file: Path | None = None,
        place: Place = ALONE,
    ) -> None:
        """Nothing is opened yet. Raises ``ConfigurationError`` for what cannot be built."""
        configured = settings.database.url
        url = database_url or (configured.get_secret_value() if configured else None)
        if url is None:
            raise ConfigurationError("database.url: is needed here")
        self._settings = settings
        self._vault = load_vault(settings)
        self.database = Database(url)
        self._build_id: Callable[[], str] = lambda: build_uuid7(utc_now)
        self._writer = AuditWriter(self.database, deadline=settings.audit.deadline, clock=utc_now)
        refusals = settings.audit.unauthenticated_refusals
        self.trail = AuditTrail(
            self._writer,
            issuer=settings.issuer,
            vault=self._vault,
            clock=utc_now,
            build_id=self._build_id,
            budget=RefusalBudget(rows=refusals.count, per=refusals.per),
        )
        self.ledger = Ledger(self.database)
        self.blocklist = Blocklist(self.ledger, memory=memory_of(settings), clock=utc_now)
        self._replay = ReplayStore(self.database)
        self._references = ReferenceStore(self.database)
        self._keyring = _build_keyring(settings, self.database, kek_file, self.trail)
        self._proxying = Proxying(settings.proxy, trail=self.trail, clock=utc_now)
        self._limiting = Limiting(settings.limits)
        self._rolling = Rolling(
            *(self.database, self.trail),
            settings=lambda: self._in_force().settings,
            configured=lambda: configured_revision(self._wired),
            writer=self._writer.writer,
            place=place,
            clock=utc_now,
        )
        self._shared = Shared(
            self._keyring,
            self.ledger,
            self.blocklist,
            self._replay,
            self._references,
            self.trail,
            self._proxying.memory,
            self._rolling.rollout,
            self._limiting,
            build_tls(),
            utc_now,
            self._build_id,
        )
        self._place = place
        self._siblings = None if place.folder is None else Siblings(telemetry, place, place.folder)
        self._sealing = Sealing(settings, self.database, self._shared.tls)
        self._streaming = Streaming(settings.audit.streams, url, self._vault, utc_now)
        self._detecting = Detecting(settings.audit.alerts, url, self.trail, utc_now)
        self._wired: Wired | None = None
        self._stop = asyncio.Event()
        self._ending = asyncio.Event()  # the last to stop: the audit writer
        self._parts = Parts()
        public = build_public_app(
            settings.issuer,
            current=self._in_force,
            proxies=self._proxies,
            jwks=self._keyring.jwks,
            clock=utc_now,
            build_id=self._build_id,
            door=self._door,
            page=self._error_page,
            with_proxy=settings.proxy.listen is None,
        )
        admin = build_admin_app(
            AdminEndpoints(
                self.readiness,
                self.status,
                self._siblings or telemetry,
                RevocationsEndpoint(self._operator_revocation(), utc_now),
                load_bearer(settings.admin.token_file),
            ),
            build_id=self._build_id,
        )
        self._public = place.listener("public", public, settings.listen)
        self._admin = place.listener("admin", admin, settings.admin)
        self._proxy = build_proxy_listener(
            settings,
            place,
            current=self._in_force,
            proxies=self._proxies,
            build_id=self._build_id,
            door=self._door,
        )

    @property
    def port(self) -> int:
        """The TCP port that clients reach."""
        return self._public.port

    @property
    def admin_port(self) -> int:
        """The TCP port for health, metrics and the admin API."""
        return self._admin.port

    @property
    def proxy_port(self) -> int | None:
        """The TCP port of the token proxy, if it has one of its own."""
        return None if self._proxy is None else self._proxy.port

    @property
    def failed(self) -> asyncio.Event:
        """Set once a part that must never end has ended."""
        return self._parts.failed

    async def start(self) -> None:
        """Serve, at once; ready as soon as what an exchange needs is there.

        A database or an issuer that is down is waited for. Raises ``OSError`` for a port that is
        taken, and ``ConfigurationError`` for what will not mend by itself. One that replaces
        another serves once it is ready, or after ``place.PATIENCE``.
        """
        for listener in self._listeners():
            listener.bind()
        wired = await asyncio.to_thread(wire, self._settings, self._shared, None)
        await self._check_database()
        self._parts.spawn(self._writer.run(self._ending), "audit-writer")
        self._parts.spawn(self.trail.run(self._stop), "audit-trail")
        try:
            await self._keyring.load()
        except StoreUnavailable:
            _log.warning("the database does not answer; the keys are loaded when it does")
        except (ProviderUnavailable, Unopenable):
            _log.exception("signing keys cannot be made or opened; that is tried again")
        self._parts.spawn(self._keyring.run(self._stop), "keyring")
        self._parts.spawn(self.blocklist.run(self._stop), "blocklist")
        self._parts.spawn(sweep(self._replay, self._references, self._stop), "sweep")
        self._parts.spawn(self._proxying.run(self._stop), "proxy")
        self._parts.spawn(self._sealing.run(self._stop), "sealing")
        self._parts.spawn(self._streaming.run(self._stop), "streaming")
        self._parts.spawn(self._detecting.run(self._stop), "detecting")
        self._parts.spawn(Lifter(self.database, self.trail.record).run(self._stop), "access")
        self._put_in_force(wired)
        self._parts.spawn(self._rolling.run(self._stop), "rolling")
        if self._siblings is not None:
            self._parts.spawn(self._siblings.run(self._stop), "siblings")
        for listener in self._listeners():
            self._parts.spawn(self._listen(listener), "listener")
        ports = {"port": self.port, "admin_port": self.admin_port, "proxy_port": self.proxy_port}
        _log.info("serving", extra=ports)

    async def wait_ready(self, seconds: float = 30.0) -> None:
        """Return once an exchange can succeed, or this stops. Raises ``TimeoutError``."""
        async with asyncio.timeout(seconds):
            # Asked and not told: readiness is what several parts of the process say at once.
            while not (self.readiness().ready or self._parts.stopping):  # noqa: ASYNC110 — see above
                await asyncio.sleep(0.02)

    async def _listen(self, listener: Listener) -> None:
        if self._place.replaces:
            # Others serve meanwhile; and if it takes too long, clients are better told than kept.
            with suppress(TimeoutError):
                await self.wait_ready(PATIENCE)
        await listener.serve()

    async def reload(self, settings: Settings) -> None:
        """Put another configuration in force, whole, for every request that begins from now on.

        Raises ``ConfigurationError``; then nothing has changed.
        """
        old = self._in_force()
        changed = [
            name for name in _FIXED if getattr(settings, name) != getattr(old.settings, name)
        ]
        if settings.limits.store != old.settings.limits.store:
            changed.append("limits.store")
        if longest_life(settings) > longest_life(self._settings):
            # Retiring keys stay published for as long as the tokens that were known at the start.
            changed.append("targets[].max_lifetime")
        if changed:
            raise ConfigurationError(
                "\n".join(f"{name}: a change of this needs a restart" for name in changed)
            )
        wired = await asyncio.to_thread(wire, settings, self._shared, old)
        try:
            await self._keyring.use(algorithms_of(settings))
        except StoreUnavailable as error:
            raise ConfigurationError("database: it does not answer, and keys are needed") from error
        except (ProviderUnavailable, Unopenable) as error:
            raise ConfigurationError(f"keys: {error}, and new ones are needed") from error
        try:
            # Where an issuer's tokens may be older from now on, so may their revocations.
            await self.blocklist.use(memory_of(settings))
        except LedgerUnavailable as error:
            raise ConfigurationError("database: it does not answer") from error
        # Before the first request is answered by it: what was decided by which rules is on record.
        await self.trail.record("configuration.reload", wired.describe())
        self._put_in_force(wired)
        self._parts.spawn(_close_later(old), "old-policy-engine", may_end=True)
        _log.info("configuration reloaded", extra=wired.describe())
        self._rolling.remind()

    async def stop(self) -> None:
        """Finish the requests that are under way, record the end, and close everything."""
        self._parts.stopping = True
        for listener in self._listeners():
            listener.stop()
        await settled(self._parts.named("listener"))
        self._stop.set()
        for task in self._parts.named("issuers", "clients", "old-policy-engine"):
            task.cancel()
        # The writer last: the others have something to record until they end.
        await settled(self._parts.tasks - self._parts.named("audit-writer"))
        self._ending.set()
        await settled(self._parts.tasks)
        if self._wired is not None:
            await self._wired.issuers.aclose()
            await self._wired.clients.aclose()
            await self._wired.close_engines()
        await self._replay.aclose()
        await self._references.aclose()
        await self._limiting.aclose()
        await self.database.aclose()

    def readiness(self) -> Readiness:
        """Return whether an exchange can succeed, and what it lacks."""
        return judge_readiness(
            self._wired,
            keys=self._keyring.loaded,
            revocations=self.blocklist.loaded,
            database=self._writer.available,
            sealing=self._sealing.state,
            policy=self._rolling.describe(),
        )

    def status(self) -> dict[str, Any]:
        """Return what runs here, for the admin API."""
        wired = self._in_force()
        return {
            **wired.describe(),
            "writer": str(self._writer.writer),
            "ready": self.readiness().ready,
            "policy": self._rolling.describe(),
            "sealing": self._sealing.describe(),
            "streaming": self._streaming.describe(),
            "detecting": self._detecting.describe(),
            "issuers": describe_issuers(wired),
        }

    def _operator_revocation(self) -> OperatorRevocation:
        survey = Survey(
            issuer=self._settings.issuer,
            ledger=self.ledger,
            database=self.database,
            pseudonym=self._vault.pseudonym,
            # At the start, and a reload makes no longer one.
            longest_life=longest_life(self._settings),
            memory=lambda: memory_of(self._in_force().settings),
            clock=utc_now,
        )
        return OperatorRevocation(survey, self.trail, self.blocklist)

    def _listeners(self) -> list[Listener]:
        return [one for one in (self._public, self._admin, self._proxy) if one is not None]

    def _in_force(self) -> Wired:
        if self._wired is None:  # not possible once it serves
            raise ConfigurationError("the broker has not been started")
        return self._wired

    def _door(self) -> Admission:
        return self._in_force().door

    def _error_page(self) -> str:
        return "" if self._wired is None else self._wired.settings.error_uri or ""

    def _proxies(self) -> Networks:
        return self._in_force().settings.trusted_proxies

    def _put_in_force(self, wired: Wired) -> None:
        self._wired = wired
        # Cancelled and not closed: what the old registries have loaded may be the new ones' too.
        for task in self._parts.named("issuers", "clients"):
            task.cancel()
        self._parts.spawn(wired.issuers.run(self._stop), "issuers", may_end=True)
        self._parts.spawn(wired.clients.run(self._stop), "clients", may_end=True)

    async def _check_database(self) -> None:
        try:
            missing = await pending(self.database)
        except DATABASE_ERRORS:
            return  # it is waited for
        except NotDurable as error:
            raise ConfigurationError(f"database: {error}") from error
        if missing:
            raise ConfigurationError(
                f"database: {len(missing)} migrations are not applied; run: broker migrate"
            )


def _build_keyring(
    settings: Settings, database: Database, kek_file: Path | None, trail: AuditTrail
) -> Keyring:
    store, providers = KeyStore(database), load_providers(settings.keys, kek_file=kek_file)
    rotator = Rotator(store, providers, build_schedule(settings), trail.record)
    return Keyring(store, providers, rotator, algorithms=algorithms_of(settings))


async def _close_later(wired: Wired) -> None:
    await asyncio.sleep(_LINGER.total_seconds())
    await wired.close_engines()
