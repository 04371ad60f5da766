"""SIGHUP: another configuration is in force whole, or not at all, and no request notices."""

import asyncio
import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from broker.cli.audit import app
from broker.db.embedded import EmbeddedPostgres
from tests.jwts import IDP, OTHER, subject_jwt, unverified_claims
from tests.server import (
    BrokerClient,
    BrokerProcess,
    eventually,
    talk_to,
    write_configuration,
)
from tests.wire import assert_issued, assert_refused, basic, exchange_form


class Reloaded:
    """A broker of one's own, whose configuration the test rewrites."""

    def __init__(self, client: BrokerClient, config: Path) -> None:
        self.client = client
        self.config = config
        self.document: dict[str, Any] = yaml.safe_load(config.read_text())
        self._rounds = 0

    async def reload(self, document: dict[str, Any] | None = None, *, text: str = "") -> str:
        """Write a configuration, hang up, and return what the broker logged about it."""
        self.config.write_text(text or yaml.safe_dump(document or self.document))
        process = self.client.process
        said = ("configuration reloaded", "the configuration stays as it was")
        before = len([line for line in process.logged() if line["message"] in said])
        process.hang_up()

        async def answered() -> bool:
            return len([line for line in process.logged() if line["message"] in said]) > before

        await eventually(answered)
        last = [line for line in process.logged() if line["message"] in said][-1]
        return "" if last["message"] == said[0] else "\n".join(last["problems"])

    @property
    def policies(self) -> Path:
        """Where its policies are."""
        return self.config.parent / "policies" / "broker"


@pytest.fixture
async def reloaded(postgres: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[Reloaded]:
    """A broker that a test may reload."""
    config = write_configuration(tmp_path, postgres.app_url)
    process = BrokerProcess(config)
    try:
        process.wait_ready()
        async with talk_to(process, postgres.auditor_url) as client:
            yield Reloaded(client, config)
    finally:
        assert 0 == process.stop()


@pytest.mark.row("CA-D-01", "OP-08")
async def test_a_client_that_was_removed_is_unknown(reloaded: Reloaded) -> None:
    """RFC 6749 §5.2: its next request is invalid_client."""
    assert_issued(await reloaded.client.exchange())
    document = copy.deepcopy(reloaded.document)
    document["clients"] = [c for c in document["clients"] if c["id"] != "svc-a"]
    for issuer in document["issuers"]:
        issuer.pop("clients", None)

    assert "" == await reloaded.reload(document)
    assert_refused(await reloaded.client.exchange(), "invalid_client", 401)
    response = await reloaded.client.exchange(
        exchange_form(subject_token=subject_jwt(aud="svc-b"), audience="svc-a"), auth=basic("svc-b")
    )
    assert_issued(response)


@pytest.mark.row("CVE-2026-1486", "OP-08")
async def test_an_issuer_that_was_removed_is_unknown_also_for_what_descends_from_it(
    reloaded: Reloaded,
) -> None:
    """Ours: keys that are still in memory verify nothing any more, nor do tokens of ours help."""
    first = assert_issued(await reloaded.client.exchange())["access_token"]
    onward = exchange_form(subject_token=first, audience="svc-c")
    assert_issued(await reloaded.client.exchange(onward, auth=basic("svc-b")))
    document = copy.deepcopy(reloaded.document)
    document["issuers"] = [i for i in document["issuers"] if i["issuer"] != IDP]
    for client in document["clients"]:
        client.pop("known_as", None)

    assert "" == await reloaded.reload(document)
    assert_refused(await reloaded.client.exchange(), "invalid_request")
    assert_refused(await reloaded.client.exchange(onward, auth=basic("svc-b")), "invalid_request")
    other = exchange_form(subject_token=subject_jwt(iss=OTHER))
    assert_issued(await reloaded.client.exchange(other))
    assert ["subject_token.issuer_unknown"] * 2 == (await reloaded.client.audited())[2:4]


@pytest.mark.row("OP-08")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param({"max_targets": 0}, "max_targets", id="value-out-of-bounds"),
        pytest.param({"colour": "red"}, "colour", id="unknown-key"),
        pytest.param({"issuer": "https://elsewhere.test"}, "issuer", id="needs-a-restart"),
        pytest.param({"policy": {"path": "nowhere"}}, "policy", id="no-policy-there"),
    ],
)
async def test_an_invalid_configuration_changes_nothing(
    reloaded: Reloaded, change: dict[str, Any], named: str
) -> None:
    """Ours: the old one stays in force, and the log names the key."""
    said = await reloaded.reload(reloaded.document | change)

    assert named in said
    assert_issued(await reloaded.client.exchange())


@pytest.mark.row("OP-08")
async def test_what_is_no_yaml_changes_nothing(reloaded: Reloaded) -> None:
    """Ours: nor is a line of it repeated, for it may hold a secret."""
    said = await reloaded.reload(text="clients: [canary: }")

    assert "broker.yaml" in said
    assert "canary" not in said
    assert_issued(await reloaded.client.exchange())


@pytest.mark.row("OP-04", "DRILL-5")
async def test_a_broken_policy_leaves_the_old_one_in_force(reloaded: Reloaded) -> None:
    """Ours: it is named with its file, and the revision in the audit row does not change."""
    rule = reloaded.policies / "exchange" / "depth" / "depth.rego"
    good = rule.read_text()
    rule.write_text(good + "\nthis is not rego\n")
    said = await reloaded.reload()
    assert_issued(await reloaded.client.exchange())
    rule.write_text(good)

    assert "depth.rego" in said
    assert "" == await reloaded.reload()
    assert_issued(await reloaded.client.exchange())
    assert 1 == len({row["policy_revision"] for row in await reloaded.client.rows()})


@pytest.mark.row("OP-04", "OP-08")
async def test_a_changed_grant_is_in_force_and_on_record(reloaded: Reloaded) -> None:
    """Design §6: the audit row names the revision that decided."""
    assert_issued(await reloaded.client.exchange())
    data = reloaded.policies / "grants" / "data.yaml"
    grants = yaml.safe_load(data.read_text())
    del grants["svc-a"]["svc-b"]
    data.write_text(yaml.safe_dump(grants))

    assert "" == await reloaded.reload()
    assert_refused(await reloaded.client.exchange(), "invalid_target")
    rows = await reloaded.client.rows()
    assert ["issued", "policy.target_not_granted"] == [r["reason"] or r["outcome"] for r in rows]
    assert 2 == len({row["policy_revision"] for row in rows})


@pytest.mark.row("OP-08")
async def test_what_was_issued_before_a_reload_is_not_given_out_after_it(
    reloaded: Reloaded, postgres: EmbeddedPostgres
) -> None:
    """Also where nothing has changed; and where the grant says no more of reuse, never again."""
    form = exchange_form(subject_token=subject_jwt(aud="svc-reuse"))

    async def ask() -> str:
        answer = await reloaded.client.exchange(form, auth=basic("svc-reuse"))
        return str(assert_issued(answer)["access_token"])

    before = [await ask(), await ask()]
    assert "" == await reloaded.reload()
    after = [await ask(), await ask()]
    data = reloaded.policies / "grants" / "data.yaml"
    grants = yaml.safe_load(data.read_text())
    del grants["svc-reuse"]["svc-b"]["reuse"]
    data.write_text(yaml.safe_dump(grants))
    assert "" == await reloaded.reload()
    without = [await ask(), await ask()]

    assert [1, 1, 2] == [len(set(tokens)) for tokens in (before, after, without)]
    assert 4 == len({*before, *after, *without})
    command = ["query", "--database-url", postgres.auditor_url, "--action", "reuse"]
    said = await asyncio.to_thread(CliRunner().invoke, app, [*command, "--format", "jsonl"])
    again = [orjson.loads(line) for line in said.stdout.splitlines()]
    assert [unverified_claims(tokens[0])["jti"] for tokens in (after, before)] == [
        row["jti"] for row in again[:2]
    ]
    table = await asyncio.to_thread(CliRunner().invoke, app, command, env={"COLUMNS": "160"})
    assert "✓ issued again" in table.stdout


@pytest.mark.row("OP-08")
async def test_no_request_fails_while_configurations_change(reloaded: Reloaded) -> None:
    """Ours: a request in flight keeps the configuration that it began with."""
    stop = asyncio.Event()
    statuses: list[int] = []

    async def load() -> None:
        while not stop.is_set():
            statuses.append((await reloaded.client.exchange()).status_code)

    running = [asyncio.create_task(load()) for _ in range(4)]
    for depth in (7, 8, 7):
        assert "" == await reloaded.reload(reloaded.document | {"max_delegation_depth": depth})
    stop.set()
    await asyncio.gather(*running)

    assert {200} == set(statuses)
