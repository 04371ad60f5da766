"""What auditors did comes into the trail: each look once, whatever stands in the table."""

import asyncio
import json

import pytest

from broker.audit.lift import Lifter
from broker.db.engine import Database
from broker.errors import CommitRejected, Reason
from tests.audit import event, running
from tests.fixtures.postgres import execute
from tests.looking import add_by_hand, audit, lifted, looks, running_trail


@pytest.fixture
async def database(fresh):
    """A trail with a row, as the broker's own role reaches it."""
    opened = Database(fresh.app_url)
    async with running(opened) as writer:
        await writer.append(event("test"))
    yield opened
    await opened.aclose()


async def lift_all(database):
    async with running_trail(database) as trail:
        return await Lifter(database, trail.record).lift()


async def test_a_look_comes_into_the_trail_once(database, fresh):
    """Under the id that it had, with the role and the time that the database gave it."""
    await asyncio.to_thread(audit, fresh.auditor_url, "query", "--client", "svc-a")
    (look,) = looks(fresh)

    async with running_trail(database) as trail:
        counts = [await Lifter(database, trail.record).lift() for _ in range(2)]

    (row,) = await asyncio.to_thread(lifted, fresh)
    assert [1, 0] == counts
    assert [] == looks(fresh)
    assert (str(look["id"]), "audit.query", "broker_auditor") == (
        row["id"],
        row["action"],
        row["details"]["role"],
    )
    assert look["by"] == row["personal"]["by"]
    assert "svc-a" == row["details"]["client"]


async def test_what_was_interrupted_after_the_row_is_not_there_twice(database, fresh):
    """A broker that dies between the row and its removal leaves it to the next."""
    for _ in range(3):
        add_by_hand(fresh, "audit.query", "{}")

    async with running_trail(database) as trail:
        done = 0

        async def dying(action, details, *, by, id):  # noqa: A002 — as the trail has it
            nonlocal done
            await trail.record(action, details, by=by, id=id)
            done += 1
            if done == 2:
                raise CommitRejected(Reason.AUDIT_UNAVAILABLE)

        with pytest.raises(CommitRejected):
            await Lifter(database, dying).lift()
        assert 3 == len(looks(fresh))
        await Lifter(database, trail.record).lift()

    assert 3 == len(await asyncio.to_thread(lifted, fresh))
    assert [] == looks(fresh)


async def test_of_several_brokers_one_lifts(database, fresh):
    """None waits for another, and none lifts what another does."""
    for _ in range(3):
        add_by_hand(fresh, "audit.query", "{}")

    async with running_trail(database) as trail:
        await asyncio.gather(*(Lifter(database, trail.record).lift() for _ in range(4)))

    assert 3 == len(await asyncio.to_thread(lifted, fresh))


@pytest.mark.parametrize(
    "details",
    [
        pytest.param("", id="empty"),
        pytest.param("who knows", id="no-json"),
        pytest.param('["audit"]', id="no-object"),
        pytest.param('{"a": "\\ud800"}', id="no-text"),
        pytest.param('{"a":' * 1500 + "1" + "}" * 1500, id="too-deep-to-read"),
        pytest.param('{"a":' * 500 + "1" + "}" * 500, id="too-deep-to-write"),
    ],
)
async def test_what_is_no_description_is_lifted_as_a_digest(database, fresh, details):
    """Auditors can write into the table what they like; it stops neither the broker nor others."""
    odd = add_by_hand(fresh, "audit.query", details)
    add_by_hand(fresh, "audit.show", '{"row": "x"}')

    assert 2 == await lift_all(database)
    first, second = await asyncio.to_thread(lifted, fresh)
    assert [] == looks_left(fresh)
    assert (str(odd), "audit.query", {"omitted", "role", "recorded_at"}) == (
        first["id"],
        first["action"],
        set(first["details"]),
    )
    assert first["details"]["omitted"].startswith("sha256:")
    assert ("audit.show", "x") == (second["action"], second["details"]["row"])


@pytest.mark.parametrize(
    "action", ["audit.retain", "audit.erase", "audit.forget", "audit.anything"]
)
async def test_only_looks_are_lifted_as_what_they_say_they_are(database, fresh, action):
    """No auditor makes a tombstone, or has on record that somebody was erased."""
    add_by_hand(fresh, action, '{"role": "broker_owner", "day": "2026-01-01"}')

    await lift_all(database)
    (row,) = await asyncio.to_thread(lifted, fresh)
    assert ("audit.unknown", action, "broker_auditor") == (
        row["action"],
        row["details"]["claimed"],
        row["details"]["role"],
    )


async def test_the_id_of_another_row_is_not_taken(database, fresh):
    """Who looks under the id of a row that is there hides nothing, and is no second such row."""
    (row,) = execute(fresh.app_url, "SELECT id FROM audit_event WHERE action = 'test'")
    add_by_hand(fresh, "audit.query", json.dumps({"client": "svc-a"}), str(row["id"]))

    await lift_all(database)
    (look,) = await asyncio.to_thread(lifted, fresh)
    assert ("svc-a", str(row["id"])) == (look["details"]["client"], look["details"]["id"])
    assert str(row["id"]) != look["id"]


def looks_left(made):
    return execute(made.app_url, "SELECT id FROM audit_access")
