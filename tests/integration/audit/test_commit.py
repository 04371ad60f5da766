"""Step 6 on a real PostgreSQL: what may leave, what was refused, and what was only counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.audit.budget import RefusalBudget
from broker.audit.commit import AuditTrail
from broker.audit.writer import AuditWriter
from broker.db.engine import Database
from broker.domain import Attempt, Client
from broker.errors import CommitRejected, Reason
from tests import builders
from tests.audit import (
    attempt,
    new_id,
    new_vault,
    now,
    open_records,
    reused_token,
    running,
    signed_token,
)
from tests.fixtures.postgres import execute

MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def trail_on(database_url, *, rows=20, **options) -> AsyncIterator[AuditTrail]:
    database = Database(database_url)
    async with running(database, **options) as writer:
        yield make_trail(writer, rows=rows)
    await database.aclose()


def make_trail(writer: AuditWriter, *, rows: int = 20) -> AuditTrail:
    return AuditTrail(
        writer,
        issuer="https://broker.test",
        vault=new_vault(),
        clock=now,
        build_id=new_id,
        budget=RefusalBudget(rows=rows, per=MINUTE),
    )


def records(fresh, kind="exchange"):
    rows = execute(
        fresh.auditor_url, f"SELECT record FROM audit_event WHERE kind = '{kind}' ORDER BY seq"
    )
    return open_records(fresh.auditor_url, [row["record"] for row in rows])


async def rejected(waiting) -> Reason | None:
    try:
        await waiting
    except CommitRejected as error:
        return error.reason
    return None


def anonymous(source="192.0.2.1", request_id="r"):
    """A request of which nothing is known yet."""
    return Attempt(request_id, source, now())


@pytest.mark.row("INV-8", "OP-01")
async def test_a_token_may_leave_once_its_row_is_there(fresh):
    """Invariant 8: the row is found by the token's ``jti``."""
    async with trail_on(fresh.app_url) as trail:
        made = attempt()
        signed = signed_token(made)
        issued = await trail.commit(made, signed)
        (record,) = records(fresh)

    assert signed is issued.signed
    assert signed.id == record["id"] == record["jti"]
    assert "issued" == record["outcome"]


@pytest.mark.row("INV-8", "OP-02", "DRILL-3")
async def test_without_a_row_no_token_leaves(fresh):
    """Invariant 8: nor is a refusal answered as one; both become 503."""
    database = Database(fresh.app_url)
    trail = make_trail(AuditWriter(database, deadline=timedelta(milliseconds=30), clock=now))
    made = attempt()

    assert Reason.AUDIT_UNAVAILABLE == await rejected(trail.commit(made, signed_token(made)))
    assert Reason.AUDIT_UNAVAILABLE == await rejected(trail.refuse(made, Reason.POLICY_DENIED))
    assert Reason.AUDIT_UNAVAILABLE == await rejected(trail.record("keys.rotate", {}))
    await database.aclose()


steps = st.lists(
    st.sampled_from(["commit", "refuse", "anonymous", "record"]), min_size=1, max_size=30
)


@pytest.mark.row("INV-8", "OP-01")
@settings(max_examples=15, deadline=None, suppress_health_check=[*HealthCheck])
@given(steps)
def test_whatever_happens_at_once_each_outcome_has_exactly_one_row(fresh, happenings):
    """Invariant 8, OP-01: N outcomes, N rows, each found by its own request id."""
    wanted = []

    async def run():
        async with trail_on(fresh.app_url, rows=1000) as trail:
            waiting = []
            for what in happenings:
                name = new_id()
                made = attempt(id=name)
                if what == "commit":
                    signed = signed_token(made)
                    waiting.append(trail.commit(made, signed))
                    wanted.append((name, "issued"))
                elif what == "refuse":
                    waiting.append(trail.refuse(made, Reason.POLICY_DENIED))
                    wanted.append((name, "refused"))
                elif what == "anonymous":
                    waiting.append(trail.refuse(anonymous(request_id=name), Reason.CLIENT_UNKNOWN))
                    wanted.append((name, "refused"))
                else:
                    waiting.append(trail.record("test", {}))
            await asyncio.gather(*waiting)

    asyncio.run(run())
    names = {name for name, _ in wanted}
    found = [
        (record["request_id"], record["outcome"])
        for record in records(fresh)
        if record["request_id"] in names
    ]

    assert sorted(wanted) == sorted(found)


@pytest.mark.row("ATK-RPL-01", "CVE-2025-46815", "INV-8")
async def test_of_fifty_at_once_a_one_time_token_is_used_by_one(fresh):
    """TX-2.1-18: one token leaves and forty-nine refusals are on record, at two replicas."""
    exchange = builders.exchange(subject=builders.verified_token(one_time=True, jti="once"))
    async with trail_on(fresh.app_url) as one, trail_on(fresh.app_url) as other:

        async def use(number):
            made = attempt(exchange=exchange)
            return await rejected((one, other)[number % 2].commit(made, signed_token(made)))

        outcomes = await asyncio.gather(*(use(number) for number in range(50)))
    found = [record["outcome"] for record in records(fresh)]
    reasons = [record["reasons"] for record in records(fresh) if record["outcome"] == "refused"]

    assert 1 == outcomes.count(None)
    assert 49 == outcomes.count(Reason.SUBJECT_TOKEN_REPLAYED)
    assert (1, 49) == (found.count("issued"), found.count("refused"))
    assert [["subject_token.replayed"]] * 49 == reasons


@pytest.mark.row("ATK-RPL-01")
@pytest.mark.parametrize(
    ("second", "outcome"),
    [
        pytest.param({"jti": "j"}, Reason.SUBJECT_TOKEN_REPLAYED, id="the-same"),
        pytest.param({"jti": "J"}, None, id="another-jti"),
        pytest.param({"jti": "j", "asserted_by": "https://other.test"}, None, id="another-issuer"),
        pytest.param({"jti": "j", "one_time": False}, None, id="not-one-time"),
    ],
)
async def test_a_token_is_the_same_by_issuer_and_jti(fresh, second, outcome):
    """Promises 4: never by a hash of its text, for one token has several spellings."""
    async with trail_on(fresh.app_url) as trail:
        made = attempt(
            exchange=builders.exchange(subject=builders.verified_token(one_time=True, jti="j"))
        )
        await trail.commit(made, signed_token(made))
        subject = builders.verified_token(**{"one_time": True, "digest": "11" * 32} | second)
        again = attempt(exchange=builders.exchange(subject=subject))

        assert outcome == await rejected(trail.commit(again, signed_token(again)))


async def test_a_one_time_actor_token_is_named_as_the_one_that_was_used(fresh):
    """Ours: the refusal says which of the two tokens it is about."""
    actor = builders.verified_token(one_time=True, jti="actor-1")
    exchange = builders.exchange(actor=actor)
    async with trail_on(fresh.app_url) as trail:
        outcomes = []
        for _ in range(2):
            made = attempt(exchange=exchange)
            outcomes.append(await rejected(trail.commit(made, signed_token(made))))

    assert [None, Reason.ACTOR_TOKEN_REPLAYED] == outcomes


@pytest.mark.row("OP-01")
async def test_a_flood_before_authentication_shares_one_row(fresh):
    """Promises 2.4: the first of a source have their rows, the rest one row with counts."""
    async with trail_on(fresh.app_url, rows=3) as trail:
        for _ in range(10):
            await trail.refuse(anonymous(), Reason.CLIENT_UNKNOWN)
        await trail.refuse(anonymous(source="192.0.2.2"), Reason.REQUEST_MEDIA_TYPE)
        await trail.summarise()
        await trail.summarise()
    (summary,) = records(fresh, "refusals")
    sources = [record["personal"]["source"] for record in records(fresh)]

    assert ["192.0.2.1"] * 3 + ["192.0.2.2"] == sources
    assert {"client.unknown": 7} == summary["counts"]
    assert {"192.0.2.1": 7} == summary["personal"]["sources"]


@pytest.mark.row("OP-01")
async def test_who_is_authenticated_is_always_recorded(fresh):
    """Promises 2.4: the budget is for strangers only."""
    async with trail_on(fresh.app_url, rows=1) as trail:
        await asyncio.gather(*(trail.refuse(attempt(), Reason.POLICY_DENIED) for _ in range(30)))

    assert 30 == len(records(fresh))


@pytest.mark.row("OP-02")
async def test_counts_that_cannot_be_recorded_are_kept(fresh):
    """Design 7: nothing is dropped; they are in the next row."""
    database = Database(fresh.app_url)
    writer = AuditWriter(database, deadline=timedelta(milliseconds=500), clock=now)
    trail = make_trail(writer, rows=1)
    budget = trail._budget
    for _ in range(3):
        budget.spend("192.0.2.1", Reason.CLIENT_UNKNOWN, now())
    await trail.summarise()
    stop = asyncio.Event()
    flusher = asyncio.create_task(writer.run(stop))
    await trail.record("up", {})
    budget.spend("192.0.2.1", Reason.CLIENT_UNKNOWN, now())
    await trail.summarise()
    stop.set()
    await flusher
    await database.aclose()

    assert [{"client.unknown": 3}] == [record["counts"] for record in records(fresh, "refusals")]


async def test_at_the_end_what_was_counted_is_recorded(fresh):
    """Promises 2.4: also when the interval is not over."""
    async with trail_on(fresh.app_url, rows=1) as trail:
        stop = asyncio.Event()
        summaries = asyncio.create_task(trail.run(stop))
        for _ in range(5):
            await trail.refuse(anonymous(), Reason.CLIENT_UNKNOWN)
        stop.set()
        await summaries

    assert [4] == [record["total"] for record in records(fresh, "refusals")]


async def test_what_is_administered_is_recorded(fresh):
    """Promises 2.4: who did what, with its particulars."""
    async with trail_on(fresh.app_url) as trail:
        await trail.record("keys.rotate", {"algorithm": "ES256"}, by="carol")
    (record,) = records(fresh, "administration")

    assert ("keys.rotate", {"algorithm": "ES256"}) == (record["action"], record["details"])
    assert {"by": "carol"} == record["personal"]


def test_an_attempt_without_a_client_is_a_stranger():
    """Ours: what the budget goes by is what step 1 gave."""
    assert anonymous().client is None
    assert isinstance(attempt().client, Client)


async def test_a_token_that_is_given_out_again_has_a_row_of_its_own(fresh):
    """It names the token and who asked; the id of the row is another one."""
    async with trail_on(fresh.app_url) as trail:
        signed = signed_token()
        first = await trail.commit(attempt(), signed)
        reused = reused_token(signed)
        second = await trail.commit(attempt(id="request-2"), reused)
    one, other = records(fresh)

    assert (signed, reused) == (first.signed, second.signed)
    assert signed.id == one["id"] == one["jti"] == other["jti"]
    assert (reused.id, "reuse", "request-2") == (
        other["id"],
        other["action"],
        other["request_id"],
    )
    of_one_alone = {"id", "action", "at", "request_id"}
    assert {k: v for k, v in one.items() if k not in of_one_alone} == {
        k: v for k, v in other.items() if k not in of_one_alone
    }


async def test_a_token_for_one_use_is_claimed_by_whatever_is_made_of_it(fresh):
    """Also where it came to be given out again, which it never should."""
    once = builders.exchange(subject=builders.verified_token(one_time=True))
    async with trail_on(fresh.app_url) as trail:
        signed = signed_token(attempt(exchange=once))
        await trail.commit(attempt(exchange=once), signed)
        again = await rejected(trail.commit(attempt(exchange=once), reused_token(signed)))

    assert Reason.SUBJECT_TOKEN_REPLAYED is again
    assert [None, "subject_token.replayed"] == [
        (one.get("reasons") or [None])[0] for one in records(fresh)
    ]
