"""One-time use across processes: exactly one success per exact ``jti``, or none."""

import asyncio
import subprocess
import sys
import time
import unicodedata
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.db.engine import Database
from broker.replay import ReplayStore, ReplayUnavailable, claim_key
from tests.fixtures.postgres import execute

ISSUER = "https://idp.test"
KINDS = ("client_assertion", "subject_token")

CLAIMANT = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from broker.db.engine import Database
from broker.replay import ReplayStore

async def main():
    database = Database(sys.argv[1])
    store = ReplayStore(database)
    expires_at = datetime.now(UTC) + timedelta(minutes=5)
    claims = [store.claim("client_assertion", "svc", "same", expires_at) for _ in range(25)]
    print(sum(await asyncio.gather(*claims)))
    await database.aclose()

asyncio.run(main())
"""


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=5)


@pytest.fixture
async def stores(clean):
    """Two processes' worth of stores over one database."""
    databases = [Database(clean.app_url) for _ in range(2)]
    yield [ReplayStore(database) for database in databases]
    for database in databases:
        await database.aclose()


@pytest.mark.row("ATK-RPL-01", "CVE-2025-46815", "OP-05")
async def test_of_fifty_at_once_at_two_replicas_one_succeeds(stores):
    """The database decides; whoever looks first and writes later would let two through."""
    claims = [
        stores[number % 2].claim("client_assertion", "svc-jwt", "j-1", soon())
        for number in range(50)
    ]
    outcomes = await asyncio.gather(*claims)

    assert [False] * 49 + [True] == sorted(outcomes)


@pytest.mark.row("ATK-RPL-01", "OP-05")
def test_of_fifty_at_once_in_two_processes_one_succeeds(clean):
    """The same with processes that share nothing but the database."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMANT, clean.app_url], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    won = sorted(int(process.communicate()[0]) for process in processes)

    assert [0, 1] == won


@pytest.mark.row("ATK-RPL-01", "CVE-2026-9802")
async def test_what_was_claimed_stays_claimed_after_a_restart(clean):
    """Of ours: nothing is remembered in the process."""
    outcomes = []
    for _ in range(2):
        database = Database(clean.app_url)
        outcomes.append(await ReplayStore(database).claim("subject_token", ISSUER, "j", soon()))
        await database.aclose()

    assert [True, False] == outcomes


@pytest.mark.row("ATK-RPL-01")
@pytest.mark.parametrize(
    "other",
    [
        pytest.param(("client_assertion", ISSUER, "jti-É"), id="another-case"),
        pytest.param(
            ("client_assertion", ISSUER, unicodedata.normalize("NFD", "Jti-É")),
            id="another-unicode-form",
        ),
        pytest.param(("client_assertion", ISSUER, "Jti-É "), id="a-space-more"),
        pytest.param(("client_assertion", ISSUER + "/", "Jti-É"), id="another-issuer"),
        pytest.param(("subject_token", ISSUER, "Jti-É"), id="another-kind"),
        pytest.param(("client_assertion", ISSUER + "J", "ti-É"), id="moved-across-the-border"),
        pytest.param(("client_assertion", ISSUER, "Jti-É\0"), id="a-nul-more"),
    ],
)
async def test_a_jti_is_the_same_only_if_it_is_exactly_the_same(stores, other):
    """RFC 7519 §4.1.7: case-sensitive, and unique within its issuer."""
    one = ("client_assertion", ISSUER, "Jti-É")
    outcomes = [await stores[0].claim(*claim, soon()) for claim in (one, other, one, other)]

    assert [True, True, False, False] == outcomes


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.text(), st.text()), min_size=2, unique=True))
def test_no_two_claims_share_a_key(claims):
    """Each part is written with its length, so no two are spelled alike."""
    keys = {claim_key(*claim) for claim in claims}

    assert len(claims) == len(keys)
    assert {32} == {len(key) for key in keys}


async def test_a_sweep_leaves_what_could_still_be_presented(clean, stores):
    """And more than that: clocks differ, so a claim outlives its token by ten minutes."""
    now = datetime.now(UTC)
    for name, age in (("old", 11), ("expired", 1), ("valid", -5)):
        await stores[0].claim("subject_token", ISSUER, name, now - timedelta(minutes=age))
    # More than one batch, so that the loop goes round.
    execute(
        clean.app_url,
        "INSERT INTO replay_claim SELECT sha256(n::text::bytea), now() - interval '1 day'"
        " FROM generate_series(1, 2500) AS n",
    )
    swept = await stores[1].sweep()
    again = [
        await stores[0].claim("subject_token", ISSUER, name, soon())
        for name in ("old", "expired", "valid")
    ]

    assert 2501 == swept
    assert [True, False, False] == again


async def test_a_database_that_is_down_is_told_and_never_taken_for_a_first_use(tmp_path):
    """Fail closed: 503, and the caller may try again."""
    database = Database(f"postgresql://broker_app@/broker?host={tmp_path}")
    store = ReplayStore(database)
    for work in (lambda: store.claim("subject_token", ISSUER, "j", soon()), store.sweep):
        with pytest.raises(ReplayUnavailable):
            await work()
    await database.aclose()


@pytest.mark.row("DRILL-3")
async def test_a_database_that_does_not_answer_is_told_within_its_time(clean):
    """A lock that somebody holds stands for a disk that hangs: one second, not for ever."""
    database = Database(clean.app_url)
    store = ReplayStore(database)
    blocker = await asyncpg.connect(clean.owner_url)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE replay_claim")
    started = time.monotonic()
    claims = [store.claim("subject_token", ISSUER, str(n), soon()) for n in range(20)]
    outcomes = await asyncio.gather(*claims, return_exceptions=True)
    took = time.monotonic() - started
    await transaction.rollback()
    await blocker.close()

    assert {ReplayUnavailable} == {type(outcome) for outcome in outcomes}
    assert took < 10  # generous: twenty in a row would take longer
    assert await store.claim("subject_token", ISSUER, "afterwards", soon())
    await database.aclose()


@pytest.mark.row("DRILL-2")
async def test_it_goes_on_by_itself_after_every_connection_was_cut(clean):
    """As a restart of PostgreSQL does it, and nothing of ours is restarted."""
    database = Database(clean.app_url)
    store = ReplayStore(database)
    first = await store.claim("subject_token", ISSUER, "j", soon())
    execute(
        clean.superuser_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    outcomes = []
    while not outcomes or (outcomes[-1] is None and len(outcomes) < 20):
        try:
            outcomes.append(await store.claim("subject_token", ISSUER, "j", soon()))
        except ReplayUnavailable:
            outcomes.append(None)
    await database.aclose()

    assert first
    assert outcomes[-1] is False
    assert len(outcomes) <= 2


async def test_a_caller_that_gives_up_leaves_nothing_behind(clean):
    """A client disconnects in the middle: its connection is not handed to the next one."""
    database = Database(clean.app_url)
    store = ReplayStore(database)
    blocker = await asyncpg.connect(clean.owner_url)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE replay_claim")
    task = asyncio.create_task(store.claim("subject_token", ISSUER, "j", soon()))
    while not await blocker.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        await blocker.execute("SELECT pg_sleep(0.01)")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await transaction.rollback()
    await blocker.close()

    assert await store.claim("subject_token", ISSUER, "other", soon())
    await database.aclose()
