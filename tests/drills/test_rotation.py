"""Drills 9 and 10: keys rotate under load, and one of them is withdrawn under load."""

import asyncio
import base64
import time
from pathlib import Path

import httpx
import pytest

from tests.clients.libraries import NOT_RUN
from tests.drills.conftest import Start
from tests.drills.load import PATIENT, exchange, load, run_broker
from tests.drills.rotation import Pace, drill, has_jose, judge
from tests.fixtures.postgres import OneDatabase
from tests.jwts import unverified_header
from tests.server import KEK, BrokerProcess, eventually
from tests.wire import basic, exchange_form

pytestmark = pytest.mark.drill

REFUSED_WITHIN = 5.0  # seconds; promises §3


@pytest.mark.row("DRILL-9", "JK-02", "OP-05")
@pytest.mark.timeout(300)
async def test_no_verifier_that_caches_refuses_a_token_while_keys_rotate(
    fresh: OneDatabase, tmp_path: Path
) -> None:
    """Three processes sign, each is stopped where it stands now and then; ``make drill-rotation``
    does a hundred rotations of it.
    """  # noqa: D205 — one sentence
    kek = tmp_path / "kek"
    kek.write_bytes(base64.b64encode(KEK))
    kek.chmod(0o600)
    outcome = await drill(fresh.app_url, kek, rotations=5, pace=Pace(cache=0.5, lag=1.5))

    assert [] == outcome.failures
    assert [] == await judge(fresh.app_url, fresh.auditor_url)
    assert 5 <= len(outcome.signers)
    assert 2 <= outcome.pauses
    # The cache was used, so there was something that could have failed.
    assert outcome.fetches["pyjwt"] < outcome.verified["pyjwt"]
    if not has_jose():
        pytest.skip(NOT_RUN.format("jose, the other verifier,"))
    assert outcome.verified["pyjwt"] == outcome.verified["jose"]


@pytest.mark.row("DRILL-10", "JK-03", "OP-05", "INV-10")
@pytest.mark.timeout(300)
async def test_a_key_is_withdrawn_from_every_process_under_load(
    fresh: OneDatabase, start: Start
) -> None:
    """One command: within 5 s nobody takes what it signed or publishes it, and nobody waited."""
    replicas = [start(fresh.app_url, **PATIENT) for _ in range(3)]
    for process in replicas:
        await asyncio.to_thread(process.wait_ready)

    async with httpx.AsyncClient(timeout=20) as client:
        issued = await exchange(client, replicas[0].url, exchange_form(), basic())
        token = issued.body["access_token"]
        bad = unverified_header(token)["kid"]
        onward = exchange_form(subject_token=token, audience="svc-c")

        async def taken(process: BrokerProcess) -> bool:
            answer = await exchange(client, process.url, onward, basic("svc-b"))
            return answer.status == 200

        async def published(process: BrokerProcess) -> set[str]:
            document = (await client.get(f"{process.url}/.well-known/jwks.json")).json()
            return {key["kid"] for key in document["keys"]}

        async def active(process: BrokerProcess) -> str:
            answer = await exchange(client, process.url, exchange_form(), basic())
            return str(unverified_header(answer.body["access_token"])["kid"])

        assert all([await taken(process) for process in replicas])
        before = await published(replicas[0])
        async with load(lambda: replicas[0].url, connections=2) as seen:
            await seen.more(200, 10)
            command = ("keys", "revoke", bad, "--reason", "drill 10")
            config = ("--config", str(replicas[0].config))
            code, output = await run_broker(*command, *config, json=True)
            revoked = time.monotonic()
            assert 0 == code, output

            async def withdrawn(process: BrokerProcess) -> float:
                async def gone() -> bool:
                    return (
                        not await taken(process)
                        and bad not in await published(process)
                        and bad != await active(process)
                    )

                await eventually(gone, seconds=60)
                return time.monotonic() - revoked

            took = await asyncio.gather(*map(withdrawn, replicas))
            await seen.more(200, 10)

        assert max(took) < REFUSED_WITHIN, took
        # The standby was known to everybody: nothing that is new to verifiers signs.
        (signer,) = {await active(process) for process in replicas}
        assert signer in before - {bad}
        assert {200} == set(seen.statuses)
        assert [] == seen.broken
    ours = {key["kid"]: key["state"] for key in output if key["algorithm"] == "ES256"}
    assert [signer] == [kid for kid, state in ours.items() if state == "active"]
    assert bad not in ours
