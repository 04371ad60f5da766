"""One-time claims: in one transaction with their row, and won by exactly one."""

import asyncio
from datetime import timedelta
from hashlib import sha256

import pytest

from broker.audit.queue import AlreadyClaimed
from broker.audit.verify import verify_trail
from broker.db.engine import Database
from tests.audit import event, now, running
from tests.fixtures.postgres import execute


@pytest.fixture
async def own(fresh):
    """A database of the test's own, as the broker reaches it."""
    database = Database(fresh.app_url)
    yield database
    await database.aclose()


def claim(name="j-1"):
    return sha256(name.encode()).digest(), now() + timedelta(minutes=5)


async def won(waiting):
    try:
        await waiting
    except AlreadyClaimed:
        return False
    return True


@pytest.mark.row("ATK-RPL-01", "CVE-2025-46815")
async def test_of_fifty_at_once_at_two_replicas_one_wins(fresh, own):
    """ATK-RPL-01: and the losers have no row, so nothing says that they got a token."""
    async with running(own) as one, running(own) as other:
        outcomes = await asyncio.gather(
            *(
                won((one, other)[number % 2].append(event("claiming"), [claim()]))
                for number in range(50)
            )
        )
        intact = await verify_trail(own)
    rows = execute(fresh.auditor_url, "SELECT FROM audit_event WHERE action = 'claiming'")

    assert 1 == sum(outcomes) == len(rows)
    assert intact.intact


async def test_whoever_loses_takes_nobody_along(fresh, own):
    """Ours: the other rows of the batch are committed, with a claim and without."""
    async with running(own) as writer:
        await writer.append(event(), [claim("taken")])
        outcomes = await asyncio.gather(
            *(
                won(writer.append(event(f"n{number}"), claims))
                for number, claims in enumerate(
                    ([], [claim("taken")], [claim("a")], [claim("b"), claim("taken")], [])
                )
            )
        )
    actions = [
        row["action"]
        for row in execute(
            fresh.auditor_url, "SELECT action FROM audit_event WHERE action LIKE 'n%' ORDER BY seq"
        )
    ]
    keys = execute(fresh.superuser_url, "SELECT key FROM replay_claim")

    assert [True, False, True, False, True] == outcomes
    assert ["n0", "n2", "n4"] == actions
    # The one that lost with one of its two claims has not spent the other.
    assert {claim(name)[0] for name in ("taken", "a")} == {row["key"] for row in keys}


async def test_the_loser_learns_which_of_its_claims_was_taken(own):
    """Ours: so the answer can say whether the subject or the actor token was used before."""
    async with running(own) as writer:
        await writer.append(event(), [claim("actor")])
        with pytest.raises(AlreadyClaimed) as caught:
            await writer.append(event(), [claim("subject"), claim("actor")])

    assert frozenset({claim("actor")[0]}) == caught.value.keys


async def test_one_event_may_name_a_claim_twice(own):
    """Ours: a token that is both subject and actor is used once."""
    async with running(own) as writer:
        await writer.append(event(), [claim(), claim()])


async def test_two_writers_with_the_same_claims_do_not_block_each_other(own):
    """Ours: claims are made in one order, so there is no deadlock to wait out."""
    names = [f"k{number}" for number in range(20)]
    async with running(own) as one, running(own) as other:
        outcomes = await asyncio.gather(
            *(won(one.append(event(), [claim(name)])) for name in names),
            *(won(other.append(event(), [claim(name)])) for name in reversed(names)),
        )

    assert 20 == sum(outcomes)
