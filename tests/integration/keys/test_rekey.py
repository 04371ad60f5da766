"""Another key-encryption key, while processes with the old file, the new one and both run on."""

from collections.abc import Sequence

import pytest

from broker.errors import ConfigurationError
from broker.keys.envelope import Envelope, Unsealable
from broker.keys.rotation import forced_promotion
from broker.keys.store import GenerationLost, KeyStore, StoreUnavailable
from tests.fixtures.postgres import execute
from tests.integration.keys.process import KEK, SLOW

NEW_KEK = bytes(range(32, 64))


async def rekey(store: KeyStore, recorded: list[str] | None = None) -> tuple[str, ...]:
    """What the command does."""
    envelope = Envelope(NEW_KEK, KEK)

    async def record(kids: Sequence[str]) -> None:
        if recorded is not None:
            recorded.extend(kids)

    return await store.rewrap(
        lambda row: envelope.rewrap(row.custody, row.record.kid, row.record.algorithm), record
    )


async def rotate(process) -> None:
    await process.rotator.rotate_forced("ES256")


async def signs_with(*processes) -> set[str]:
    for process in processes:
        await process.keyring.refresh()
    return {process.signs_with() for process in processes}


async def test_no_process_misses_a_key_whatever_file_it_has(start):
    """The documented way: both files everywhere, then the command, then the new one everywhere."""
    algorithms = ("ES256", "RS256")
    replicas = [start(others=(NEW_KEK,), algorithms=algorithms) for _ in range(2)]
    for replica in replicas:
        await replica.keyring.load()
    await rotate(replicas[0])
    assert 1 == len(await signs_with(*replicas))

    moved = await rekey(replicas[0].store)
    assert 5 == len(moved)
    # Who makes keys now follows, though the old file is its first one.
    await rotate(replicas[1])
    restarted = start(kek=NEW_KEK, algorithms=algorithms)
    await restarted.keyring.load()

    assert 1 == len(await signs_with(*replicas, restarted))
    assert replicas[0].published() == restarted.published()
    # And who has the new one alone makes keys that those with both open.
    await rotate(restarted)
    assert 1 == len(await signs_with(*replicas, restarted))


async def test_a_process_that_was_left_behind_signs_on_with_what_it_has(start):
    """It has the old file alone: what is open stays open, and it makes no key that is lost."""
    behind, ahead = start(), start(kek=NEW_KEK, others=(KEK,))
    await behind.keyring.load()
    await ahead.keyring.load()
    await rekey(ahead.store)
    assert 1 == len(await signs_with(behind, ahead))
    await rotate(ahead)

    assert 1 == len(await signs_with(behind, ahead))
    with pytest.raises(Unsealable):
        await rotate(behind)


async def test_the_old_file_opens_nothing_afterwards(start):
    """At the next start it is a configuration error, by its name."""
    process = start()
    await process.keyring.load()
    await rekey(process.store)
    with pytest.raises(ConfigurationError, match=r"^keys\.kek_file: "):
        await start().keyring.load()


async def test_it_can_be_repeated(start, clean):
    """The second time there is nothing to do, nothing is recorded, and no row is written."""
    process = start()
    await process.keyring.load()
    first: list[str] = []
    second: list[str] = []
    await rekey(process.store, first)
    rows = execute(clean.owner_url, "SELECT * FROM signing_key ORDER BY kid")
    assert () == await rekey(process.store, second)

    assert (2, []) == (len(first), second)
    assert rows == execute(clean.owner_url, "SELECT * FROM signing_key ORDER BY kid")


async def test_a_key_that_opens_under_neither_stops_all_of_it(start, clean):
    """All move or none does: whoever must go back finds every key where it was."""
    process = start()
    await process.keyring.load()
    execute(
        clean.owner_url,
        r"UPDATE signing_key SET wrapped_dek = '\x0102' WHERE state = 'prepared'",
    )
    before = execute(clean.owner_url, "SELECT * FROM signing_key ORDER BY kid")
    with pytest.raises(Unsealable):
        await rekey(process.store)

    assert before == execute(clean.owner_url, "SELECT * FROM signing_key ORDER BY kid")


@pytest.mark.row("OP-01")
async def test_what_cannot_be_recorded_does_not_take_place(start, clean):
    """The audit trail is asked inside the transaction."""
    process = start()
    await process.keyring.load()
    envelope = Envelope(NEW_KEK, KEK)
    before = execute(clean.owner_url, "SELECT * FROM signing_key ORDER BY kid")

    async def refuse(kids: Sequence[str]) -> None:
        raise TimeoutError

    with pytest.raises(StoreUnavailable):
        await process.store.rewrap(
            lambda row: envelope.rewrap(row.custody, row.record.kid, row.record.algorithm), refuse
        )

    assert before == execute(clean.owner_url, "SELECT * FROM signing_key ORDER BY kid")


async def test_a_key_that_was_made_meanwhile_comes_too_late(start):
    """It would be sealed under the old key, after every other one has moved."""
    process = start(others=(NEW_KEK,))
    await process.keyring.load()
    plan = forced_promotion(await process.store.table("ES256"), SLOW)
    await rekey(process.store)
    with pytest.raises(GenerationLost):
        await process.store.apply(plan, [], lambda: process.record("keys.rotate", {}))
