"""Signing keys that processes share: one state, in force everywhere, whoever changed it."""

import asyncio
import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from broker.db.engine import Database
from broker.errors import ConfigurationError, MintRejected, Reason
from broker.jose.compact import parse_compact
from broker.jose.sign import generate_signing_key, sign_compact
from broker.jose.verify import verify_signature
from broker.keys.envelope import Envelope
from broker.keys.keyring import READY_WITHIN, STALE_AFTER
from broker.keys.provider import ProviderUnavailable
from broker.keys.rotation import KeyState, TooEarly, forced_promotion
from broker.keys.rotator import Rotator
from broker.keys.store import GenerationLost, KeyStore, NewKey, StoreUnavailable
from tests.fixtures.postgres import execute
from tests.integration.keys.process import AT_ONCE, SLOW, Process
from tests.server import eventually


def states(clean) -> list[tuple[str, str]]:
    rows = execute(
        clean.owner_url, "SELECT algorithm, state FROM signing_key ORDER BY algorithm, state"
    )
    return [tuple(row) for row in rows]


@pytest.mark.row("JK-01")
async def test_the_first_process_makes_the_keys_and_the_next_one_finds_them(start, clean):
    """One active and one standby of each algorithm in use, both published, and recorded."""
    algorithms = ("Ed25519", "ES256")
    first, second = start(algorithms=algorithms), start(algorithms=algorithms)
    await first.keyring.load()
    await second.keyring.load()

    assert [
        (algorithm, state) for algorithm in ("ES256", "Ed25519") for state in ("active", "prepared")
    ] == states(clean)
    assert 4 == len(first.published())
    assert first.keyring.jwks() == second.keyring.jwks()
    assert [first.signs_with(name) for name in algorithms] == [
        second.signs_with(name) for name in algorithms
    ]
    assert ["keys.rotate"] * 2 == [action for action, _ in first.recorded]
    assert [] == second.recorded


async def test_of_two_that_start_at_once_one_makes_the_keys(start, clean):
    """Neither fails, and there is no third active key."""
    processes = [start(), start()]
    await asyncio.gather(*(process.keyring.load() for process in processes))
    for process in processes:
        await process.keyring.refresh()

    assert [("ES256", "active"), ("ES256", "prepared")] == states(clean)
    assert 1 == len({process.signs_with() for process in processes})


@pytest.mark.row("JK-02", "OP-05")
async def test_a_rotation_reaches_the_other_process_without_a_restart(start):
    """It polls; nobody has to tell it."""
    first, second = start(), start()
    await first.keyring.load()
    await second.keyring.load()
    before = second.signs_with()
    stop = asyncio.Event()
    running = asyncio.create_task(second.keyring.run(stop))
    await first.rotator.rotate_forced("ES256")
    await first.keyring.refresh()
    async with asyncio.timeout(30):
        while second.signs_with() == before:
            await second.database.ping()
    stop.set()
    await running

    assert first.signs_with() == second.signs_with()
    assert before in second.published()  # tokens that it signed are still about


@pytest.mark.row("JK-02", "DRILL-9")
async def test_whatever_is_rotated_every_verifier_knows_the_key(start, clean):
    """Two leaders take turns: the JWKS of one transition ago knows what signs now."""
    leaders = [start(schedule=AT_ONCE), start(schedule=AT_ONCE)]
    for leader in leaders:
        await leader.keyring.load()
    cached = leaders[1].published()
    for round_number in range(30):
        leader = leaders[round_number % 2]
        await leader.rotator.rotate("ES256")
        await leader.keyring.refresh()
        assert leader.signs_with() in cached
        cached = leader.published()
        counted = [state for _, state in states(clean)]
        assert (1, 1) == (counted.count("active"), counted.count("prepared"))
    kept = execute(
        clean.owner_url,
        "SELECT DISTINCT length(wrapped_key), length(wrapped_dek) FROM signing_key"
        " WHERE state = 'retired'",
    )

    assert [(0, 0)] == [tuple(row) for row in kept]


@pytest.mark.row("DRILL-9")
async def test_leaders_that_rotate_at_the_same_moment_do_it_once(start, clean):
    """Compare-and-set: the losers are told, and what they made is thrown away."""
    leaders = [start(schedule=AT_ONCE) for _ in range(4)]
    await leaders[0].keyring.load()
    plans = [forced_promotion(await leader.store.table("ES256"), AT_ONCE) for leader in leaders]

    async def apply(leader: Process, plan: Any) -> bool:
        key, custody = await leader.providers.make("ES256", ())
        new = NewKey(key.kid, KeyState.PREPARED, key.public_jwk, custody)
        try:
            await leader.store.apply(plan, [new], lambda: leader.record("keys.rotate", {}))
        except GenerationLost:
            return False
        return True

    outcomes = await asyncio.gather(*map(apply, leaders, plans))

    assert [False, False, False, True] == sorted(outcomes)
    assert [("ES256", "active"), ("ES256", "prepared"), ("ES256", "retiring")] == states(clean)
    # One when the keys were made, one for the winner; a loser records nothing.
    assert 2 == sum(len(leader.recorded) for leader in leaders)


@pytest.mark.row("DRILL-9")
async def test_a_leader_that_slept_on_its_plan_changes_nothing(start, clean):
    """However long: it finds another generation."""
    sleeper, awake = start(), start()
    await sleeper.keyring.load()
    plan = forced_promotion(await sleeper.store.table("ES256"), SLOW)
    await awake.rotator.rotate_forced("ES256")
    before = execute(clean.owner_url, "SELECT * FROM signing_key ORDER BY kid")
    with pytest.raises(GenerationLost):
        await sleeper.store.apply(plan, [], lambda: sleeper.record("keys.rotate", {}))

    assert before == execute(clean.owner_url, "SELECT * FROM signing_key ORDER BY kid")


@pytest.mark.row("OP-01")
async def test_a_rotation_that_cannot_be_recorded_does_not_take_place(start, clean):
    """The audit trail is asked inside the transaction."""
    process = start()
    await process.keyring.load()
    before = execute(clean.owner_url, "SELECT * FROM signing_key ORDER BY kid")

    async def refuse(action: str, details: Mapping[str, Any]) -> None:
        raise TimeoutError("the audit trail is away")

    rotator = Rotator(process.store, process.providers, SLOW, refuse)
    with pytest.raises(StoreUnavailable):
        await rotator.rotate_forced("ES256")

    assert before == execute(clean.owner_url, "SELECT * FROM signing_key ORDER BY kid")


async def test_what_is_recorded_names_the_keys_and_never_holds_one(start):
    """Algorithm, generation, and from which state to which; the record is for ever."""
    process = start()
    await process.keyring.load()
    first = process.signs_with()
    await process.rotator.rotate_forced("ES256")
    action, details = process.recorded[-1]
    await process.keyring.refresh()
    second, third = (kid for kid in process.published() if kid != first)
    active = process.signs_with()
    standby = third if active == second else second

    assert "keys.rotate" == action
    assert {
        "algorithm": "ES256",
        "generation": 2,
        "changes": [
            {"kid": first, "from": "active", "to": "retiring"},
            {"kid": active, "from": "prepared", "to": "active"},
            {"kid": standby, "from": None, "to": "prepared"},
        ],
    } == details


async def test_a_standby_that_nobody_has_seen_yet_does_not_sign(start):
    """Verifiers keep a JWKS for five minutes."""
    process = start()
    await process.keyring.load()
    with pytest.raises(TooEarly):
        await process.rotator.rotate("ES256")

    assert not await process.rotator.rotate_due("ES256")


async def test_a_process_that_has_not_seen_the_keys_lately_does_not_sign(start):
    """Its active key may be retiring by now. What it published it still serves."""
    process = start()
    await process.keyring.load()
    process.now = STALE_AFTER.total_seconds()
    assert process.signs_with()
    process.now += 0.001
    with pytest.raises(MintRejected) as caught:
        process.signs_with()
    assert 2 == len(process.published())

    await process.keyring.refresh()

    assert Reason.MINT_KEY_UNAVAILABLE is caught.value.reason
    assert process.signs_with()


async def test_without_a_database_the_old_keys_stay_until_they_are_stale(start, tmp_path):
    """A refresh that fails takes nothing away, and is told."""
    process = start()
    await process.keyring.load()
    before = process.signs_with()
    away = KeyStore(Database(f"postgresql://broker_app@/broker?host={tmp_path}"))
    process.keyring._store = away
    with pytest.raises(StoreUnavailable):
        await process.keyring.refresh()

    assert before == process.signs_with()


async def test_a_rotation_while_the_database_is_away_waits_loudly(start, tmp_path, caplog):
    """The active key signs on; each round says so, and the next one that can does what is due."""
    process = start(schedule=AT_ONCE, poll=timedelta(milliseconds=10))
    await process.keyring.load()
    await process.keyring.refresh()
    before, store = process.signs_with(), process.store
    away = KeyStore(Database(f"postgresql://broker_app@/broker?host={tmp_path}"))
    process.keyring._store = away
    object.__setattr__(process.rotator, "store", away)
    stop = asyncio.Event()
    running = asyncio.create_task(process.keyring.run(stop))

    async def told() -> bool:
        return len(caplog.records) >= 3

    async def rotated() -> bool:
        return process.signs_with() != before

    await eventually(told)
    meanwhile = process.signs_with()
    process.keyring._store = store
    object.__setattr__(process.rotator, "store", store)
    await eventually(rotated)
    stop.set()
    await running

    assert before == meanwhile
    assert "the old ones sign on" in caplog.text


async def test_keys_of_one_algorithm_that_cannot_be_made_hold_up_no_other(start, caplog):
    """Each rotates by itself; what fails is told by its algorithm and tried again."""
    process = start(
        schedule=AT_ONCE, algorithms=("ES256", "Ed25519"), poll=timedelta(milliseconds=10)
    )
    await process.keyring.load()
    await process.keyring.refresh()
    before = [process.signs_with(name) for name in ("ES256", "Ed25519")]
    make = process.providers.make

    async def make_others(algorithm: str, beside: Any) -> Any:
        if algorithm == "ES256":
            raise ProviderUnavailable("unplugged")
        return await make(algorithm, beside)

    rotator = dataclasses.replace(
        process.rotator, providers=SimpleNamespace(make=make_others, open=process.providers.open)
    )
    process.keyring._rotator = rotator
    stop = asyncio.Event()
    running = asyncio.create_task(process.keyring.run(stop))

    async def rotated() -> bool:
        return process.signs_with("Ed25519") != before[1]

    await eventually(rotated)
    stop.set()
    await running

    assert before[0] == process.signs_with("ES256")
    assert {"ES256"} == {
        record.algorithm for record in caplog.records if "rotation that is due" in record.message
    }


async def test_before_the_first_load_nothing_is_signed_and_nothing_verifies(start):
    """Not ready, and an empty set."""
    process = start()

    assert not process.keyring.loaded
    assert b'{"keys":[]}' == process.keyring.jwks().body
    with pytest.raises(MintRejected):
        process.signs_with()


async def test_a_process_that_was_cut_off_is_not_ready_before_it_has_read_the_keys(start):
    """It signs on, but its JWKS may be one of before: traffic can go around it."""
    process = start()
    await process.keyring.load()
    ready = [process.keyring.loaded]
    process.now += READY_WITHIN.total_seconds() + 0.001
    ready.append(process.keyring.loaded)
    assert process.signs_with()
    await process.keyring.refresh()

    assert [True, False, True] == [*ready, process.keyring.loaded]


async def test_an_algorithm_that_is_not_in_use_has_no_key(start):
    """No fallback to another one."""
    process = start()
    await process.keyring.load()
    with pytest.raises(MintRejected):
        process.signs_with("RS256")


async def test_another_kek_than_the_keys_were_sealed_under_is_a_configuration_error(start):
    """At start, by its name, instead of new keys beside the old ones."""
    await start().keyring.load()
    with pytest.raises(ConfigurationError, match=r"^keys\.kek_file: "):
        await start(kek=bytes(32)).keyring.load()


@pytest.mark.row("JK-01")
async def test_a_key_that_somebody_wrote_into_the_table_is_not_published(start, clean):
    """What is published comes out of the envelope: without the kek nobody adds a key to us."""
    process = start()
    await process.keyring.load()
    stranger = Envelope(bytes(32)).seal(generate_signing_key("ES256"))
    execute(
        clean.app_url,
        "INSERT INTO signing_key SELECT 'stranger', algorithm, 'prepared', generation, public_jwk,"
        f" '\\x{stranger.wrapped_key.hex()}', '\\x{stranger.wrapped_dek.hex()}', created_at"
        " FROM signing_key WHERE state = 'active'",
        "UPDATE key_generation SET generation = generation + 1",
    )
    before = process.published()
    await process.keyring.refresh()

    assert before == process.published()


@pytest.mark.row("JK-01")
async def test_what_is_published_has_no_private_member(start):
    """RFC 7517 §9.3: public keys only, each with its use, algorithm and kid; the ETag follows."""
    process = start(algorithms=("ES256", "Ed25519", "RS256"))
    await process.keyring.load()
    before = process.keyring.jwks()
    keys = orjson.loads(before.body)["keys"]
    private = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
    await process.rotator.rotate_forced("ES256")
    await process.keyring.refresh()

    assert 6 == len(keys)
    assert not any(private & set(key) for key in keys)
    assert all({"use", "alg", "kid", "kty"} <= set(key) for key in keys)
    assert before.etag != process.keyring.jwks().etag


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519", "EdDSA"])
async def test_our_own_tokens_verify_with_the_keyring(start, algorithm):
    """Signed by one process, accepted by the other, also with a key that is retiring."""
    first, second = start(algorithms=(algorithm,)), start(algorithms=(algorithm,))
    await first.keyring.load()
    signer = first.signs_with(algorithm)
    key = first.keyring.signing_key(algorithm)
    token = sign_compact(key, {"alg": algorithm, "kid": signer}, b"{}")
    await first.rotator.rotate_forced(algorithm)
    await first.keyring.refresh()
    await second.keyring.load()

    jws = parse_compact(token)
    verified = verify_signature(jws, second.keyring.verification_keys(), [algorithm])

    assert signer not in {first.signs_with(algorithm), second.signs_with(algorithm)}
    assert {"alg": algorithm, "kid": signer} == verified.header
