"""A policy is rolled out while requests come: observed, canary, enforced, and back again."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from broker.cli.policy import app
from broker.db.embedded import EmbeddedPostgres
from broker.errors import ConfigurationError
from tests.fixtures.postgres import OneDatabase, one_more
from tests.server import BrokerClient, BrokerProcess, talk_to, write_configuration

WORKERS = 2
UNUSABLE = 2
BUSY = 3  # connections that ask all the time


@pytest.fixture(scope="module")
def ledger(postgres: EmbeddedPostgres, template: OneDatabase) -> Iterator[OneDatabase]:
    with one_more(postgres, template.name) as made:
        yield made


@pytest.fixture(scope="module")
def several(ledger: OneDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A broker of two processes, which is left with the policy of its configuration."""
    process = BrokerProcess(
        write_configuration(tmp_path_factory.mktemp("rolled"), ledger.app_url),
        *("--workers", str(WORKERS)),
    )
    try:
        process.wait_ready()
        yield process
    finally:
        code = process.stop()
    assert 0 == code, process.log.read_text()


@pytest.fixture
async def broker(several: BrokerProcess, ledger: OneDatabase) -> AsyncIterator[BrokerClient]:
    async with talk_to(several, ledger.auditor_url) as client:
        yield client


@pytest.fixture(scope="module")
def shorter(several: BrokerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A candidate that gives one minute where two are given."""
    folder = tmp_path_factory.mktemp("candidate") / "policies"
    shutil.copytree(several.config.parent / "policies", folder)
    data = folder / "broker" / "grants" / "data.yaml"
    grants = yaml.safe_load(data.read_text())
    grants["svc-a"]["svc-b"]["max_lifetime"] = "1m"
    data.write_text(yaml.safe_dump(grants))
    return folder


async def command(broker: BrokerClient, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a command of ``broker policy``; return its JSON, or what it says about an error."""
    words = [*arguments, "--config", str(broker.process.config), "--format", "json"]
    # In a thread, for the command has an event loop of its own.
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    said = result.stderr
    if isinstance(result.exception, ConfigurationError):
        assert code == UNUSABLE  # ``main`` prints it and says so
        return {"said": str(result.exception)}
    assert code == result.exit_code, result.output
    return json.loads(result.stdout) if code == 0 else {"said": said}


async def asked_until(broker: BrokerClient, told: asyncio.Event) -> list[tuple[int, str]]:
    """Ask without a pause until told: status, and the lifetime that was given."""

    async def ask() -> list[tuple[int, str]]:
        seen = []
        async with httpx.AsyncClient(timeout=30) as other:
            one = BrokerClient(broker.process, other, broker._rows, broker._since, broker._reader)
            while not told.is_set():
                answer = await one.exchange()
                seen.append((answer.status_code, str(answer.json().get("expires_in"))))
                await asyncio.sleep(0.02)  # so that others who test here come to their turn
        return seen

    return [each for some in await asyncio.gather(*(ask() for _ in range(BUSY))) for each in some]


async def test_observe_canary_enforce_and_rollback_fail_no_request(broker, shorter):
    """The whole way under load: no request fails, and each row names what was in force."""
    told = asyncio.Event()
    load = asyncio.create_task(asked_until(broker, told))
    built = await command(broker, "activate", str(shorter), "--mode", "observe", "--author", "ann")
    revision = built["activation"]["revision"]
    before = (await broker.admin("/health/ready")).json()["policy"]
    steps = [
        ("activate", revision, "--mode", "canary", "--client", "svc-a", "--reason", "T-7"),
        ("activate", revision[:12], "--mode", "enforce"),
    ]
    for step in steps:
        await command(broker, *step)
    during = (await broker.admin("/health/ready")).json()["policy"]
    status = await command(broker, "status")
    await command(broker, "rollback", "--author", "bob", "--reason", "checkout is refused")
    told.set()
    seen = await load
    after = await broker.exchange()

    assert {200} == {code for code, _ in seen}
    # By either policy, and in the end by the one of the beginning.
    assert {True, False} == {int(life) <= 60 for _, life in seen}
    assert after.json()["expires_in"] > 60
    configured = before["revision"]
    assert (configured, revision) == (before["revision"], before["candidate"])
    assert (revision, None, "good") == (during["revision"], during["candidate"], during["state"])
    assert WORKERS == len(status["replicas"])
    assert (True, revision) == (status["agreed"], status["revision"])

    rows = await broker.rows()
    assert len(seen) + 1 == len(rows)
    assert {configured, revision} == {row["policy_revision"] for row in rows}
    actions = [row["action"] for row in await broker.rows("administration")]
    assert ["policy.activate"] * 3 == [each for each in actions if each == "policy.activate"]
    assert "policy.rollback" in actions


async def test_who_activated_what_is_in_the_trail(broker, shorter):
    """Revision, mode, author and reason: the author is personal, the rest is in plain."""
    made = await command(
        broker, "activate", str(shorter), "--mode", "observe", "--author", "ann", "--reason", "T-8"
    )
    await broker.exchange()
    await command(broker, "rollback", "--author", "bob", "--reason", "enough")

    records = {each["action"]: each for each in await broker.records("administration")}
    activated, back = records["policy.activate"], records["policy.rollback"]
    revision = made["activation"]["revision"]
    assert ("observe", revision, "T-8", "ann") == (
        activated["details"]["mode"],
        activated["details"]["policy_revision"],
        activated["details"]["reason"],
        activated["personal"]["by"],
    )
    assert (None, revision, "enough", "bob") == (
        back["details"]["policy_revision"],
        back["details"]["previous_candidate"],
        back["details"]["reason"],
        back["personal"]["by"],
    )


async def test_what_a_candidate_would_change_is_in_the_trail(broker, shorter):
    """By kind and client, with a request that can be looked up; and in the metrics."""
    await command(broker, "activate", str(shorter), "--mode", "observe")
    answers = [await broker.exchange() for _ in range(5)]
    await asyncio.sleep(0.5)  # for the candidate, which nobody waits for
    await command(broker, "rollback")
    async with asyncio.timeout(30):
        # A process says so once it has followed; the next second at the latest.
        while not (observed := await observations(broker)):  # noqa: ASYNC110 — see above
            await asyncio.sleep(0.1)

    assert {200} == {answer.status_code for answer in answers}
    assert 5 == sum(each["observed"] for each in observed)
    assert {"shorter_life"} == {kind for each in observed for kind in each["kinds"]}
    assert {0} == {each["widening"] for each in observed}
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert {sample["request_id"] for each in observed for sample in each["samples"]} <= ids
    text = (await broker.admin("/metrics")).text
    assert 'broker_policy_differences_total{worker="' in text
    assert 'mode="enforce"' in text


async def observations(broker: BrokerClient) -> list[dict[str, Any]]:
    """What was recorded of candidates."""
    records = await broker.records("administration")
    return [each["details"] for each in records if each["action"] == "policy.observed"]


async def test_what_cannot_be_activated_changes_nothing(broker, shorter, tmp_path):
    """Broken, unknown, without a share: told in a line, nothing is recorded, and all goes on."""
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(b"\x1f\x8b broken")
    refused = [
        await command(broker, "activate", *arguments, code=2)
        for arguments in (
            (str(broken),),
            ("nowhere.tar.gz",),
            ("abcdef123456",),
            (str(shorter), "--mode", "canary"),
            (str(shorter), "--percent", "5"),
            (str(shorter), "--mode", "canary", "--client", "nobody"),
        )
    ]
    refused.append(await command(broker, "rollback", code=2))

    for each, word in zip(
        refused,
        ["is no bundle", "no such bundle", "is kept", "for whom", "only for", "nobody", "in force"],
        strict=True,
    ):
        assert word in each["said"]
    assert 200 == (await broker.exchange()).status_code
    assert [] == [row["action"] for row in await broker.rows("administration")]


async def test_what_was_activated_decides_after_a_restart(
    postgres: EmbeddedPostgres, template: OneDatabase, shorter: Path, tmp_path: Path
):
    """Attack: restart the broker, and get the policy that was replaced."""
    lives = []
    with one_more(postgres, template.name) as database:
        config = write_configuration(tmp_path, database.app_url)
        for number in range(2):
            process = BrokerProcess(config)
            try:
                process.wait_ready()
                async with talk_to(process, database.auditor_url) as client:
                    if number == 0:
                        await command(client, "activate", str(shorter))
                    lives.append((await client.exchange()).json()["expires_in"])
            finally:
                assert 0 == process.stop()

    assert [True, True] == [life <= 60 for life in lives]
