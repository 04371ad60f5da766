"""The ledger of activations: in order, whole, and the same for all who read it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from broker.db.engine import Database
from broker.policy.activation import CONFIGURED, Action, Activation, Mode, Share, State
from broker.policy.store import (
    BundleUnknown,
    Order,
    PolicyLedger,
    PolicyLedgerUnavailable,
    Replica,
)
from tests.fixtures.postgres import OneDatabase, execute

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
WRITER = UUID(int=7)


@pytest.fixture
async def ledger(fresh: OneDatabase) -> AsyncIterator[PolicyLedger]:
    """A ledger that nothing is in yet."""
    database = Database(fresh.app_url)
    yield PolicyLedger(database)
    await database.aclose()


async def activate(
    ledger: PolicyLedger, revision: str, mode: Mode = Mode.ENFORCE, *, archive: bytes | None = b"x"
) -> Activation | None:
    """Activate a bundle that is made up."""
    share = Share(5) if mode is Mode.CANARY else Share()
    order = Order(Action.ACTIVATE, mode, revision, share, "tester", "a test")
    return await ledger.append(lambda _: order, archive=archive)


def go_back(state: State) -> Order | None:
    """Want what was before."""
    back = state.way_back()
    return (
        None
        if back is None
        else Order(Action.ROLLBACK, Mode.ENFORCE, back, Share(), "tester", "a test")
    )


async def test_what_is_activated_is_read_as_it_was_written(ledger):
    """Every member, and the bundle byte for byte."""
    made = await activate(ledger, A, Mode.CANARY, archive=b"\0whole")

    assert made is not None
    assert [made] == list(await ledger.load())
    assert (1, Action.ACTIVATE, Mode.CANARY, A, Share(5), "tester", "a test") == (
        *(made.seq, made.action, made.mode, made.revision, made.share, made.by, made.reason),
    )
    assert b"\0whole" == await ledger.load_bundle(A)
    assert 1 == await ledger.newest()


async def test_a_rollback_needs_no_bundle_from_anywhere(ledger):
    """What was in force is kept, and so is the way back to what is configured."""
    await activate(ledger, A)
    await activate(ledger, B)

    backs = [await ledger.append(go_back) for _ in range(3)]

    assert [A, CONFIGURED, None] == [back and back.revision for back in backs]
    assert b"x" == await ledger.load_bundle(A)


async def test_a_bundle_that_is_not_kept_cannot_be_activated(ledger):
    """A revision alone is a promise that nobody could keep."""
    with pytest.raises(BundleUnknown):
        await activate(ledger, C, archive=None)
    assert 0 == await ledger.newest()


async def test_what_cannot_be_recorded_is_not_activated(ledger):
    """The audit row comes first: no policy changes that nobody can find in the trail."""

    async def refuse(*_: object) -> None:
        raise RuntimeError("the trail is away")

    with pytest.raises(RuntimeError):
        await ledger.append(
            lambda _: Order(Action.ACTIVATE, Mode.ENFORCE, A, Share(), "tester", ""),
            archive=b"x",
            before_commit=refuse,
        )
    assert 0 == await ledger.newest()
    with pytest.raises(BundleUnknown):
        await ledger.load_bundle(A)


async def test_whoever_activates_at_once_does_so_one_after_the_other(ledger):
    """Each sees what the one before it did, so that no rollback undoes what it has not seen."""
    await asyncio.gather(*(activate(ledger, each * 64) for each in "0123"))
    await asyncio.gather(*(ledger.append(go_back) for _ in range(4)))

    rows = await ledger.load()
    assert list(range(1, 9)) == [row.seq for row in rows]
    assert CONFIGURED == rows[-1].revision
    assert [row.revision for row in rows[:3]][::-1] == [row.revision for row in rows[4:7]]


async def test_a_bundle_signed_anew_takes_the_place_of_the_old_one(ledger):
    """The revision is of what decides; a new key must not leave the old signature in force."""
    await activate(ledger, A, archive=b"signed by the old key")
    await activate(ledger, A, archive=b"signed by the new key")

    assert b"signed by the new key" == await ledger.load_bundle(A)


async def test_bundles_that_nothing_needs_are_forgotten(ledger, fresh, monkeypatch):
    """Bounded, and never what is in force or tried."""
    monkeypatch.setattr("broker.policy.store.KEPT", 2)
    await activate(ledger, A)
    for each in "0123":
        await activate(ledger, each * 64, Mode.OBSERVE)

    assert {A, "2" * 64, "3" * 64} == set(await ledger.find_bundles())
    assert ["2" * 64] == list(await ledger.find_bundles("2"))


async def test_replicas_say_what_they_decide_by(ledger):
    """The last word of each counts, and who has ended is not listed."""
    said = Replica(WRITER, "host/1", 1, A, "", "", "")
    await ledger.report(said)
    await ledger.report(Replica(WRITER, "host/1", 2, B, C, "observe", "late"))

    (found,) = await ledger.find_replicas(timedelta(minutes=1))
    assert (2, B, C, "observe", "late") == (
        *(found.seq, found.revision, found.candidate, found.mode, found.fault),
    )
    await ledger.retire(WRITER)
    assert [] == list(await ledger.find_replicas(timedelta(minutes=1)))


async def test_somebody_is_woken_by_an_activation(ledger):
    """So that a rollback is everywhere at once, and not only after the next look."""
    woken = asyncio.Event()
    connection = await ledger.listen(woken.set)
    try:
        await activate(ledger, A)
        async with asyncio.timeout(10):
            await woken.wait()
    finally:
        connection.terminate()


async def test_a_ledger_that_is_away_is_no_ledger_without_rows(ledger, fresh):
    """Nothing was read is not nothing is there."""
    execute(fresh.owner_url, "REVOKE SELECT ON policy_activation FROM broker_app")
    with pytest.raises(PolicyLedgerUnavailable):
        await ledger.load()
