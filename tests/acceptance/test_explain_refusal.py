"""A client is refused, reads an id, and the security team explains that very request."""

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from broker.cli.policy import app
from broker.policy.bundle import build_bundle, render_archive
from tests.fixtures.postgres import execute
from tests.jwts import subject_jwt
from tests.server import BrokerProcess, talk_to, write_configuration
from tests.wire import exchange_form


async def explain(*arguments: object) -> tuple[int, str, str]:
    """What the command does: its exit code and what it writes to either stream."""

    def run() -> Result:
        # In a thread, for it has a loop of its own.
        return CliRunner().invoke(app, ["explain", *map(str, arguments)])

    result = await asyncio.to_thread(run)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def edit_grant(policies: Path, **members: Any) -> None:
    """Change the grant of ``svc-a`` at ``svc-b``."""
    path = policies / "broker/grants/data.yaml"
    rows = yaml.safe_load(path.read_text())
    rows["svc-a"]["svc-b"] |= members
    path.write_text(yaml.safe_dump(rows))


@pytest.mark.usefixtures("opa")
async def test_a_refusal_is_explained_by_the_id_that_its_client_read(clean, tmp_path):
    """By the policy of then, and by a newer one, with each look on record."""
    page = "https://help.test/refused?request="
    config = write_configuration(tmp_path, clean.app_url, error_uri=page)
    then = tmp_path / "then"
    edit_grant(tmp_path / "policies", scopes=["orders.read"])
    shutil.copytree(tmp_path / "policies", then)
    place = ("--database-url", clean.auditor_url, "--key-file", tmp_path / "audit.key")
    process = BrokerProcess(config)
    try:
        process.wait_ready()
        async with talk_to(process, clean.auditor_url) as broker:
            form = exchange_form(
                scope="orders.write", subject_token=subject_jwt(scope="orders.read orders.write")
            )
            refused = await broker.exchange(form)
            expired = await broker.exchange(exchange_form(subject_token=subject_jwt(exp=1)))
            issued = await broker.exchange()
            rows = {row["request_id"]: row for row in await broker.rows()}
    finally:
        process.stop()
    ids = [each.headers["x-request-id"] for each in (refused, expired, issued)]
    assert refused.json()["error"] == "invalid_scope"
    # Also where a library shows no header.
    assert refused.json()["error_uri"] == page + ids[0]

    code, text, error = await explain(
        *("--request-id", ids[0], "--policies", then, "--why-not", "orders.write", *place)
    )

    flat = re.sub(r"[\s│├└─]+", " ", text)
    assert (code, error) == (0, "")
    assert flat.startswith("✗ refused policy.scope_not_granted")
    assert "on record: refused (policy.scope_not_granted), by this very policy" in flat
    assert "two evaluations agree" in flat
    assert "broker/exchange/scopes/scopes.rego:" in flat
    assert "add orders.write to scopes of the grant svc-a → svc-b" in flat

    # Since then the grant was widened: the old policy is found among several, by its revision.
    edit_grant(tmp_path / "policies", scopes=["orders.read", "orders.write"])
    now = tmp_path / "policies"
    asked = ("--request-id", ids[0], "--format", "json", *place)
    code, text, _ = await explain(*asked, "--policies", now)
    newer = json.loads(text)
    assert code == 0
    assert newer["recorded"]["same_policy"] is False
    assert newer["recorded"]["same_decision"] is False
    assert newer["explanation"]["verdict"]["allow"] is True
    code, text, _ = await explain(*asked, "--policies", now, "--policies", then)
    assert json.loads(text)["recorded"]["same_policy"] is True

    # Named by nobody, it is the one that a rollout has kept.
    archive = render_archive(build_bundle(then), "wasm")
    execute(
        clean.superuser_url,
        "INSERT INTO policy_bundle (revision, archive, at)"
        f" VALUES ('{build_bundle(then).revision}', '\\x{archive.hex()}', now())",
    )
    code, text, _ = await explain(*asked, "--policies", now)
    kept = json.loads(text)
    assert (code, kept["recorded"]["same_policy"]) == (0, True)
    assert kept["explanation"]["agreement"] == "same"

    # What can be sent to the client tells what it was answered, whatever would be answered now.
    code, text, _ = await explain(
        *("--request-id", ids[0], "--for-client", "--policies", now, *place)
    )
    assert f"Request {ids[0]}" in text
    assert "A requested scope is not granted to this client" in text

    # Refused before the policy was asked, and issued: by the id of the row, which is the jti.
    code, text, _ = await explain("--request-id", ids[1], "--policies", then, *place)
    assert (code, text.splitlines()[0]) == (0, "✗ refused  subject_token.expired")
    code, text, _ = await explain(rows[ids[2]]["id"], "--policies", then, *place)
    assert (code, text.splitlines()[0]) == (0, "✓ permitted  orders.read  for 300 s")

    # Without the audit key nothing is known of what was asked, and an unknown id is told.
    sealed = await explain("--request-id", ids[0], *place[:2], "--policies", then)
    assert (sealed[0], "--key-file" in sealed[2]) == (2, True)
    unknown = await explain(ids[0].replace(ids[0][-4:], "ffff"), "--policies", then, *place)
    assert (unknown[0], "no row" in unknown[2]) == (2, True)
    looks = execute(
        clean.superuser_url, "SELECT details FROM audit_access WHERE action = 'audit.explain'"
    )
    asked_for = [json.loads(row["details"]).get("request_id") for row in looks]
    assert asked_for.count(ids[0]) == 6
    assert {ids[1], str(rows[ids[2]]["id"])} <= set(asked_for)
