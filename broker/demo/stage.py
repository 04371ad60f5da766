"""Everything that the demo runs on, started in order and stopped in reverse.

PostgreSQL → schema → identity provider → policy → broker

All of it is what production runs, in one process and one folder; only the identity provider is a
demo. Nothing is printed here: each step is told to ``Progress``.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Final, ParamSpec, Protocol, TypeVar

from broker.app import Broker
from broker.db.embedded import EmbeddedPostgres
from broker.db.migrate import CannotMigrate, migrate
from broker.demo.configuration import (
    HOST,
    DemoClients,
    build_document,
    load_clients,
    load_secret,
    write_document,
)
from broker.demo.issuer import DemoIssuer
from broker.demo.ports import choose_port
from broker.demo.story import Admin
from broker.errors import ConfigurationError
from broker.keys.envelope import load_or_make_kek
from broker.policy.bundle import build_bundle
from broker.settings import Settings, load_settings
from broker.telemetry.export import configure
from broker.telemetry.logs import JsonFormatter

PORT: Final = 8080
ADMIN_PORT: Final = 9090
ISSUER_PORT: Final = 9400
_ADMIN_TOKEN: Final = "admin.secret"  # noqa: S105 — the name of a file
_READY: Final = 60.0  # seconds; a first start compiles the policy and makes keys
P = ParamSpec("P")
T = TypeVar("T")
_ATTEMPTS: Final = 3  # at ports that were free a moment ago


class Progress(Protocol):
    """Is told what is being done; what it gives is told what came of it."""

    def step(self, title: str) -> AbstractContextManager[Callable[[str], None]]:
        """Return a context that lasts as long as the step; call what it gives with a detail."""
        ...


@dataclass(frozen=True, slots=True)
class Stage:
    """What is running."""

    folder: Path
    policies: Path
    configuration: Path
    clients: DemoClients
    admin: Admin
    settings: Settings
    postgres: EmbeddedPostgres
    issuer: DemoIssuer
    broker: Broker


@asynccontextmanager
async def set_stage(folder: Path, policies: Path, progress: Progress) -> AsyncIterator[Stage]:
    """Start everything, with its data in ``folder``; what was started is stopped in any case.

    Raises ``ConfigurationError``: says what keeps it from starting, and what to do.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(_lock(folder))
        stack.enter_context(_logs_in(folder / "broker.log"))
        postgres = EmbeddedPostgres(folder)
        with progress.step("PostgreSQL") as say:
            stack.push_async_callback(asyncio.to_thread, postgres.stop)
            await _finished(postgres.start)
            say(f"data in {folder.name}")
        with progress.step("schema") as say:
            applied = await _finished(_migrate, postgres)
            say(f"applied: {', '.join(applied)}" if applied else "up to date")
        with progress.step("identity provider") as say:
            issuer = _start_issuer()
            stack.callback(issuer.stop)
            say(_where(issuer.issuer, issuer.port, ISSUER_PORT))
        clients = load_clients(folder / "clients")
        with progress.step("policy to WebAssembly") as say:
            # The broker compiles it again: this one says, before anything else, what is wrong.
            bundle = await _finished(build_bundle, policies)
            say(f"revision {bundle.revision[:12]}")
        with progress.step("broker") as say:
            settings, broker = await _start_broker(folder, policies, postgres, issuer, clients)
            stack.push_async_callback(broker.stop)
            await broker.wait_ready(_READY)
            say(_where(settings.issuer, settings.listen.port, PORT))
        yield Stage(
            folder=folder,
            policies=policies,
            configuration=folder / "broker.yaml",
            clients=clients,
            admin=Admin(f"http://{HOST}:{broker.admin_port}", load_secret(folder / _ADMIN_TOKEN)),
            settings=settings,
            postgres=postgres,
            issuer=issuer,
            broker=broker,
        )


async def _finished(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Return what blocking work gives, and wait for its end also when nobody wants it any more.

    Else what it starts would be stopped before it has started.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **named))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _migrate(postgres: EmbeddedPostgres) -> list[str]:
    try:
        return migrate(postgres.owner_url)
    except CannotMigrate as error:
        raise ConfigurationError(f"the database in this folder cannot be used: {error}") from error


def _start_issuer() -> DemoIssuer:
    for _ in range(_ATTEMPTS):
        try:
            issuer = DemoIssuer(HOST, choose_port(ISSUER_PORT))
        except OSError:
            continue  # taken since
        issuer.start()
        return issuer
    raise ConfigurationError("the identity provider finds no free port; stop what takes them all")


async def _start_broker(
    folder: Path,
    policies: Path,
    postgres: EmbeddedPostgres,
    issuer: DemoIssuer,
    clients: DemoClients,
) -> tuple[Settings, Broker]:
    kek = folder / "kek"
    load_or_make_kek(kek)
    checkpoint_key = folder / "checkpoint.key"
    load_or_make_kek(checkpoint_key, setting="audit.checkpoints.key_file")
    audit_key = folder / "audit.key"
    load_or_make_kek(audit_key, setting="audit.key_file")
    load_secret(folder / _ADMIN_TOKEN)
    telemetry = configure(otlp_endpoint=None, trace_ratio=0)
    for _ in range(_ATTEMPTS):
        port = choose_port(PORT)
        document = build_document(
            issuer=issuer.issuer,
            jwks_uri=issuer.jwks_uri,
            port=port,
            admin_port=choose_port(ADMIN_PORT, taken={port}),
            policies=policies,
            clients=clients,
            admin_token_file=folder / _ADMIN_TOKEN,
            database={"url": postgres.app_url, "owner_url": postgres.owner_url},
            kek_file=kek,
            audit_key_file=audit_key,
            checkpoint_key_file=checkpoint_key,
        )
        configuration = folder / "broker.yaml"
        write_document(document, configuration)
        settings = load_settings(configuration, {})
        broker = Broker(settings, telemetry=telemetry)
        try:
            await broker.start()
        except OSError:
            await broker.stop()  # a port was taken since it was chosen
            continue
        except BaseException:
            await broker.stop()
            raise
        return settings, broker
    raise ConfigurationError("the broker finds no free port; stop what takes them all")


def _where(url: str, port: int, usual: int) -> str:
    return url if port == usual else f"{url} ({usual} is taken)"


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Keep the folder to this process; a lock of the system's goes with its process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "dev.lock").open("a+")
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: cannot be written to ({error.strerror}); name another with --data-dir"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            process = file.read(20).strip() or "unknown"
            raise ConfigurationError(
                f"{folder}: another `broker dev` (process {process}) is running here;"
                " stop it, or name another folder with --data-dir"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def _logs_in(path: Path) -> Iterator[None]:
    """Write what the broker logs to a file: the terminal belongs to the show."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    handler = logging.FileHandler(path)
    handler.setFormatter(JsonFormatter())
    root.handlers[:], root.level = [handler], logging.INFO
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each request of the show
    try:
        yield
    finally:
        root.handlers[:], root.level = before, level
        handler.close()
