"""A broker whose keys are on a PKCS#11 token: the same answers, and nothing to steal from it."""

import asyncio
import json
from pathlib import Path

import asyncpg
import httpx
import jwt as pyjwt
import pytest

from broker.keys.pkcs11 import TokenKeys
from broker.keys.provider import TokenObject
from broker.keys.token import Token, TokenAddress
from tests.drills.load import exchange, read_metrics, run_broker
from tests.fixtures.postgres import OneDatabase, execute
from tests.server import BrokerProcess, eventually, write_configuration
from tests.wire import basic, exchange_form

TARGETS = {"svc-b": "ES256", "svc-rsa": "RS256", "svc-ed": "Ed25519"}


class Site:
    """A broker that was configured once, and may be started again."""

    def __init__(self, folder: Path, database: OneDatabase, keys: dict) -> None:
        self.config = write_configuration(folder, database.app_url, keys=keys)
        self.running: list[BrokerProcess] = []

    async def start(self) -> BrokerProcess:
        self.running.append(BrokerProcess(self.config))
        await asyncio.to_thread(self.running[-1].wait_ready)
        return self.running[-1]


@pytest.fixture
def site(tmp_path, fresh, token_settings):
    """No key-encryption key is named: there is nothing to seal."""
    made = Site(tmp_path, fresh, {"provider": "pkcs11", "pkcs11": token_settings})
    yield made
    logs = [process.log.read_text() for process in made.running]
    codes = {process.stop() for process in made.running if process.process.poll() is None}
    assert {0} >= codes, logs
    assert not any("eyJ" in log or "123456" in log for log in logs)


async def verified(client: httpx.AsyncClient, url: str, target: str) -> str:
    """Have a token for the target; return the kid that signed it, after PyJWT has verified it."""
    answer = await exchange(client, url, exchange_form(audience=target), basic())
    assert 200 == answer.status, answer.body
    token = answer.body["access_token"]
    header = pyjwt.get_unverified_header(token)
    document = (await client.get(f"{url}/.well-known/jwks.json")).json()
    (jwk,) = (key for key in document["keys"] if key["kid"] == header["kid"])
    # PyJWT has the older name of it alone (tests/clients/test_eddsa.py).
    named = "EdDSA" if header["alg"] == "Ed25519" else header["alg"]
    key = pyjwt.PyJWK(jwk | {"alg": named})
    head, _, _ = token.rpartition(".")
    signature = pyjwt.utils.base64url_decode(token.rpartition(".")[2])
    assert key.Algorithm.verify(head.encode(), key.key, signature)
    assert header["alg"] == TARGETS[target]
    return str(header["kid"])


@pytest.mark.row("JK-01", "OP-03")
@pytest.mark.timeout(300)
async def test_tokens_are_signed_by_the_token_and_keys_outlive_the_process(site, fresh):
    """Each algorithm verifies; a restart and a rotation find the keys where they are."""
    broker = await site.start()
    async with httpx.AsyncClient(timeout=20) as client:
        signers = {target: await verified(client, broker.url, target) for target in TARGETS}
        assert 0 == await asyncio.to_thread(broker.stop)
        broker = await site.start()
        metrics = await read_metrics(broker)
        for name in TARGETS.values():
            assert 0 <= metrics[f"broker_keys_age_seconds{{algorithm={name}}}"] < 300
            assert 0 < metrics[f"broker_keys_next_rotation_seconds{{algorithm={name}}}"]
        assert 0 <= metrics["broker_keys_unseen_seconds"] < 60
        assert signers == {target: await verified(client, broker.url, target) for target in TARGETS}
        command = ("keys", "rotate", "--force", "--algorithm", "ES256")
        code, _ = await run_broker(*command, "--config", str(site.config), json=True)
        assert 0 == code

        async def rotated() -> bool:
            return signers["svc-b"] != await verified(client, broker.url, "svc-b")

        await eventually(rotated)
    rows = execute(
        fresh.owner_url, "SELECT provider, reference, wrapped_key, wrapped_dek FROM signing_key"
    )

    assert {"pkcs11"} == {row["provider"] for row in rows}
    assert {32} == {len(row["reference"]) for row in rows}
    assert {b""} == {row[name] for row in rows for name in ("wrapped_key", "wrapped_dek")}
    code, said = await run_broker("doctor", "--config", str(site.config), json=True)
    subjects = {each["subject"]: each["mark"] for each in said["findings"]}
    assert {"good"} == {subjects[f"signing keys {name}"] for name in TARGETS.values()}
    assert {"good"} == {subjects[name] for name in subjects if name.startswith("keys.")}


async def test_a_token_that_does_not_sign_is_a_503(site, fresh, token_settings):
    """No other key instead, and nothing of the token in the answer; on record as what it is."""
    broker = await site.start()
    address = TokenAddress(
        Path(token_settings["module"]),
        token_settings["token_label"],
        Path(token_settings["pin_file"]),
    )
    token = Token(address)
    keys = TokenKeys(token)
    stored = execute(fresh.owner_url, "SELECT reference FROM signing_key")
    async with httpx.AsyncClient(timeout=20) as client:
        before = await exchange(client, broker.url, exchange_form(), basic())
        for row in stored:
            await keys.destroy(TokenObject(row["reference"]))
        token.close()
        after = await exchange(client, broker.url, exchange_form(), basic())
    reasons = execute(
        fresh.auditor_url, "SELECT reason FROM audit_event WHERE kind = 'exchange' ORDER BY at, seq"
    )

    assert (200, 503) == (before.status, after.status)
    assert "temporarily_unavailable" == after.body["error"]
    assert int(after.retry_after) >= 1
    assert [None, "mint.key_unavailable"] == [row["reason"] for row in reasons]


@pytest.mark.timeout(300)
async def test_a_broker_moves_to_a_token_and_nobody_notices(tmp_path, fresh, token_settings):
    """Old keys open from their rows while they are published; new ones are made on the token."""
    config = write_configuration(tmp_path, fresh.app_url)
    before = BrokerProcess(config)
    await asyncio.to_thread(before.wait_ready)
    async with httpx.AsyncClient(timeout=20) as client:
        sealed = await verified(client, before.url, "svc-b")
        assert 0 == await asyncio.to_thread(before.stop)
        keys = {"provider": "pkcs11", "kek_file": "kek", "pkcs11": token_settings}
        config = write_configuration(tmp_path, fresh.app_url, keys=keys)
        after = BrokerProcess(config)
        try:
            await asyncio.to_thread(after.wait_ready)
            assert sealed == await verified(client, after.url, "svc-b")
            for _ in range(2):  # the standby was made before, and is sealed as well
                command = ("keys", "rotate", "--force", "--algorithm", "ES256")
                code, output = await run_broker(*command, "--config", str(config), json=True)
                assert 0 == code, output
            (kid,) = (
                key["kid"]
                for key in output
                if (key["algorithm"], key["state"]) == ("ES256", "active")
            )

            async def moved() -> bool:
                return kid == await verified(client, after.url, "svc-b")

            await eventually(moved)
        finally:
            assert 0 == await asyncio.to_thread(after.stop)
    connection = await asyncpg.connect(fresh.app_url)
    try:
        provider = await connection.fetchval("SELECT provider FROM signing_key WHERE kid = $1", kid)
    finally:
        await connection.close()

    assert "pkcs11" == provider


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"pin": "000000"}, "keys.pkcs11.pin_file: the token refuses", id="wrong-pin"),
        pytest.param({"pin": ""}, "keys.pkcs11.pin_file", id="empty-pin"),
        pytest.param({"mode": 0o644}, "everybody can read", id="open-pin"),
        pytest.param({"module": "/dev/null"}, "keys.pkcs11.module", id="no-library"),
    ],
)
async def test_what_will_not_mend_by_itself_refuses_to_start(
    tmp_path, fresh, token_settings, change, said
):
    """With a sentence that names the key, and without the PIN."""
    settings = token_settings | {k: v for k, v in change.items() if k == "module"}
    if "pin" in change or "mode" in change:
        pin = tmp_path / "pin"
        pin.write_text(change.get("pin", "123456"))
        pin.chmod(change.get("mode", 0o600))
        settings["pin_file"] = str(pin)
    keys = {"provider": "pkcs11", "pkcs11": settings}
    config = write_configuration(tmp_path, fresh.app_url, keys=keys)
    code, output = await run_broker("serve", "--config", str(config))

    assert 2 == code
    assert said in output if isinstance(output, str) else json.dumps(output)
    assert "000000" not in str(output)
