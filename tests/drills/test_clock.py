"""Drill 8: the clocks of two replicas are five minutes off, one ahead and one behind."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.drills.conftest import Start
from tests.drills.load import PATIENT, assert_whole, exchange, fetch_jwks, rotate_keys
from tests.fixtures.postgres import OneDatabase, execute
from tests.jwts import subject_jwt, unverified_claims
from tests.server import ROOT, BrokerProcess, eventually, write_configuration
from tests.wire import basic, exchange_form

pytestmark = pytest.mark.drill

OFF = 300  # seconds
LEEWAY = 30


def shifted_by(seconds: int) -> dict[str, str]:
    """The environment of a process whose clock is off."""
    return {"PYTHONPATH": str(Path(__file__).parent / "shifted"), "SHIFT": str(seconds)}


@pytest.fixture
async def replicas(fresh: OneDatabase, start: Start) -> dict[str, BrokerProcess]:
    """Three, by what their clocks are."""
    clocks = {"right": 0, "ahead": OFF, "behind": -OFF}
    started = {
        name: start(fresh.app_url, environ=shifted_by(seconds), **PATIENT)
        for name, seconds in clocks.items()
    }
    for process in started.values():
        await asyncio.to_thread(process.wait_ready)
    return started


@pytest.mark.row("DRILL-8", "OP-06", "INV-2")
async def test_a_clock_that_is_off_lengthens_no_life_and_leaves_one_key_active(
    fresh: OneDatabase, replicas: dict[str, BrokerProcess]
) -> None:
    """Ours: what a wrong clock mints is good for less, or not yet; keys go by the database."""
    now = int(time.time())
    statuses, tokens = {}, {}
    async with httpx.AsyncClient(timeout=20) as client:

        async def present(name: str, token: str, client_id: str = "svc-a") -> int:
            form = exchange_form(
                subject_token=token, audience="svc-b" if client_id == "svc-a" else "svc-c"
            )
            answer = await exchange(client, replicas[name].url, form, basic(client_id))
            tokens[name] = answer.body.get("access_token", "")
            return answer.status

        subject = {"iat": now - OFF, "exp": now + 2 * OFF}
        for name in replicas:
            statuses[name] = await present(name, subject_jwt(**subject))
        minted = {name: (token, unverified_claims(token)) for name, token in tokens.items()}
        # Whatever its clock says, none of them gives more than was presented.
        assert {"right": 200, "ahead": 200, "behind": 200} == statuses
        assert all(claims["exp"] <= now + 2 * OFF for _, claims in minted.values())
        # A token from the future is refused where the time is right, and where it is behind.
        for judge in ("right", "behind"):
            assert 400 == await present(judge, minted["ahead"][0], "svc-b")
            assert 400 == await present(judge, subject_jwt(nbf=now + 2 * LEEWAY))
        # One that was minted by a slow clock has less of its life left, and no more.
        assert minted["behind"][1]["exp"] <= time.time()
        assert 400 == await present("right", minted["behind"][0], "svc-b")
        assert 400 == await present("ahead", subject_jwt(exp=now + OFF - LEEWAY))
        # The twin: a good token of a good clock.
        assert 200 == await present("right", minted["right"][0], "svc-b")

    await rotate_keys(replicas["ahead"])
    keys = execute(
        fresh.superuser_url,
        "SELECT algorithm, state, abs(extract(epoch FROM created_at - now())) AS off"
        " FROM signing_key WHERE state IN ('active', 'prepared')",
    )
    assert {(a, s) for a in ("ES256", "Ed25519", "RS256") for s in ("active", "prepared")} == {
        (key["algorithm"], key["state"]) for key in keys
    }
    assert 6 == len(keys)
    assert all(key["off"] < OFF / 2 for key in keys)

    async def agree() -> bool:
        return len({(await fetch_jwks(process)).content for process in replicas.values()}) == 1

    await eventually(agree)
    await assert_whole(fresh.auditor_url)


@pytest.mark.row("DRILL-8")
@pytest.mark.parametrize(
    ("seconds", "mark"),
    [
        pytest.param(0, "good", id="right"),
        pytest.param(OFF, "bad", id="ahead"),
        pytest.param(-OFF, "bad", id="behind"),
    ],
)
def test_a_clock_that_is_off_is_an_alarm(
    fresh: OneDatabase, tmp_path: Path, seconds: int, mark: str
) -> None:
    """Ours: ``broker doctor`` compares it with the database's, and exits accordingly."""
    config = write_configuration(tmp_path, fresh.app_url)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "broker.cli", "doctor", "--config", str(config)),
            *("--format", "json"),
        ],
        check=False,
        cwd=ROOT,
        env=os.environ | shifted_by(seconds),
        capture_output=True,
        text=True,
    )
    findings = json.loads(done.stdout)["findings"]
    (clock,) = [each for each in findings if each["subject"] == "clock of the database"]

    assert mark == clock["mark"], clock


def test_nothing_else_of_a_serving_broker_reads_the_wall_clock() -> None:
    """Ours: so shifting these shifts all of it."""
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("broker/**/*.py")
        if re.search(r"datetime\.now\(|\btime\.time\(|utcnow\(", path.read_text())
    }
    # What only commands run.
    commands = (
        *("broker/cli/", "broker/demo/", "broker/explorer/", "broker/workbench/"),
        *("broker/audit/retain", "broker/audit/verify/"),
    )
    elsewhere = {path for path in readers if not path.startswith(commands)}

    assert {
        "broker/app/broker.py",
        "broker/app/proxying.py",  # how long a kept token lives, which the monotonic clock bounds
        "broker/limits/shared.py",  # when a client whose day is over may come again
        "broker/audit/access.py",  # the id of a look; when it was is the database's to say
        "broker/audit/publish/s3.py",  # for how long the store of an object is told to keep it
        "broker/audit/stream/otlp.py",  # when a receiver wants to be asked again
        "broker/db/examine.py",
    } == elsewhere
