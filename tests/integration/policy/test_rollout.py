"""What decides in a process, whatever is activated: the newest that is well, and one at a time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker.domain import Deny, Permit
from broker.policy.activation import Mode, Share
from broker.policy.bundle import Bundle
from broker.policy.difference import Kind
from broker.policy.engine import PolicyUnavailable
from broker.policy.follower import SEEN_WITHIN
from broker.policy.trial import MAX_QUEUE
from broker.settings import Policy
from tests import rolling
from tests.builders import client, exchange
from tests.fixtures.postgres import OneDatabase, execute
from tests.rolling import Process, activate, make_bundle, one_process, saying
from tests.signing import make_pair

EVERYBODY = Share(100)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Policies, each by what it does."""
    texts = {
        "two minutes": saying(),
        "one minute": saying(lifetime=60),
        "three minutes": saying(lifetime=180),
        "spins": rolling.SPINNING,
        "traps": rolling.TRAPPING,
        "shapeless": rolling.SHAPELESS,
        "silent": rolling.SILENT,
        "beyond the floor": saying(scopes=["root"]),
    }
    folder = tmp_path_factory.mktemp("rolled")
    return {
        name: make_bundle(folder / str(n), text) for n, (name, text) in enumerate(texts.items())
    }


@pytest.fixture
async def process(fresh: OneDatabase, bundles: dict[str, Bundle]) -> AsyncIterator[Process]:
    """A process that nothing was activated for, which is configured with two minutes."""
    async with one_process(fresh.app_url, bundles["two minutes"]) as made:
        yield made


async def decided(process: Process, **overrides: object) -> Permit | Deny:
    """What becomes of an exchange."""
    return await process.decider.decide(exchange(**overrides))


def life(decision: Permit | Deny) -> int | str:
    """The seconds that are given, or why nothing is."""
    if isinstance(decision, Deny):
        return decision.reasons[0].value
    return int((decision.expires_at - decision.exchange.at).total_seconds())


async def test_nobody_decides_before_the_ledger_was_read(process, bundles, fresh):
    """Attack: keep the database away, restart, and be judged by the policy of last year."""
    execute(fresh.owner_url, "REVOKE SELECT ON policy_activation FROM broker_app")

    assert not process.engine.available
    with pytest.raises(PolicyUnavailable):
        await decided(process)
    execute(fresh.owner_url, "GRANT SELECT ON policy_activation TO broker_app")
    await process.follower.refresh()
    assert (True, 120) == (process.engine.available, life(await decided(process)))


async def test_what_is_activated_decides_and_a_rollback_returns(process, bundles):
    """And every decision names the revision that made it."""
    await process.follower.refresh()
    seen = [await decided(process)]
    await activate(process.ledger, bundles["one minute"])
    await process.follower.refresh()
    seen.append(await decided(process))

    assert [120, 60] == [life(decision) for decision in seen]
    assert [bundles["two minutes"].revision, bundles["one minute"].revision] == [
        decision.evaluation.revision for decision in seen
    ]
    assert bundles["one minute"].revision == process.engine.revision


@pytest.mark.parametrize("name", ["shapeless", "silent", "beyond the floor", "spins", "traps"])
async def test_a_canary_that_fails_refuses_nobody(process, bundles, name):
    """Attack on oneself: a candidate that hangs, traps or says nonsense, on real requests."""
    await activate(process.ledger, bundles[name], Mode.CANARY, share=EVERYBODY)
    await process.follower.refresh()

    seen = [await decided(process) for _ in range(3)]

    assert [120] * 3 == [life(decision) for decision in seen]
    assert {bundles["two minutes"].revision} == {each.evaluation.revision for each in seen}
    assert process.rollout.suspended is not None
    await process.follower.refresh()
    (replica,) = await process.ledger.find_replicas(SEEN_WITHIN)
    assert "the canary failed" in replica.fault


async def test_a_canary_decides_for_its_clients_only(process, bundles):
    """By name; and each row would name the policy that decided."""
    share = Share(clients=frozenset({"svc-x"}))
    await activate(process.ledger, bundles["one minute"], Mode.CANARY, share=share)
    await process.follower.refresh()

    chosen = await decided(process, client=client("svc-x"))
    others = await decided(process)

    assert [60, 120] == [life(chosen), life(others)]
    assert bundles["one minute"].revision == chosen.evaluation.revision


async def test_an_observed_candidate_is_counted_and_decides_nothing(process, bundles):
    """What would change, by kind and by client, with a request to look at."""
    await activate(process.ledger, bundles["three minutes"], Mode.OBSERVE)
    await process.follower.refresh()
    observer = process.rollout.candidate.observer
    asked = exchange()

    assert 120 == life(await process.decider.decide(asked))
    tally = await observed(process, 1)

    assert {
        "observed": 1,
        "dropped": 0,
        "failed": 0,
        "different": 1,
        "widening": 1,
        "kinds": {"longer_life": 1},
        "clients": {asked.client.id: 1},
        "samples": [
            {
                "request_id": asked.request.id,
                "client": asked.client.id,
                "kinds": ["longer_life"],
            }
        ],
    } == tally.describe()
    assert 0 == observer.take().observed


async def observed(process: Process, least: int):
    """What an observer has counted, once it is this much."""
    observer = process.rollout.candidate.observer
    tally = observer.take()
    async with asyncio.timeout(20):
        while tally.observed < least:
            await asyncio.sleep(0.01)
            more = observer.take()
            tally.observed += more.observed
            tally.failed += more.failed
            tally.different += more.different
            tally.dropped += more.dropped
            tally.kinds.update(more.kinds)
            tally.clients.update(more.clients)
            tally.samples.update(more.samples)
    return tally


@pytest.mark.parametrize("name", ["spins", "traps"])
async def test_an_observed_candidate_that_fails_is_counted_as_failing(process, bundles, name):
    """It would have refused what is permitted, and nobody noticed but the counter."""
    await activate(process.ledger, bundles[name], Mode.OBSERVE)
    await process.follower.refresh()

    assert 120 == life(await decided(process))
    tally = await observed(process, 1)
    assert (1, {Kind.FAILED: 1}) == (tally.failed, dict(tally.kinds))


async def test_a_slow_candidate_drops_and_holds_nobody_up(process, bundles):
    """Attack: a candidate that never ends. Every exchange is decided; the rest is counted."""
    await activate(process.ledger, bundles["spins"], Mode.OBSERVE)
    await process.follower.refresh()
    count = MAX_QUEUE + 50

    seen = [await decided(process) for _ in range(count)]

    assert [120] * count == [life(decision) for decision in seen]
    # At most one is being asked and the queue is full: whatever else there was is dropped.
    assert process.rollout.candidate.observer.take().dropped > 0


@pytest.mark.parametrize(
    "fault", ["not-an-archive", "truncated", "another-bundle", "spins-at-once"]
)
@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.OBSERVE])
async def test_a_bundle_that_is_broken_changes_nothing(process, bundles, tmp_path, fault, mode):
    """Whoever wrote it into the database: what was in force stays, and it is an alarm."""
    await activate(process.ledger, bundles["one minute"])
    await process.follower.refresh()
    bad = bundles["three minutes"]
    content = {
        "not-an-archive": b"not an archive",
        "truncated": rolling.archive(bad)[:-20],
        "another-bundle": rolling.archive(bundles["traps"]),
        "spins-at-once": rolling.archive(bad),
    }[fault]
    if fault == "spins-at-once":
        text = "decision := count([1 | some i in numbers.range(1, 100000);"
        text += " some j in numbers.range(1, 100000); i == j])"
        bad = make_bundle(tmp_path / "spinning", text)
        content = rolling.archive(bad)
    await activate(process.ledger, bad, mode, content=content)
    await process.follower.refresh()

    assert 60 == life(await decided(process))
    assert process.follower.troubles
    (replica,) = await process.ledger.find_replicas(SEEN_WITHIN)
    assert (bundles["one minute"].revision, True) == (replica.revision, bool(replica.fault))
    await activate(process.ledger, bundles["two minutes"])
    await process.follower.refresh()
    assert (120, ()) == (life(await decided(process)), process.follower.troubles)


async def test_a_bundle_by_another_key_changes_nothing(fresh, bundles, tmp_path):
    """Attack: whoever can write to the database signs a policy of their own."""
    pair, stranger = make_pair(), make_pair()
    _, public = pair.write(tmp_path)
    verification = {"key_file": str(public), "algorithm": "ES256"}
    longer = bundles["three minutes"]
    async with one_process(
        fresh.app_url, bundles["two minutes"], verification=verification
    ) as process:
        for content in (rolling.archive(longer), rolling.archive(longer, stranger.signer())):
            await activate(process.ledger, longer, content=content)
            await process.follower.refresh()
            # At the start there is no old policy: nobody decides, rather than the wrong one.
            with pytest.raises(PolicyUnavailable):
                await decided(process)
            assert process.follower.troubles
        await activate(process.ledger, longer, content=rolling.archive(longer, pair.signer()))
        await process.follower.refresh()
        assert (180, ()) == (life(await decided(process)), process.follower.troubles)
        await activate(process.ledger, bundles["one minute"])  # unsigned
        await process.follower.refresh()
        assert 180 == life(await decided(process))


async def test_a_signature_that_is_asked_for_later_is_asked_of_what_is_in_force(
    process, bundles, tmp_path
):
    """A key is configured while an unsigned bundle decides: it stays, and is an alarm."""
    pair = make_pair()
    _, public = pair.write(tmp_path)
    await activate(process.ledger, bundles["one minute"])
    await process.follower.refresh()
    verification = {"key_file": str(public), "algorithm": "ES256"}
    process.settings = process.settings.model_copy(
        update={"policy": Policy(verification=verification)}
    )
    await process.follower.refresh()
    unsigned = (life(await decided(process)), len(process.follower.troubles))
    signed = rolling.archive(bundles["one minute"], pair.signer())
    await activate(process.ledger, bundles["one minute"], content=signed)
    await process.follower.refresh()

    assert (60, 1) == unsigned
    assert (60, ()) == (life(await decided(process)), process.follower.troubles)


async def test_a_candidate_that_ends_is_reported_before_it_is_closed(process, bundles):
    """What was observed in the last minute is not lost by promoting it."""
    await activate(process.ledger, bundles["three minutes"], Mode.OBSERVE)
    await process.follower.refresh()
    candidate = process.rollout.candidate
    await activate(process.ledger, bundles["three minutes"])
    await process.follower.refresh()

    assert [candidate] == process.ended
    assert process.rollout.candidate is None


async def test_all_processes_come_to_the_same_and_it_is_seen(fresh, bundles):
    """One activation, two processes: both follow, and each says so."""
    async with (
        one_process(fresh.app_url, bundles["two minutes"]) as one,
        one_process(fresh.app_url, bundles["two minutes"]) as other,
    ):
        await one.follower.refresh()
        await activate(one.ledger, bundles["one minute"])
        await one.follower.refresh()
        await other.follower.refresh()
        replicas = await one.ledger.find_replicas(SEEN_WITHIN)

        assert [60, 60] == [life(await decided(each)) for each in (one, other)]
        assert {(1, bundles["one minute"].revision)} == {(r.seq, r.revision) for r in replicas}
        assert 2 == len(replicas)


async def test_a_process_follows_by_itself_and_takes_its_leave(process, bundles):
    """While it runs an activation is in force soon; once it has ended it is not listed."""
    stop = asyncio.Event()
    running = asyncio.create_task(process.follower.run(stop))
    await activate(process.ledger, bundles["one minute"])
    async with asyncio.timeout(20):
        # Asked and not told: it is what requests are decided by.
        while process.engine.revision != bundles["one minute"].revision:  # noqa: ASYNC110 — see above
            await asyncio.sleep(0.01)
    stop.set()
    await running

    assert [] == list(await process.ledger.find_replicas(SEEN_WITHIN))
