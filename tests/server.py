"""A real broker: ``broker serve`` as a process, with a configuration in a folder of its own."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import yaml

from broker.audit.reader import RecordReader
from broker.db.engine import Database
from tests.audit import VAULT
from tests.configuration import AUDIT_KEYS, KEY_FILES, document, grants, write_keys
from tests.wire import Form, basic, exchange_form

ROOT = Path(__file__).parents[1]
FORM = "application/x-www-form-urlencoded"
_TLS = ssl.create_default_context()  # never used, and costly to make for each test
_READY_WITHIN = 60  # seconds: policy is compiled in it
KEK = KEY_FILES["kek"]


def write_configuration(folder: Path, database_url: str, **overrides: Any) -> Path:
    """Write policies, key-encryption key and ``broker.yaml`` into ``folder``; return the last."""
    policies = folder / "policies"
    if not policies.exists():
        shutil.copytree(ROOT / "policies", policies)
        (policies / "broker" / "grants" / "data.yaml").write_text(yaml.safe_dump(grants()))
        write_keys(folder)
    config = folder / "broker.yaml"
    place = {
        "listen": {"host": "127.0.0.1", "port": 0},
        "admin": {"host": "127.0.0.1", "port": 0},
        "database": {"url": database_url},
        "keys": {"kek_file": "kek"},
        "policy": {"engine": "wasm", "path": "policies"},
        # Each test has a source of its own, so that none is slowed down by another's mistakes.
        "trusted_proxies": ["127.0.0.1"],
    }
    whole = document(**place | overrides)
    whole["audit"] = AUDIT_KEYS | whole["audit"]
    config.write_text(yaml.safe_dump(whole))
    return config


class BrokerProcess:
    """``broker serve`` on two free ports, its logs in a file."""

    def __init__(
        self, config: Path, *arguments: str, environ: dict[str, str] | None = None
    ) -> None:
        self.config = config
        self.log = config.parent / f"broker-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "broker.cli", "serve", "--config", str(config), *arguments],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=os.environ | (environ or {}),
                cwd=ROOT,
            )
        self.port = self.admin_port = 0

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        """Where operators reach it."""
        return f"http://127.0.0.1:{self.admin_port}"

    def logged(self) -> list[dict[str, Any]]:
        """Every log line so far; what is not JSON, as its text."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) if line[:1] == "{" else {"message": line} for line in lines]

    def wait_serving(self) -> None:
        """Return once both ports are known."""
        deadline = time.monotonic() + _READY_WITHIN
        while time.monotonic() < deadline:
            for line in self.logged():
                if line["message"] == "serving":
                    self.port, self.admin_port = line["port"], line["admin_port"]
                    return
            if self.process.poll() is not None:
                raise AssertionError(f"the broker ended:\n{self.log.read_text()}")
            time.sleep(0.02)
        raise AssertionError(f"the broker does not serve:\n{self.log.read_text()}")

    def wait_ready(self) -> None:
        """Return once it says that it is ready."""
        self.wait_serving()
        deadline = time.monotonic() + _READY_WITHIN
        answer = ""
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                response = httpx.get(f"{self.admin_url}/health/ready", timeout=5)
                answer = response.text
                if response.status_code == 200:
                    return
            time.sleep(0.02)
        raise AssertionError(f"the broker is not ready: {answer}\n{self.log.read_text()}")

    def hang_up(self) -> None:
        """Tell it to reload its configuration."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> int:
        """Tell it to stop; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


class BrokerClient:
    """What a test says to a broker, and what it finds recorded of it."""

    def __init__(
        self,
        process: BrokerProcess,
        client: httpx.AsyncClient,
        rows: asyncpg.Connection,
        since: UUID,
        reader: RecordReader,
    ) -> None:
        self.process = process
        self._reader = reader
        self._client = client
        self._rows = rows
        self._since = since
        self._source = f"192.0.2.{os.urandom(1)[0]}"

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send any request to the public listener; ``data`` may be a list of pairs."""
        headers = {"x-forwarded-for": self._source} | dict(options.pop("headers", None) or {})
        data = options.pop("data", None)
        if data is not None:
            options["content"] = urllib.parse.urlencode(data)
            headers = {"content-type": FORM} | headers
        return await self._client.request(
            method, f"{self.process.url}{path}", headers=headers, **options
        )

    async def exchange(
        self,
        form: Form | None = None,
        *,
        auth: tuple[str, str] | None = basic(),
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Ask for an exchange; without arguments, a good one."""
        data = exchange_form() if form is None else form
        return await self.request("POST", "/token", data=data, auth=auth, headers=headers)

    async def introspect(
        self,
        token: str,
        *,
        auth: tuple[str, str] | None = basic("svc-b"),
        headers: dict[str, str] | None = None,
        **parameters: str,
    ) -> httpx.Response:
        """Ask what a token says; as the resource server ``svc-b``."""
        data = [("token", token), *parameters.items()]
        return await self.request("POST", "/introspect", data=data, auth=auth, headers=headers)

    async def revoke(
        self,
        token: str,
        *,
        auth: tuple[str, str] | None = basic(),
        headers: dict[str, str] | None = None,
        **parameters: str,
    ) -> httpx.Response:
        """Give a token back; as the client ``svc-a``."""
        data = [("token", token), *parameters.items()]
        return await self.request("POST", "/revoke", data=data, auth=auth, headers=headers)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        """Send a GET to the public listener."""
        return await self.request("GET", path, **options)

    async def admin(self, path: str, **options: Any) -> httpx.Response:
        """Send a GET to the admin listener."""
        return await self._client.get(f"{self.process.admin_url}{path}", **options)

    async def rows(self, kind: str = "exchange") -> list[dict[str, Any]]:
        """The audit rows of a kind since the test began, oldest first."""
        found = await self._rows.fetch(
            "SELECT * FROM audit_event WHERE id > $1 AND kind = $2 ORDER BY at, seq",
            self._since,
            kind,
        )
        return [dict(row) for row in found]

    async def records(self, kind: str = "exchange") -> list[dict[str, Any]]:
        """What the rows' records say, in plain."""
        records = [json.loads(row["record"]) for row in await self.rows(kind)]
        return await self._reader.open_all(records)

    async def audited(self, kind: str = "exchange") -> list[str]:
        """What became of each request: ``issued``, or the reason of the refusal."""
        return [row["reason"] or row["outcome"] for row in await self.rows(kind)]


@contextlib.asynccontextmanager
async def talk_to(process: BrokerProcess, auditor_url: str) -> Any:
    """Give a client of a broker that writes to the database at ``auditor_url``.

    One broker writes there at a time, so its ``seq`` orders the rows of one instant.
    """
    rows = await asyncpg.connect(auditor_url)
    database = Database(auditor_url)
    try:
        since = await rows.fetchval("SELECT id FROM audit_event ORDER BY id DESC LIMIT 1")
        async with httpx.AsyncClient(timeout=10, verify=_TLS) as client:
            yield BrokerClient(process, client, rows, since, RecordReader(database, VAULT))
    finally:
        await rows.close()
        await database.aclose()


async def eventually(condition: Any, *, seconds: float = 20.0) -> None:
    """Return once the asynchronous ``condition`` holds; fail if it does not in time."""
    async with asyncio.timeout(seconds):
        # What is waited for is another process, which sets no event of ours.
        while not await condition():  # noqa: ASYNC110 — see above
            await asyncio.sleep(0.02)
