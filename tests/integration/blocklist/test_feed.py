"""The feeds of several processes: each knows what any of them revoked, or that it does not know."""

import asyncio
from datetime import timedelta

import pytest

from broker.blocklist.feed import STALE_AFTER
from broker.blocklist.snapshot import BlocklistStale
from broker.blocklist.store import LedgerUnavailable
from tests.between import between
from tests.fixtures.postgres import execute

NEVER = timedelta(hours=1)


def slip_in(fresh, txn: str) -> None:
    """Revoke without telling anybody: the trigger that notifies is not fired."""
    execute(
        fresh.superuser_url,
        "SET session_replication_role = replica",
        "INSERT INTO revocation (seq, scope, issuer, key, reason, by, at)"
        f" SELECT coalesce(max(seq), 0) + 1, 'txn', '', '{txn}', 'x', 'x', now() FROM revocation",
    )


@pytest.mark.row("OP-05")
async def test_what_one_process_revokes_the_others_know_at_once(start):
    """By the hint alone: here nobody polls."""
    first, second, third = (start(poll=NEVER) for _ in range(3))
    async with first.running(), second.running(), third.running():
        for process in (first, second, third):
            await process.until()
        await first.revoke("one")
        await asyncio.gather(*(process.until("one") for process in (first, second, third)))
        await second.revoke("two")
        await asyncio.gather(*(process.until("one", "two") for process in (first, second, third)))


@pytest.mark.row("OP-05")
async def test_without_a_hint_the_poll_finds_it(start, fresh):
    """Notifications are lost with a connection, and behind some poolers."""
    process = start(poll=timedelta(milliseconds=50))
    async with process.running():
        await process.until()
        slip_in(fresh, "one")
        await process.until("one")


async def test_a_connection_that_is_lost_is_made_again(start, fresh):
    """Whoever ended it: the hints come over a new one."""
    process, other = start(poll=timedelta(milliseconds=50)), start()
    async with process.running():
        await process.until()
        execute(
            fresh.superuser_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{fresh.name}' AND usename = 'broker_app'",
        )
        await other.revoke("one")
        await process.until("one")


async def test_a_read_that_finds_nothing_new_leaves_the_very_snapshot(start):
    """By it issued tokens are given out again: another one says that something was revoked."""
    process = start()
    await process.blocklist.refresh()
    empty = process.blocklist.current
    await process.blocklist.refresh()
    assert empty is process.blocklist.current

    await process.revoke("one")
    await process.blocklist.refresh()
    one = process.blocklist.current
    await process.blocklist.refresh()
    assert empty is not one is process.blocklist.current


async def test_before_the_first_load_nothing_is_known(start):
    """Not ready, and a refusal: an empty snapshot would accept everything."""
    process = start()

    assert not process.blocklist.loaded
    with pytest.raises(BlocklistStale):
        _ = process.blocklist.current

    await process.blocklist.refresh()

    assert process.blocklist.loaded
    assert 0 == len(process.blocklist.current)


@pytest.mark.row("OP-05", "CVE-2026-9802")
async def test_a_restart_forgets_nothing(start):
    """A new process begins with all that ever was revoked and can still matter."""
    before = start()
    for number in range(20):
        await before.revoke(f"t{number}")
    await before.blocklist.refresh()
    after = start()
    await after.blocklist.refresh()

    assert [f"t{number}" for number in range(20)] == before.revoked() == after.revoked()


@pytest.mark.row("OP-05", "DRILL-11")
async def test_who_is_cut_off_knows_that_it_does_not_know(start, fresh):
    """The last snapshot serves for ten seconds, then nothing does, until the ledger is read."""
    other = start()
    async with between(fresh.app_url) as proxy:
        process = start(proxy.url, poll=timedelta(milliseconds=50))
        async with process.running():
            await process.until()
            proxy.refuses = True
            proxy.cut()
            await other.revoke("meanwhile")
            process.seconds += STALE_AFTER.total_seconds()
            within = process.blocklist.loaded
            process.seconds += 0.001
            beyond = process.blocklist.loaded
            with pytest.raises(BlocklistStale):
                _ = process.blocklist.current
            proxy.forward()
            await process.until("meanwhile")
        await process.database.aclose()

    assert (True, False) == (within, beyond)
    assert process.blocklist.loaded


async def test_a_silent_database_does_not_hold_the_feed(start, fresh):
    """A read that hangs is given up, and the age goes on from the last one that did not."""
    async with between(fresh.app_url) as proxy:
        process = start(proxy.url)
        await process.blocklist.refresh()
        process.seconds = 9.0
        proxy.swallow_answers()
        reading = asyncio.create_task(process.blocklist.refresh())
        await proxy.swallowed.wait()
        process.seconds = 11.0
        stale = not process.blocklist.loaded
        proxy.forward()
        await reading

        assert stale
        # As of when it was asked: what was committed later is not in it.
        assert 2.0 == process.blocklist.age
        await process.database.aclose()


@pytest.mark.row("OP-05")
async def test_a_ledger_that_has_lost_rows_is_noticed_and_nothing_known_is_dropped(start, fresh):
    """A failover that lost some: their numbers are given again, and none of these is missed."""
    process = start()
    for txn in ("one", "two", "three"):
        await process.revoke(txn)
    await process.blocklist.refresh()
    execute(
        fresh.superuser_url,
        "ALTER TABLE revocation DISABLE TRIGGER audit_refuse_row_change",
        "DELETE FROM revocation WHERE seq > 1",
    )
    await process.revoke("another two")
    await process.blocklist.refresh()
    once = process.revoked()
    await process.revoke("another three")
    await process.blocklist.refresh()

    assert {"one", "two", "three", "another two"} == set(once)
    assert {*once, "another three"} == set(process.revoked())


async def test_a_ledger_that_is_empty_again_is_not_an_amnesty(start, fresh):
    """An operator who restores the wrong backup has revoked nothing less."""
    process = start()
    await process.revoke("one")
    await process.blocklist.refresh()
    execute(
        fresh.superuser_url,
        "ALTER TABLE revocation DISABLE TRIGGER ALL",
        "DELETE FROM revocation",
        "ALTER TABLE revocation ENABLE TRIGGER ALL",
    )
    await process.blocklist.refresh()
    empty = process.revoked()
    await process.revoke("two")
    await process.blocklist.refresh()

    assert (["one"], {"one", "two"}) == (empty, set(process.revoked()))


async def test_a_storm_is_read_in_order_and_whole(start, fresh):
    """More than one page of it."""
    process = start()
    await process.revoke("first")
    await process.blocklist.refresh()
    execute(
        fresh.app_url,
        "INSERT INTO revocation (scope, issuer, key, reason, by, at)"
        " SELECT 'txn', '', 't' || n, 'x', 'x', now() FROM generate_series(2, 12000) AS n",
    )
    await process.blocklist.refresh()
    late = start()
    await late.blocklist.refresh()

    assert ["first", *(f"t{number}" for number in range(2, 12001))] == process.revoked()
    assert process.revoked() == late.revoked()


async def test_what_is_obsolete_is_dropped_in_time(start, fresh):
    """Nothing presented can be that old; the newest stays known by its number."""
    process = start(memory=timedelta(days=1))
    await process.revoke("old")
    await process.blocklist.refresh()
    process.blocklist._clock = lambda: later
    later = (await process.ledger.pull(0))[0].at + timedelta(days=1, seconds=1)
    await process.blocklist.refresh()
    soon = process.revoked()
    process.seconds += timedelta(hours=2).total_seconds()
    await process.blocklist.refresh()
    await process.revoke("new")
    await process.blocklist.refresh()

    assert (["old"], ["new"]) == (soon, process.revoked())


OLD_AND_NEW = (
    "INSERT INTO revocation (seq, scope, issuer, key, reason, by, at) VALUES"
    " (1, 'txn', '', 'old', 'x', 'x', now() - interval '9 days'),"
    " (2, 'txn', '', 'new', 'x', 'x', now())"
)


async def test_who_must_remember_for_longer_reads_again_what_was_dropped(start, fresh):
    """A reload lets an issuer's tokens be older: so are the revocations that can meet them."""
    execute(fresh.superuser_url, "ALTER TABLE revocation DISABLE TRIGGER ALL", OLD_AND_NEW)
    process = start(memory=timedelta(days=1))
    await process.blocklist.refresh()
    before = process.revoked()
    await process.blocklist.use(timedelta(days=30))
    after = process.revoked()
    await process.blocklist.use(timedelta(days=1))

    assert (["new"], ["old", "new"]) == (before, after)


async def test_a_reload_during_an_outage_changes_nothing(start, fresh):
    """It is told, and remembers for as long as before: the next one reads what is missing."""
    execute(fresh.superuser_url, "ALTER TABLE revocation DISABLE TRIGGER ALL", OLD_AND_NEW)
    async with between(fresh.app_url) as proxy:
        process = start(proxy.url, memory=timedelta(days=1))
        await process.blocklist.refresh()
        proxy.refuses = True
        proxy.cut()
        with pytest.raises(LedgerUnavailable):
            await process.blocklist.use(timedelta(days=30))
        failed = process.revoked()
        proxy.forward()
        await process.blocklist.use(timedelta(days=30))
        await process.database.aclose()

    assert (["new"], ["old", "new"]) == (failed, process.revoked())
