"""The audit key, as ``broker check`` and ``broker doctor`` see it: one file, for one purpose."""

import asyncio
import base64
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from broker.audit.outcome import build_administration
from broker.audit.vault import Vault
from broker.db.engine import Database
from tests.audit import new_id, now, running
from tests.configuration import KEY_FILES
from tests.diagnosis import configured, diagnose, findings
from tests.fixtures.postgres import OneDatabase
from tests.jwts import BROKER_ISSUER

OURS = KEY_FILES["audit.key"]


def found(result: Result, subject: str) -> dict[str, str]:
    """What was found about one subject, which is one thing."""
    (finding,) = [each for each in findings(result) if each["subject"] == subject]
    return finding


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        pytest.param("audit.key", "audit.key_file", id="of-persons"),
        pytest.param("checkpoint.key", "audit.checkpoints.key_file", id="of-checkpoints"),
    ],
)
def test_one_key_for_two_purposes_is_named(tmp_path: Path, name: str, setting: str):
    """Promises 3: one secret, one use. Whoever gets a file has what is sealed with it, no more."""

    def copy(_: dict[str, Any], folder: Path) -> None:
        (folder / name).write_text(base64.b64encode(KEY_FILES["kek"]).decode())

    result = diagnose("check", configured(tmp_path, copy))

    finding = found(result, setting)
    assert (1, "warning") == (result.exit_code, finding["mark"])
    assert "the same key as keys.kek_file" in finding["text"]


@pytest.mark.parametrize(
    ("secrets", "mark", "text"),
    [
        pytest.param([OURS], "good", "open with audit.key_file", id="one-key-everywhere"),
        pytest.param([b"o" * 32], "bad", "of this configuration", id="another-key-here"),
        pytest.param([OURS, b"o" * 32], "bad", "1 of its newest 4", id="another-key-elsewhere"),
    ],
)
async def test_an_audit_key_that_does_not_open_the_trail_is_named(
    tmp_path: Path, fresh: OneDatabase, secrets: list[bytes], mark: str, text: str
):
    """Each broker seals with its own file, and whoever reads has one."""
    database = Database(fresh.app_url)
    async with running(database) as writer:
        for secret in secrets:
            vault = Vault(secret, issuer=BROKER_ISSUER, monotonic=time.monotonic)
            row = {"id": new_id(), "at": now(), "by": "operator carol", "vault": vault}
            await writer.append(build_administration("test", {}, **row))
    await database.aclose()
    config = configured(tmp_path, database_url=fresh.app_url)

    finding = found(await asyncio.to_thread(diagnose, "doctor", config), "audit trail")

    assert (mark, True) == (finding["mark"], text in finding["text"]), finding
