"""Detection over a real trail: each alert on record once, whoever is interrupted, and when."""

import asyncio
import json
from dataclasses import dataclass, field
from functools import partial

import pytest

from broker.audit.cursor import StoredCursor
from broker.audit.detect.detection import NAME, Detection
from broker.audit.detect.engine import Engine, Found
from broker.audit.detect.past import Past
from broker.audit.follow import Follower
from broker.audit.outcome import build_refused
from broker.db.engine import Database
from broker.errors import CommitRejected, Reason
from broker.settings.alerts import Alerts
from tests.audit import attempt, new_id, new_vault, running
from tests.builders import BROKER
from tests.fixtures.postgres import execute
from tests.looking import running_trail
from tests.sealing import seal_now, write_rows


@pytest.fixture
async def database(fresh):
    """A trail that is sealed and was looked through, as the broker's own role reaches it."""
    opened = Database(fresh.app_url)
    await write_rows(opened)
    await seal_now(opened)
    await look(opened)
    yield opened
    await opened.aclose()


@dataclass
class Heard:
    """Remembers what it was told."""

    found_: list[Found] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    waited: asyncio.Event = field(default_factory=asyncio.Event)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def found(self, found):
        self.found_.append(found)
        self.told.set()

    def failed(self, text):
        self.faults.append(text)

    def waits(self):
        self.waited.set()

    def idle(self):
        """Note nothing."""

    def primes(self):
        """Note nothing."""

    def seen(self, chunk):
        """Note nothing."""

    def missing(self, gap):
        """Note nothing."""


def build(database, record, **settings):
    follower = Follower(database, most=3)
    heard = settings.pop("heard", None) or Heard()
    return Detection(
        follower=follower,
        cursor=StoredCursor(database, NAME),
        past=Past(database, follower),
        build_engine=partial(Engine, Alerts.model_validate(settings)),
        record=record,
        health=heard,
        look=0.02,
        rest=0,
    )


async def look(database, **settings):
    """Look through what is sealed now; who was told of what."""
    heard = Heard()
    async with running_trail(database) as trail:
        made = build(database, trail.record_alert, heard=heard, **settings)
        await made.watch(asyncio.Event(), once=True)
    return [(one.alert.rule, one.suppressed is not None) for one in heard.found_]


async def replay(database, count=3):
    """Have it on record that a client presents one token again and again."""
    async with running(database) as writer:
        for _ in range(count):
            made = attempt(id=new_id())
            reason = Reason.SUBJECT_TOKEN_REPLAYED
            ids = {"id": new_id(), "issuer": BROKER, "vault": new_vault()}
            await writer.append(build_refused(made, reason, **ids))
    await seal_now(database)


def alerts(made):
    """The alerts on record: what, of whom, and the record."""
    rows = execute(
        made.auditor_url,
        "SELECT id, action, client, record FROM audit_event WHERE kind = 'alert' ORDER BY at",
    )
    return [
        (str(row["id"]), row["action"], row["client"], json.loads(row["record"])) for row in rows
    ]


async def test_an_alert_is_a_row_of_the_trail(database, fresh):
    """It names the rule, the numbers and the rows, and no person."""
    await replay(database)

    assert [("replay", False)] == await look(database)
    ((id_, action, client, record),) = await asyncio.to_thread(alerts, fresh)
    refused = execute(
        fresh.auditor_url, "SELECT id FROM audit_event WHERE outcome = 'refused' ORDER BY seq"
    )
    assert (id_, "replay", attempt().client.id) == (record["id"], action, client)
    assert ("high", 3, 3) == (
        record["severity"],
        record["details"]["observed"],
        record["details"]["threshold"],
    )
    assert [str(row["id"]) for row in refused] == record["details"]["evidence"]
    assert "alice" not in json.dumps(record)


async def test_what_was_told_is_not_told_again(database, fresh):
    """However often it is looked for, and though what is usual is read anew each time."""
    await replay(database)
    told = [await look(database) for _ in range(2)]
    await replay(database)
    told.append(await look(database))

    assert [[("replay", False)], [], []] == told
    assert 1 == len(await asyncio.to_thread(alerts, fresh))


async def test_who_dies_after_the_row_does_not_leave_it_twice(database, fresh):
    """The place is moved later; whoever goes on finds the row."""
    await replay(database)
    async with running_trail(database) as trail:

        async def dying(alert):
            await trail.record_alert(alert)
            raise CommitRejected(Reason.AUDIT_UNAVAILABLE)

        with pytest.raises(CommitRejected):
            await build(database, dying).watch(asyncio.Event(), once=True)

    assert [] == await look(database)
    assert 1 == len(await asyncio.to_thread(alerts, fresh))


async def test_who_dies_before_the_row_leaves_it_to_the_next(database, fresh):
    """No alert is lost: the place is moved once it is on record."""
    await replay(database)

    async def dying(alert):
        raise CommitRejected(Reason.AUDIT_UNAVAILABLE)

    with pytest.raises(CommitRejected):
        await build(database, dying).watch(asyncio.Event(), once=True)

    assert [("replay", False)] == await look(database)
    assert 1 == len(await asyncio.to_thread(alerts, fresh))


async def test_what_is_suppressed_is_counted_and_not_written(database, fresh):
    """And whoever looks is told of it."""
    await replay(database)
    until = {"until": "2999-01-01T00:00:00Z", "why": "known"}
    entry = {"rule": "replay", "client": attempt().client.id} | until

    assert [("replay", True)] == await look(database, suppress=[entry])
    assert [] == await asyncio.to_thread(alerts, fresh)


async def test_nobody_is_woken_for_what_was_before(fresh):
    """A trail that nobody has looked through begins now."""
    opened = Database(fresh.app_url)
    try:
        await replay(opened)

        assert [] == await look(opened)
    finally:
        await opened.aclose()


async def test_of_several_brokers_one_looks(database, fresh):
    """The others wait, and a stop ends all of them."""
    stop, told = asyncio.Event(), asyncio.Event()
    heard = [Heard(told=told), Heard(told=told)]
    async with running_trail(database) as trail, asyncio.TaskGroup() as group:
        for one in heard:
            group.create_task(build(database, trail.record_alert, heard=one).run(stop))
        waits = [asyncio.create_task(one.waited.wait()) for one in heard]
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in pending:
            one.cancel()
        await replay(database)
        await told.wait()
        stop.set()

    assert [0, 1] == sorted(len(one.found_) for one in heard)
    assert 1 == len(await asyncio.to_thread(alerts, fresh))


async def test_a_failure_is_told_and_ends_nothing(database):
    """Once it can be recorded again, it is."""
    await replay(database)
    stop, told = asyncio.Event(), asyncio.Event()
    heard = Heard(told=told)
    async with running_trail(database) as trail, asyncio.TaskGroup() as group:

        async def failing(alert):
            if not heard.faults:
                raise CommitRejected(Reason.AUDIT_UNAVAILABLE)
            await trail.record_alert(alert)

        group.create_task(build(database, failing, heard=heard).run(stop))
        await told.wait()
        stop.set()

    assert 1 == len(heard.faults)
    assert 1 == len(heard.found_)
