"""Drills 9 and 10: keys rotate under load, and one of them is withdrawn under load."""

import asyncio
import base64
from pathlib import Path

import pytest

from tests.clients.libraries import NOT_RUN
from tests.drills.conftest import Start
from tests.drills.emergency import withdraw
from tests.drills.load import PATIENT
from tests.drills.rotation import Pace, drill, has_jose, judge
from tests.fixtures.postgres import OneDatabase
from tests.server import KEK

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

    seen = await withdraw(replicas)

    assert max(seen.refused) < REFUSED_WITHIN, seen.refused
    # The standby was known to everybody: nothing that is new to verifiers signs.
    (signer,) = seen.signers
    assert signer in seen.known - {seen.bad}
    assert [signer] == [kid for kid, state in seen.states.items() if state == "active"]
    assert seen.bad not in seen.states
    assert {200} == set(seen.statuses)
    assert [] == seen.broken
