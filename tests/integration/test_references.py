"""The records of reference tokens: durable with their audit row or not at all, then forgotten."""

import asyncio
from datetime import timedelta
from hashlib import sha256
from uuid import uuid4

import asyncpg
import pytest

from broker.audit.queue import AlreadyClaimed
from broker.db.engine import Database
from broker.domain import Reference
from broker.tokens.store import ReferenceStore, ReferencesUnavailable
from tests.audit import event, now, running
from tests.fixtures.postgres import execute


@pytest.fixture
async def own(fresh):
    """A database of the test's own, as the broker reaches it."""
    database = Database(fresh.app_url)
    yield database
    await database.aclose()


@pytest.fixture
async def store(own):
    """The look-ups over it."""
    store = ReferenceStore(own)
    yield store
    await store.aclose()


def reference(name: str, *, life: timedelta = timedelta(minutes=5)) -> Reference:
    return Reference(digest_of(name), str(uuid4()), f"record of {name}", "kid", now() + life)


def digest_of(name: str) -> bytes:
    return sha256(name.encode()).digest()


@pytest.mark.row("TX-2.1-32", "INV-8")
async def test_a_record_is_there_when_its_row_is(own, store):
    """Invariant 8: both in one statement, so that no token is out without either."""
    async with running(own) as writer:
        before = await store.find(digest_of("a"))
        await writer.append(event(), references=[reference("a"), reference("b")])
        found = [await store.find(digest_of(name)) for name in "abc"]

    assert before is None
    assert ["record of a", "record of b", None] == found


@pytest.mark.row("INV-8")
async def test_without_its_row_there_is_no_record(fresh, own, store):
    """Invariant 8: whoever loses a one-time claim has no token either."""
    claim = (digest_of("once"), now() + timedelta(minutes=5))
    async with running(own) as writer:
        await writer.append(event("first"), [claim], [reference("first")])
        with pytest.raises(AlreadyClaimed):
            await writer.append(event("second"), [claim], [reference("second")])
        found = [await store.find(digest_of(name)) for name in ("first", "second")]
    rows = execute(fresh.auditor_url, "SELECT FROM audit_event WHERE action = 'second'")

    assert ["record of first", None] == found
    assert [] == rows


async def test_many_at_once_are_all_there(own, store):
    """Group commit: what gathers in one batch arrives whole."""
    names = [f"n{number}" for number in range(200)]
    async with running(own) as writer:
        await asyncio.gather(*(writer.append(event(), (), [reference(n)]) for n in names))
        found = await asyncio.gather(*(store.find(digest_of(n)) for n in names))

    assert [f"record of {name}" for name in names] == found


async def test_records_of_expired_tokens_are_swept_and_no_others(own, store):
    """Ours: some minutes later, when no clock of ours takes the token for alive."""
    long_ago, just_now = -timedelta(hours=1), -timedelta(seconds=1)
    async with running(own) as writer:
        await writer.append(
            event(),
            (),
            [
                reference("old", life=long_ago),
                reference("late", life=just_now),
                reference("live"),
            ],
        )
        swept = [await store.sweep(), await store.sweep()]
        found = [await store.find(digest_of(name)) for name in ("old", "late", "live")]

    assert [1, 0] == swept
    assert [None, "record of late", "record of live"] == found


@pytest.mark.row("RV-2.2-03")
async def test_a_database_that_is_down_is_told_and_never_taken_for_no_record(tmp_path):
    """RFC 7009 §2.2.1: an unknown token would be a false 200."""
    database = Database(f"postgresql://broker_app@/broker?host={tmp_path}")
    store = ReferenceStore(database)
    for work in (lambda: store.find(digest_of("a")), store.sweep):
        with pytest.raises(ReferencesUnavailable):
            await work()
    await database.aclose()


def test_the_broker_changes_no_record_and_the_auditor_sees_none(fresh):
    """Least privilege: written with the row, read, forgotten; what it says is no auditor's."""
    for url, statement in (
        (fresh.app_url, "UPDATE reference_token SET claims = ''"),
        (fresh.app_url, "TRUNCATE reference_token"),
        (fresh.auditor_url, "SELECT FROM reference_token"),
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            execute(url, statement)
