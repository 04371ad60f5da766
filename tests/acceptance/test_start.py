"""``broker serve``: what it refuses to start with, what it waits for, and how it ends."""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from broker.db.embedded import EmbeddedPostgres
from broker.db.migrate import migrate
from tests.server import ROOT, BrokerProcess, eventually, talk_to, write_configuration
from tests.wire import assert_issued, assert_refused


def serve(config: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``broker serve`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "broker.cli", "serve", "--config", str(config)],
        capture_output=True,
        text=True,
        env=os.environ | environ,
        timeout=60,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.row("ATK-CFG-01")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param({"issuer": "http://broker.test"}, "issuer", id="http-off-loopback"),
        pytest.param({"clients": [{"id": "x", "auth": "none"}]}, "clients[0].auth", id="no-auth"),
        pytest.param({"keys": {"kek_file": "absent"}}, "keys.kek_file", id="no-kek"),
        pytest.param({"colour": "red"}, "colour", id="unknown-key"),
        pytest.param({"policy": {"path": "absent"}}, "policy", id="no-policy"),
    ],
)
def test_a_broken_configuration_does_not_start(
    postgres: EmbeddedPostgres, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    """Ours: exit code 2, and the key at fault on standard error."""
    result = serve(write_configuration(tmp_path, postgres.app_url, **change))

    assert 2 == result.returncode, result.stderr
    assert named in result.stderr
    assert "Traceback" not in result.stderr


def test_a_database_without_migrations_does_not_start(tmp_path: Path) -> None:
    """Ours: what would fail at the first exchange is said before, with what to run."""
    with EmbeddedPostgres(tmp_path / "pg") as empty:
        result = serve(write_configuration(tmp_path, empty.app_url))

    assert 2 == result.returncode, result.stderr
    assert "broker migrate" in result.stderr


def test_a_key_encryption_key_that_opens_nothing_does_not_start(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Ours: new keys under another kek would lock out every other replica."""
    process = BrokerProcess(write_configuration(tmp_path, postgres.app_url))
    process.wait_ready()
    process.stop()
    (tmp_path / "kek").write_text(base64.b64encode(b"o" * 32).decode())
    result = serve(process.config)

    assert 2 == result.returncode, result.stderr
    assert "keys.kek_file" in result.stderr


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        pytest.param("", 0o600, "is empty", id="empty"),
        pytest.param("c2hvcnQ=", 0o600, "holds 5 bytes, and 32 are needed", id="short"),
        pytest.param("k" * 44, 0o644, "everybody can read", id="world-readable"),
    ],
)
def test_a_key_encryption_key_that_is_none_does_not_start(
    postgres: EmbeddedPostgres, tmp_path: Path, content: str, mode: int, said: str
) -> None:
    """Ours: with a sentence that says what is wrong with the file, and what to do."""
    config = write_configuration(tmp_path, postgres.app_url)
    (tmp_path / "kek").write_text(content)
    (tmp_path / "kek").chmod(mode)
    result = serve(config)

    assert 2 == result.returncode, result.stderr
    assert said in " ".join(result.stderr.split())
    assert "keys.kek_file" in result.stderr
    assert "chmod 600" in result.stderr


def test_a_port_that_is_taken_is_named(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """Ours: no second broker answers half of the requests."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = {"host": "127.0.0.1", "port": taken.getsockname()[1]}
        result = serve(write_configuration(tmp_path, postgres.app_url, listen=listen))

    assert 2 == result.returncode, result.stderr
    assert "listen" in result.stderr


@pytest.mark.row("TX-2.2.2-06", "DRILL-2")
async def test_it_waits_for_a_database_that_is_down_and_then_serves(tmp_path: Path) -> None:
    """Design §9: alive, not ready, 503 to whoever asks; and ready by itself afterwards."""
    with EmbeddedPostgres(tmp_path / "pg") as own:
        migrate_and_stop(own)
        process = BrokerProcess(write_configuration(tmp_path, own.app_url))
        try:
            process.wait_serving()
            live = await ask(process, "/health/live")
            ready = await ask(process, "/health/ready")
            assert (200, 503) == (live.status_code, ready.status_code)
            assert ready.json()["checks"]["database"] is False
            own.start()
            await eventually(lambda: is_ready(process))
            async with talk_to(process, own.auditor_url) as client:
                assert_issued(await client.exchange())
        finally:
            assert 0 == process.stop()


async def is_ready(process: BrokerProcess) -> bool:
    """Whether it says so."""
    return (await ask(process, "/health/ready")).status_code == 200


async def ask(process: BrokerProcess, path: str, authorization: str = "") -> httpx.Response:
    """Send a GET to the admin listener."""
    headers = {"authorization": authorization} if authorization else {}
    async with httpx.AsyncClient() as client:
        return await client.get(f"{process.admin_url}{path}", headers=headers)


def migrate_and_stop(own: EmbeddedPostgres) -> None:
    """Leave a database that is ready to be used, and not running."""
    migrate(own.owner_url)
    own.stop()


async def test_it_serves_with_an_embedded_database_when_none_is_named(tmp_path: Path) -> None:
    """Design §5: for development; started, migrated and stopped with it."""
    config = write_configuration(tmp_path, "postgresql://unused")
    body = yaml.safe_load(config.read_text())
    body["database"] = {"data_dir": "data"}
    del body["keys"]
    config.write_text(yaml.safe_dump(body))
    process = BrokerProcess(config)
    try:
        process.wait_ready()
        beside = EmbeddedPostgres(tmp_path / "data")
        beside.start()
        async with talk_to(process, beside.auditor_url) as client:
            assert_issued(await client.exchange())
    finally:
        assert 0 == process.stop()
    assert not beside.running


def test_it_needs_no_file_when_the_environment_says_all(tmp_path: Path) -> None:
    """Design §5: what is missing is named as a key, whether or not there is a file."""
    result = subprocess.run(
        [sys.executable, "-m", "broker.cli", "serve"],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("BROKER_")},
        timeout=60,
        check=False,
        cwd=tmp_path,
    )

    assert 2 == result.returncode
    assert "issuer" in result.stderr


@pytest.mark.row("OP-09")
async def test_the_admin_api_needs_its_token(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    """Design §5: on loopback too."""
    (tmp_path / "admin").write_text("a" * 43)
    admin = {"host": "127.0.0.1", "port": 0, "token_file": "admin"}
    process = BrokerProcess(write_configuration(tmp_path, postgres.app_url, admin=admin))
    try:
        process.wait_ready()
        answers = [
            (await ask(process, "/admin/status", value)).status_code
            for value in ("", "Bearer x", "Bearer b", f"Basic {'a' * 43}", f"Bearer {'a' * 43}")
        ]
    finally:
        process.stop()

    assert [401, 401, 401, 401, 200] == answers


async def test_without_a_token_there_is_no_admin_api(broker: Any) -> None:
    """Design §5: nothing is open by default."""
    assert 404 == (await broker.admin("/admin/status")).status_code


@pytest.mark.row("OP-01")
async def test_a_stopped_process_finishes_what_is_under_way_and_closes_its_writer(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Promises: the trail says when a writer began and when it ended."""
    process = BrokerProcess(write_configuration(tmp_path, postgres.app_url))
    process.wait_ready()
    async with talk_to(process, postgres.auditor_url) as client:
        asked = [asyncio.create_task(client.exchange()) for _ in range(20)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        code = await asyncio.to_thread(process.stop)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        issued = [a for a in answers if isinstance(a, httpx.Response) and a.status_code == 200]
        assert 0 == code
        assert len(issued) <= len([r for r in await client.rows() if r["outcome"] == "issued"])


@pytest.mark.row("SB-4.13-01")
async def test_a_forwarded_address_is_believed_only_from_a_configured_proxy(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """RFC 9700 §4.13: otherwise the row shows the peer."""
    process = BrokerProcess(write_configuration(tmp_path, postgres.app_url, trusted_proxies=[]))
    try:
        process.wait_ready()
        async with talk_to(process, postgres.auditor_url) as client:
            headers = {"x-forwarded-for": "203.0.113.9", "client-cert": ":AAAA:"}
            assert_issued(await client.exchange(headers=headers))
            (record,) = await client.records()
    finally:
        process.stop()

    assert "203.0.113.9" not in json.dumps(record)
    assert "127.0.0.1" in json.dumps(record)


async def test_a_refused_client_gets_a_challenge(broker: Any) -> None:
    """RFC 9110 §11.6.1: each 401 has one."""
    response = await broker.exchange(auth=("nobody", "x"))
    assert_refused(response, "invalid_client", 401)

    assert response.headers["www-authenticate"].startswith("Basic realm=")
