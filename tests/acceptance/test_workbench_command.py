"""``broker policy ui`` as somebody types it, with decisions to replay."""

import asyncio
import html
import os
import re
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import orjson
import pytest

from broker.db.embedded import EmbeddedPostgres
from broker.workbench.candidate import open_candidate
from broker.workbench.replay.replayer import CEILING
from tests.audit import now
from tests.builders import client, exchange, target, verified_token
from tests.configuration import write_keys
from tests.fixtures.postgres import OneDatabase, execute, make_database
from tests.replaying import record, write_decided
from tests.workbenching import GRANTS, parties, write_policy

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("opa")
SCOPES = frozenset({"ledger.append"})


def start(*arguments: object) -> subprocess.Popen[str]:
    """The command, as it runs."""
    words = [sys.executable, "-m", "broker.cli", "policy", "ui", "--no-browser"]
    return subprocess.Popen(
        [*words, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def write_decisions(path: Path) -> Path:
    """Three records of one request, as an opened export has them."""
    asked = exchange(
        client=client("inventory"),
        subject=verified_token(scopes=SCOPES),
        targets=(target("ledger", scopes=SCOPES),),
        scopes=("ledger.append",),
    )
    path.write_bytes(b"".join(orjson.dumps(record(asked)) + b"\n" for _ in range(3)))
    return path


def test_a_change_is_tried_on_what_was_decided_and_nothing_is_written(tmp_path: Path) -> None:
    """From the printed link to the patch; Ctrl-C is a good end, and the folder is as it was."""
    grants = write_policy(tmp_path) / GRANTS
    before = grants.read_text()
    parties(tmp_path)
    decisions = write_decisions(tmp_path / "decided.jsonl")
    process = start(
        *(tmp_path / "policies", "--config", tmp_path / "broker.yaml", "--from", decisions)
    )
    assert process.stdout is not None
    try:
        process.stdout.readline()
        link = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/open\?link=[A-Za-z0-9_-]{43}", link)
        here = link.partition("/open")[0]
        with httpx.Client(base_url=here, timeout=60, trust_env=False) as browser:
            browser.get(link)
            page = browser.get("/")
            (was,) = re.findall(r'name="was" value="(\w+)"', page.text)
            wider = before.replace("max_lifetime: 1m", "max_lifetime: 4m")
            form = {"file": GRANTS, "was": was, "text": wider}
            saved = browser.post("/edit", data=form, headers={"origin": here})
            page = browser.get(saved.headers["location"])
            said = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.text)).split())
            patch = browser.get("/change.patch").text
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()

    assert (0, "") == (process.returncode, complaints)
    assert "3 decisions made again: 3 change, 0 give nothing any more, 3 widen." in said
    assert "+ longer life inventory ledger 60 s → 240 s 3" in said
    assert "+    max_lifetime: 4m" in patch
    assert grants.read_text() == before


async def test_the_trail_is_read_once_and_that_is_on_record(
    postgres: EmbeddedPostgres, template: OneDatabase, tmp_path: Path
) -> None:
    """With the audit key of the operator, at the start."""
    # Of its own: elsewhere the trail has what other tests have asked.
    clean = make_database(postgres, template.name)
    policies = write_policy(tmp_path)
    write_keys(tmp_path)
    at = now()
    token = verified_token(
        scopes=SCOPES, issued_at=at - timedelta(minutes=1), expires_at=at + timedelta(hours=1)
    )
    asked = exchange(
        at=at,
        client=client("inventory"),
        subject=token,
        targets=(target("ledger", scopes=SCOPES),),
        scopes=("ledger.append",),
    )
    with open_candidate(policies, ceiling=CEILING) as policy:
        await write_decided(clean.app_url, policy, asked, asked)
    place = ("--database-url", clean.auditor_url, "--key-file", tmp_path / "audit.key")
    process = start(policies, "--since", "1d", *place)
    assert process.stdout is not None
    try:
        await asyncio.to_thread(process.stdout.readline)
        link = (await asyncio.to_thread(process.stdout.readline)).strip()
        here = link.partition("/open")[0]
        async with httpx.AsyncClient(base_url=here, timeout=60, trust_env=False) as browser:
            await browser.get(link)
            page = await browser.get("/")
    finally:
        process.kill()
        process.communicate()

    assert "2 decisions made again: 0 change" in page.text
    assert "nobody said who there is: start it with --config" in page.text
    looked = execute(clean.superuser_url, "SELECT action FROM audit_access")
    assert "audit.replay" in {row["action"] for row in looked}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["nowhere"], "nowhere is no policy folder", id="no-folder"),
        pytest.param(["docs"], "holds no policy", id="no-policy"),
        pytest.param(["policies", "--from", "nowhere"], "nowhere cannot be read", id="no-file"),
        pytest.param(["policies", "--port", "70000"], "--port", id="no-port"),
        pytest.param(["policies", "--from", "a", "--since", "1d"], "leave it out", id="both"),
    ],
)
def test_what_cannot_be_opened_is_told(arguments: list[str], said: str) -> None:
    """In a line, with exit code 2."""
    process = start(*arguments)
    _, complaints = process.communicate(timeout=60)

    assert process.returncode == 2
    assert said in complaints
