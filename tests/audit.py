"""A writer and a trail over a real database, and events for them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from broker.audit.event import Event
from broker.audit.outcome import build_administration
from broker.audit.reader import RecordReader
from broker.audit.uuid7 import build_uuid7
from broker.audit.vault import Vault
from broker.audit.writer import AuditWriter
from broker.db.engine import Database
from broker.db.loop import run_apart
from broker.domain import Attempt, Evaluation, Permit, ReusedToken, SignedToken
from broker.oauth import Mode
from tests import builders
from tests.configuration import KEY_FILES


def now() -> datetime:
    return datetime.now(UTC)


def new_id() -> str:
    return build_uuid7(now)


def new_vault() -> Vault:
    """A vault of a process: it knows which keys its one database has."""
    return Vault(KEY_FILES["audit.key"], issuer=builders.BROKER, monotonic=time.monotonic)


# To read with, and to know pseudonyms: what seals is a vault of its own for each database.
VAULT = new_vault()


def event(action: str = "test", **details: Any) -> Event:
    """A small event; ``action`` is one of its columns."""
    return build_administration(
        action, details, id=new_id(), at=now(), by="broker", vault=new_vault()
    )


def attempt(**overrides: Any) -> Attempt:
    """All that is known of an exchange that policy permitted."""
    exchange = overrides.pop("exchange", None) or builders.exchange()
    values: dict[str, Any] = {
        "id": exchange.request.id,
        "source": exchange.request.source,
        "at": now(),
        "request": exchange.request,
        "client": exchange.client,
        "subject": exchange.subject,
        "actor": exchange.actor,
        "delegation": exchange.delegation,
        "exchange": exchange,
    }
    return Attempt(**values | overrides)


def evaluation(**overrides: Any) -> Evaluation:
    """An answer of the policy, with the input that it was given."""
    values: dict[str, Any] = {
        "revision": "sha256:0011",
        "input": b'{"subject":{"subject":"alice","claims":{"groups":["ops"]}},"client":{"id":"a"}}',
        "output": {"allow": True, "reasons": []},
    }
    return Evaluation(**values | overrides)


def signed_token(made: Attempt | None = None, **overrides: Any) -> SignedToken:
    """A token that is minted and may not leave yet."""
    exchange = (made or attempt()).exchange
    assert exchange is not None
    issued_at = now().replace(microsecond=0)
    expires_at = issued_at + timedelta(minutes=5)
    permit = Permit(
        exchange=exchange,
        evaluation=evaluation(),
        targets=exchange.targets,
        scopes=("orders.read",),
        derived=(),
        expires_at=expires_at,
        mode=Mode.DELEGATION,
        chain=exchange.delegation.chain,
        max_depth=8,
        purpose=None,
        claims={},
    )
    values: dict[str, Any] = {
        "permit": permit,
        "id": new_id(),
        "token": "header.payload.signature",
        "txn": "txn-1",
        "kid": "kid-1",
        "issued_at": issued_at,
        "expires_at": expires_at,
        "claims": {},
    }
    return SignedToken(**values | overrides)


def reused_token(signed: SignedToken, **overrides: Any) -> ReusedToken:
    """The same token, to be given out again."""
    values: dict[str, Any] = {
        "permit": signed.permit,
        "id": new_id(),
        "jti": signed.id,
        **{name: getattr(signed, name) for name in ("token", "txn", "kid")},
        **{name: getattr(signed, name) for name in ("issued_at", "expires_at")},
    }
    return ReusedToken(**values | overrides)


def open_records(url: str, records: Iterable[str]) -> list[dict[str, Any]]:
    """What records say, with what is personal in plain, by the audit key of the suite."""

    async def read() -> list[dict[str, Any]]:
        database = Database(url)
        try:
            return await RecordReader(database, VAULT).open_all(
                [json.loads(one) for one in records]
            )
        finally:
            await database.aclose()

    return run_apart(read)


@asynccontextmanager
async def running(
    database: Database, *, deadline: timedelta = timedelta(seconds=5), **settings: Any
) -> AsyncIterator[AuditWriter]:
    """A writer with its flusher; ended in good order."""
    writer = AuditWriter(database, deadline=deadline, clock=now, **settings)
    stop = asyncio.Event()
    flusher = asyncio.create_task(writer.run(stop))
    try:
        yield writer
    finally:
        stop.set()
        await flusher
