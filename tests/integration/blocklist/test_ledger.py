"""The ledger of revocations: numbers in the order of commits, and nothing that is not recorded."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from broker.audit.commit import AuditTrail
from broker.blocklist.revoke import revoke
from broker.blocklist.rule import OUTRIGHT, WITH_ISSUER, WITHOUT_KEY, RuleInvalid, Scope
from broker.blocklist.store import Ledger, LedgerUnavailable
from broker.db.engine import Database
from broker.errors import CommitRejected, Reason
from tests.audit import VAULT, new_id, new_vault, now, open_records, running
from tests.builders import IDP
from tests.fixtures.postgres import execute

INSERT = (
    "INSERT INTO revocation (scope, issuer, key, reason, by, at)"
    " VALUES ('txn', '', '{}', 'a test', 'a test', now())"
)

WAITING = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


async def test_a_rule_comes_back_as_it_was_written(start):
    """Of each scope one, whole: the database adds the number and its time."""
    ledger, until = start().ledger, now() + timedelta(days=1)
    written = [
        await ledger.append(
            scope,
            issuer=IDP if scope in WITH_ISSUER else "",
            key="" if scope in WITHOUT_KEY else "näme",
            not_before=None if scope in OUTRIGHT else until,
            reason="stolen",
            by="carol",
        )
        for scope in Scope
    ]

    assert written == await ledger.pull(0)
    assert written[2:] == await ledger.pull(2)
    assert [*range(1, len(Scope) + 1)] == [rule.seq for rule in written]
    assert {("stolen", "carol")} == {(rule.reason, rule.by) for rule in written}
    assert all(abs(rule.at - now()) < timedelta(minutes=1) for rule in written)


async def test_fifty_that_revoke_at_once_get_fifty_numbers(start):
    """Without a gap and without a repeat, from several processes."""
    processes = [start() for _ in range(5)]
    rules = await asyncio.gather(
        *(processes[number % 5].revoke(f"t{number}") for number in range(50))
    )

    assert [*range(1, 51)] == sorted(rule.seq for rule in rules)
    assert 50 == len(await processes[0].ledger.pull(0))


@pytest.mark.row("OP-05")
async def test_who_commits_late_is_not_skipped(start, fresh):
    """A slow transaction has the lower number: the next writer waits, no reader overtakes."""
    reader = start()
    slow = await asyncpg.connect(fresh.app_url)
    try:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(INSERT.format("slow"))
        fast = asyncio.create_task(reader.revoke("fast"))
        async with asyncio.timeout(20):
            # It waits for the lock: in PostgreSQL, and for as long as the other one likes.
            while not await slow.fetchval(WAITING):  # noqa: ASYNC110 — see above
                await asyncio.sleep(0.005)
        before = await reader.ledger.pull(0)
        await transaction.commit()
        rule = await fast
    finally:
        await slow.close()

    assert [] == before
    assert 2 == rule.seq
    assert ["slow", "fast"] == [rule.key for rule in await reader.ledger.pull(0)]


async def test_a_number_that_was_rolled_back_is_given_again(start, fresh):
    """There are no gaps, so there is nothing that a reader could mistake for one."""
    process = start()
    await process.revoke("first")
    rolled_back = await asyncpg.connect(fresh.app_url)
    transaction = rolled_back.transaction()
    await transaction.start()
    await rolled_back.execute(INSERT.format("never"))
    await transaction.rollback()
    await rolled_back.close()

    assert 2 == (await process.revoke("second")).seq


async def test_nobody_chooses_a_number(start, fresh):
    """Whoever writes past the broker gets the next one as well."""
    await start().revoke("first")
    execute(
        fresh.app_url,
        "INSERT INTO revocation (seq, scope, issuer, key, reason, by, at)"
        " VALUES (99, 'txn', '', 'second', 'a test', 'a test', now())",
    )

    assert [1, 2] == [rule.seq for rule in await start().ledger.pull(0)]


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param("'user', '', 'x', NULL", id="unknown-scope"),
        pytest.param("'txn', '', '', NULL", id="no-key"),
        pytest.param("'subject', '', 'x', now()", id="no-issuer"),
        pytest.param("'kid', 'x', 'x', now()", id="a-time-too-much"),
        pytest.param("'client', '', 'x', NULL", id="no-time"),
        pytest.param(f"'txn', '', '{'x' * 2049}', NULL", id="key-over-2-kib"),
    ],
)
def test_the_database_does_not_take_what_the_code_would_not(fresh, rule):
    """Closed sets, and one form for each scope, whoever writes."""
    with pytest.raises(asyncpg.CheckViolationError):
        execute(
            fresh.app_url,
            "INSERT INTO revocation (scope, issuer, key, not_before, reason, by, at)"
            f" VALUES ({rule}, 'a test', 'a test', now())",
        )


async def test_what_is_loaded_can_still_matter(start, fresh):
    """At start not all of history is read: what is recent, lasting or a key's, and the newest."""
    old = "now() - interval '9 days'"
    execute(
        fresh.superuser_url,
        "ALTER TABLE revocation DISABLE TRIGGER ALL",
        "INSERT INTO revocation (seq, scope, issuer, key, not_before, reason, by, at) VALUES"
        f" (1, 'txn', '', 'old', NULL, 'x', 'x', {old}),"
        f" (2, 'client', '', 'older', {old}, 'x', 'x', {old}),"
        f" (3, 'kid', 'x', 'key', NULL, 'x', 'x', {old}),"
        f" (4, 'client', '', 'lasting', now(), 'x', 'x', {old}),"
        " (5, 'txn', '', 'recent', NULL, 'x', 'x', now()),"
        f" (6, 'txn', '', 'newest', NULL, 'x', 'x', {old})",
    )
    loaded = await start().ledger.load(now() - timedelta(days=1))

    assert ["key", "lasting", "recent", "newest"] == [rule.key for rule in loaded]


async def test_a_database_that_is_away_is_said_so(tmp_path):
    """The caller answers 503; nothing is half revoked."""
    database = Database(f"postgresql://broker_app@/broker?host={tmp_path}")
    ledger = Ledger(database)
    with pytest.raises(LedgerUnavailable):
        await ledger.pull(0)
    with pytest.raises(LedgerUnavailable):
        await ledger.append(Scope.TXN, key="x", reason="x", by="x")
    with pytest.raises(LedgerUnavailable):
        await ledger.listen(lambda: None)
    await database.aclose()


def trail_of(writer) -> AuditTrail:
    return AuditTrail(
        writer, issuer="https://broker.test", vault=new_vault(), clock=now, build_id=new_id
    )


async def test_each_revocation_has_its_row(start, fresh):
    """The number of the rule, who, why and of what: persons where they can be erased."""
    process, at = start(), now()
    async with running(process.database) as writer:
        rules = [
            await revoke(
                process.ledger,
                trail_of(writer),
                scope,
                issuer=issuer,
                key=key,
                reason="left us",
                by="carol",
                now=at,
            )
            for scope, issuer, key in (
                (Scope.SUBJECT, IDP, "alice"),
                (Scope.ACTOR, IDP, "batch"),
                (Scope.CLIENT, "", "svc-a"),
                (Scope.KID, IDP, "k-1"),
            )
        ]
    rows = execute(
        fresh.auditor_url,
        "SELECT action, outcome, subject_issuer, subject, actor_issuers, actors,"
        " record::json->'details' AS details, record"
        " FROM audit_event WHERE kind = 'administration' ORDER BY seq",
    )
    later = (at + timedelta(seconds=10)).isoformat()

    assert [at, at + timedelta(seconds=10), at + timedelta(seconds=10), None] == [
        rule.not_before for rule in rules
    ]
    assert [("revocation", "done")] * 4 == [(row["action"], row["outcome"]) for row in rows]
    # Persons stand in the columns as pseudonyms.
    alice, batch = VAULT.pseudonym("alice"), VAULT.pseudonym("batch")
    assert [(IDP, alice), (None, None)] == [tuple(row)[2:4] for row in rows[:2]]
    assert [([], []), ([IDP], [batch])] == [tuple(row)[4:6] for row in rows[:2]]
    assert f'{{"not_before":"{later}","scope":"actor","seq":2}}' == rows[1]["details"]
    assert (
        f'{{"issuer":"","key":"svc-a","not_before":"{later}","scope":"client","seq":3}}'
        == rows[2]["details"]
    )
    opened = open_records(fresh.auditor_url, [row["record"] for row in rows])
    assert {"by": "carol", "reason": "left us"} == opened[2]["personal"]
    assert {"issuer": IDP, "subject": "alice"} == opened[0]["personal"]["subject"]
    assert not any("alice" in row["details"] or "left us" in row["details"] for row in rows)


async def test_what_cannot_be_recorded_is_not_revoked(start):
    """OP-01 for revocations: the row comes before the commit, and no rule without it."""
    process = start()
    async with running(process.database) as writer:
        trail = trail_of(writer)
    # The writer has stopped: nothing is recorded any more.
    with pytest.raises(CommitRejected) as caught:
        await revoke(process.ledger, trail, Scope.TXN, key="t", reason="x", by="x", now=now())

    assert Reason.AUDIT_UNAVAILABLE is caught.value.reason
    assert [] == await process.ledger.pull(0)
    assert 1 == (await process.revoke("next")).seq


async def test_a_rule_that_is_none_is_not_recorded(start, fresh):
    """It is refused before the ledger and the trail are asked."""
    process = start()
    async with running(process.database) as writer:
        with pytest.raises(RuleInvalid):
            await revoke(
                process.ledger, trail_of(writer), Scope.KID, key="k", reason="x", by="x", now=now()
            )

    assert [] == execute(fresh.auditor_url, "SELECT 1 FROM audit_event WHERE action = 'revocation'")
