"""A key that may be in wrong hands: withdrawn at once, in every process, whatever else is away."""

import asyncio
from typing import Any

import pytest

from broker.errors import ConfigurationError, MintRejected
from broker.jose.compact import parse_compact
from broker.jose.errors import KeyUnknown
from broker.jose.sign import sign_compact
from broker.jose.verify import verify_signature
from broker.keys.provider import ProviderUnavailable, Unopenable
from broker.keys.store import GenerationLost, StoreUnavailable
from tests.fixtures.postgres import execute
from tests.integration.keys.process import Process


def keys_of(clean) -> dict[str, str]:
    """The state of every key that there ever was."""
    return dict(map(tuple, execute(clean.owner_url, "SELECT kid, state FROM signing_key")))


def kids(clean, state: str) -> list[str]:
    return [kid for kid, found in keys_of(clean).items() if found == state]


async def revoke(process: Process, kid: str) -> bool:
    return await process.rotator.revoke(await process.store.find(kid), reason="found in a log")


@pytest.mark.row("JK-03", "DRILL-10")
async def test_the_standby_signs_and_the_bad_key_is_gone_everywhere(start, clean):
    """JWKS, verification and signing, in the process that revokes and in every other one."""
    first, second = start(), start()
    await first.keyring.load()
    await second.keyring.load()
    bad = first.signs_with()
    (standby,) = kids(clean, "prepared")
    token = sign_compact(first.keyring.signing_key("ES256"), {"alg": "ES256", "kid": bad}, b"{}")
    assert await revoke(first, bad)
    await first.keyring.refresh()
    await second.keyring.refresh()

    for process in (first, second):
        assert standby == process.signs_with()
        assert bad not in process.published()
        with pytest.raises(KeyUnknown):
            verify_signature(parse_compact(token), process.keyring.verification_keys(), ["ES256"])
    assert {bad: "retired", standby: "active"}.items() <= keys_of(clean).items()
    assert 1 == len(kids(clean, "prepared"))


@pytest.mark.row("JK-03", "OP-01")
async def test_it_is_recorded_with_the_reason(start):
    """One row: which key, why, and what took its place."""
    process = start()
    await process.keyring.load()
    bad = process.signs_with()
    await revoke(process, bad)
    await process.keyring.refresh()
    action, details = process.recorded[-1]
    new = [each["kid"] for each in details["changes"] if each["from"] is None]

    assert "keys.revoke" == action
    assert {
        "algorithm": "ES256",
        "generation": 2,
        "kid": bad,
        "reason": "found in a log",
        "changes": [
            {"kid": bad, "from": "active", "to": "retired"},
            {"kid": process.signs_with(), "from": "prepared", "to": "active"},
            {"kid": new[0], "from": None, "to": "prepared"},
        ],
    } == details


async def test_a_revoked_key_leaves_nothing_of_its_private_part(start, clean):
    """What is gone cannot leak a second time."""
    process = start()
    await process.keyring.load()
    bad = process.signs_with()
    await revoke(process, bad)
    row = execute(
        clean.owner_url,
        f"SELECT wrapped_key, wrapped_dek, reference FROM signing_key WHERE kid = '{bad}'",
    )

    assert [(b"", b"", None)] == [tuple(each) for each in row]


async def test_a_revoked_standby_is_replaced_and_the_active_one_signs_on(start, clean):
    """There is one standby, and it is not the bad one."""
    process = start()
    await process.keyring.load()
    active, (bad,) = process.signs_with(), kids(clean, "prepared")
    await revoke(process, bad)
    await process.keyring.refresh()

    assert active == process.signs_with()
    assert [bad] == kids(clean, "retired")
    assert bad not in process.published()
    assert 2 == len(process.published())


async def test_a_revoked_retiring_key_is_not_waited_for(start, clean):
    """It signed before; what is left of its tokens is refused."""
    process = start()
    await process.keyring.load()
    bad = process.signs_with()
    await process.rotator.rotate_forced("ES256")
    await process.keyring.refresh()
    active = process.signs_with()
    await revoke(process, bad)
    await process.keyring.refresh()

    assert (active, [bad]) == (process.signs_with(), kids(clean, "retired"))
    assert bad not in process.published()


async def test_revoking_twice_changes_nothing_more(start, clean):
    """The command can be repeated when its answer was lost."""
    process = start()
    await process.keyring.load()
    bad = process.signs_with()
    before = await revoke(process, bad), keys_of(clean)
    after = await revoke(process, bad), keys_of(clean)

    assert (True, False) == (before[0], after[0])
    assert before[1] == after[1]


async def test_two_that_revoke_and_rotate_at_once_all_come_through(start, clean):
    """An emergency does not lose to a rotation: it tries again until it is done."""
    processes = [start() for _ in range(3)]
    for process in processes:
        await process.keyring.load()
    bad = processes[0].signs_with()

    async def rotate(process: Process) -> None:
        for _ in range(3):
            try:
                await process.rotator.rotate_forced("ES256")
            except GenerationLost:
                await asyncio.sleep(0)

    outcomes = await asyncio.gather(
        revoke(processes[0], bad), revoke(processes[1], bad), rotate(processes[2])
    )

    assert True in outcomes
    assert "retired" == keys_of(clean)[bad]
    assert (1, 1) == (len(kids(clean, "active")), len(kids(clean, "prepared")))


async def test_without_the_audit_trail_no_key_is_revoked(start, clean):
    """What cannot be recorded does not take place, an emergency neither."""
    process = start()
    await process.keyring.load()
    bad, before = process.signs_with(), keys_of(clean)

    async def refuse(action: str, details: Any) -> None:
        raise TimeoutError

    object.__setattr__(process.rotator, "record", refuse)
    with pytest.raises(StoreUnavailable):
        await revoke(process, bad)

    assert before == keys_of(clean)


class Away:
    """A provider that can be reached or not, around one that can."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self.raises: Exception | None = None

    @property
    def executor(self) -> Any:
        return self._provider.executor

    def keeps(self, custody: Any) -> bool:
        return self._provider.keeps(custody)

    async def _ask(self, name: str, *arguments: Any) -> Any:
        if self.raises is not None:
            raise self.raises
        return await getattr(self._provider, name)(*arguments)

    async def make(self, *arguments: Any) -> Any:
        return await self._ask("make", *arguments)

    async def open(self, *arguments: Any) -> Any:
        return await self._ask("open", *arguments)

    async def destroy(self, *arguments: Any) -> None:
        await self._ask("destroy", *arguments)


@pytest.mark.row("JK-03")
async def test_a_provider_that_is_away_keeps_no_key_in_force(start, clean, make_provider):
    """The bad one goes now; what a new standby needs is made when the provider is back."""
    away = Away(make_provider())
    process = start(provider=away)
    await process.keyring.load()
    bad, (standby,) = process.signs_with(), kids(clean, "prepared")
    away.raises = ProviderUnavailable("unplugged")
    await revoke(process, bad)
    await process.keyring.refresh()
    without = process.signs_with(), process.published(), kids(clean, "prepared")
    away.raises = None
    await process.keyring.load()

    # What was open stays open: nothing that is not away is taken away.
    assert (standby, [standby], []) == without
    assert 1 == len(kids(clean, "prepared"))


async def test_a_standby_that_does_not_open_does_not_sign(start, clean, make_provider):
    """Better a key that nobody knows yet than one that nobody can use."""
    away = Away(make_provider())
    process = start(provider=away)
    await process.keyring.load()
    bad, (standby,) = process.signs_with(), kids(clean, "prepared")
    opened = away.open

    async def open_others(custody: Any, kid: str, algorithm: str) -> Any:
        if kid == standby:
            raise Unopenable("it was deleted")
        return await opened(custody, kid, algorithm)

    away.open = open_others
    with pytest.raises(Unopenable):
        await process.rotator.rotate_forced("ES256")
    assert bad == process.signs_with()
    await revoke(process, bad)
    await process.keyring.refresh()

    assert {bad: "retired", standby: "retired"}.items() <= keys_of(clean).items()
    assert process.signs_with() not in {bad, standby}
    assert (1, 1) == (len(kids(clean, "active")), len(kids(clean, "prepared")))


@pytest.mark.row("JK-02")
async def test_one_life_of_keys_for_every_provider(start, clean, make_provider):
    """Made, found by another process, rotated, retired and destroyed, wherever they are."""
    first, second = start(provider=make_provider()), start(provider=make_provider())
    await first.keyring.load()
    await second.keyring.load()
    signers = [second.signs_with()]
    for _ in range(2):
        await first.rotator.rotate_forced("ES256")
        await second.keyring.refresh()
        signers.append(second.signs_with())
    execute(clean.owner_url, "UPDATE signing_key SET retiring_at = retiring_at - interval '1 hour'")
    gone = [row for row in await first.store.published() if row.record.kid in signers[:2]]
    await first.rotator.rotate_due("ES256")

    assert 3 == len(set(signers))
    assert set(signers[:2]) == set(kids(clean, "retired"))
    for row in gone:
        if first.providers.executor is not None:  # the row of a sealed one is empty by now
            with pytest.raises(Unopenable):
                await first.providers.open(row.custody, row.record.kid, "ES256")


async def test_a_token_that_is_away_at_the_start_is_waited_for(start, make_token_keys):
    """Nothing is published that was not seen to be there, and it is read again until it is."""
    first = start(provider=make_token_keys())
    await first.keyring.load()
    away = Away(make_token_keys())
    away.raises = ProviderUnavailable("unplugged")
    late = start(provider=away)
    await late.keyring.refresh()
    before = late.published()
    with pytest.raises(MintRejected):
        late.signs_with()
    away.raises = None
    await late.keyring.refresh()

    assert ([], first.signs_with()) == (before, late.signs_with())


async def test_another_token_than_the_keys_are_on_is_a_configuration_error(
    start, make_token_keys, softhsm_home
):
    """At start, by its name, instead of new keys beside the old ones."""
    from pathlib import Path

    from broker.keys.pkcs11 import TokenKeys
    from broker.keys.token import Token, TokenAddress
    from tests.softhsm import make_token

    await start(provider=make_token_keys()).keyring.load()
    settings = make_token(softhsm_home)
    address = TokenAddress(
        Path(settings["module"]), settings["token_label"], Path(settings["pin_file"])
    )
    token = Token(address)
    with pytest.raises(ConfigurationError, match=r"^keys\.pkcs11: "):
        await start(provider=TokenKeys(token)).keyring.load()
    token.close()
