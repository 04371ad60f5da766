"""Make ``docs/images/``: the explorer over a demo that was made just now, light and dark.

Everything in the pictures happened: a broker, its database and an identity provider run here, and
clients exchange tokens for a while. Pictures have one size each; the typeface is Inter where this
machine has it.
"""

import asyncio
import base64
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import yaml
from playwright.async_api import Page

from broker.audit.seal_state import load_seal_state
from broker.cli.console import build_console
from broker.cli.progress import Progress
from broker.cli.show_explorer import build_demo_explorer
from broker.db.engine import Database
from broker.demo.stage import Stage, set_stage
from broker.explorer.links import row_link, search_link, transaction_link
from broker.oauth import GRANT_TYPE_TOKEN_EXCHANGE, TokenType
from scripts.camera import IMAGES, ROOT, chromium
from scripts.install_chromium import find_chromium
from scripts.policy_pictures import shoot_policy

LARGEST = 200_000  # bytes of a picture
_PEOPLE = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
_SECOND = timedelta(seconds=1)
_PATIENCE = 60  # seconds until all of it is sealed
_SECONDS = 45  # of traffic
_GRANT = """
ledger:
  inventory:
    scopes: []
    derives: {stock.read: [ledger.read]}
    default_scopes: []
    excess: refuse
    max_lifetime: 30s
    max_depth: 3
    mode: delegation
    purposes: []
    reentry: false
    issuers: ["*"]
"""


def main() -> int:
    """Return 0 once all pictures are there."""
    program = find_chromium()
    if program is None:
        print("no Chromium: run scripts/install_chromium.py", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_make(program, Path(folder)))


async def _make(program: Path, folder: Path) -> int:
    console = build_console()
    IMAGES.mkdir(exist_ok=True)
    policies = _write_policies(folder / "policies")
    async with set_stage(folder / "demo", policies, Progress(console)) as stage:
        console.print(f"exchanging tokens for {_SECONDS} s")
        began = datetime.now(UTC)
        row = await _Traffic(stage).run()
        window = {"since": f"{began:%F %T}", "until": f"{datetime.now(UTC) + _SECOND:%F %T}"}
        await _sealed(stage)
        report = await asyncio.to_thread(_replay, stage, folder)
        async with build_demo_explorer(stage) as explorer, chromium(program, folder) as browser:
            sizes = {}
            for scheme in ("light", "dark"):
                context = await browser.new_context(
                    viewport={"width": 1280, "height": 800}, color_scheme=scheme
                )
                page = await context.new_page()
                shot = await _shoot_report(page, report, scheme)
                sizes[shot.name] = shot.stat().st_size
                await page.goto(explorer.new_link())
                for made in await _shoot(page, f"http://{explorer.address}", row, window, scheme):
                    sizes[made.name] = made.stat().st_size
                await context.close()
            for made in await shoot_policy(browser, folder / "policy"):
                sizes[made.name] = made.stat().st_size
    for name, size in sizes.items():
        console.print(f"{name}  {size // 1000} kB")
    return 1 if max(sizes.values()) > LARGEST else 0


def _write_policies(folder: Path) -> Path:
    """Write the stock policy with one more grant, so that the tree has one more step."""
    shutil.copytree(ROOT / "policies", folder)
    grants = folder / "broker" / "grants" / "data.yaml"
    grants.write_text(grants.read_text() + _GRANT)
    return folder


def _replay(stage: Stage, folder: Path) -> Path:
    """Write the report of a replay of all this under a policy with three changes."""
    candidate, report = folder / "candidate", folder / "replay.html"
    shutil.copytree(stage.settings.policy.path, candidate)
    data = candidate / "broker" / "grants" / "data.yaml"
    grants = yaml.safe_load(data.read_text())
    grants["checkout"]["inventory"]["derives"] = {}
    grants["inventory"]["ledger"]["max_lifetime"] = "5m"
    grants["ledger"]["inventory"]["scopes"] = ["inventory.read"]
    data.write_text(yaml.safe_dump(grants))
    configuration = stage.folder / "broker.yaml"
    asked = ["--policies", candidate, "--config", configuration, "--report", report]
    command = [sys.executable, "-m", "broker.cli", "policy", "replay", *asked]
    # That something changes is an exit code of its own.
    subprocess.run(command, check=False)
    if not report.exists():
        raise SystemExit("there is no report of a replay")
    return report


async def _shoot_report(page: Page, report: Path, scheme: str) -> Path:
    await page.set_viewport_size({"width": 1280, "height": 640})
    await page.goto(report.as_uri())
    made = IMAGES / f"replay-{scheme}.png"
    await page.screenshot(path=made)
    return made


async def _shoot(
    page: Page, address: str, row: str, window: Mapping[str, str], scheme: str
) -> list[Path]:
    """Take the four pictures in one scheme of colours."""
    pictures = {
        "search": (search_link(window), 800),
        "transaction": (transaction_link(row), 720),
        "row": (row_link(row), 1100),
        "verification": ("/trail/verify", 420),
    }
    made = []
    for name, (path, height) in pictures.items():
        await page.set_viewport_size({"width": 1280, "height": height})
        await page.goto(f"{address}{path}")
        await page.evaluate("document.activeElement.blur()")
        made.append(IMAGES / f"{name}-{scheme}.png")
        await page.screenshot(path=made[-1])
    return made


async def _sealed(stage: Stage) -> None:
    """Wait until everything is under a checkpoint."""
    database = Database(stage.postgres.auditor_url)
    try:
        for _ in range(_PATIENCE):
            if not (await load_seal_state(database, accesses=False)).batches:
                return
            await asyncio.sleep(1)
        raise SystemExit("what happened is not sealed")
    finally:
        await database.aclose()


class _Traffic:
    """Clients that exchange what they are given, and sometimes ask for too much."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._random = random.Random(7)

    async def run(self) -> str:
        """Exchange for a while; return the ``jti`` of a token in the middle of the last tree."""
        async with httpx.AsyncClient(base_url=self._stage.settings.issuer, trust_env=False) as http:
            for _ in range(_SECONDS):
                for _ in range(self._random.choice((0, 1, 1, 2, 2, 3, 5))):
                    await self._everyday(http)
                await asyncio.sleep(1)
            return await self._tree(http)

    async def _everyday(self, http: httpx.AsyncClient) -> None:
        user = self._token(self._random.choice(_PEOPLE))
        chance = self._random.random()
        if chance < 0.1:
            await self._exchange(http, "ledger", "inventory", "inventory.read", user)
        elif chance < 0.2:
            await self._exchange(http, "checkout", "inventory", "inventory.write", user)
        else:
            token = await self._exchange(http, "checkout", "inventory", "inventory.read", user)
            if chance > 0.6:
                await self._exchange(http, "inventory", "ledger", "ledger.read", token)

    async def _tree(self, http: httpx.AsyncClient) -> str:
        scope = "inventory.read stock.read"
        root = await self._exchange(http, "checkout", "inventory", scope, self._token("alice"))
        entry = await self._exchange(http, "inventory", "ledger", "ledger.read", root)
        await self._exchange(http, "inventory", "ledger", "ledger.append", root)
        await self._exchange(http, "ledger", "inventory", "stock.read", entry)
        await self._exchange(http, "ledger", "inventory", "inventory.write", entry)
        return self._jti(root)

    def _token(self, user: str) -> str:
        return self._stage.issuer.issue(user, audience="checkout")

    async def _exchange(
        self, http: httpx.AsyncClient, client: str, audience: str, scope: str, token: str
    ) -> str:
        """Return the token, or nothing where it is refused."""
        response = await http.post(
            "/token",
            auth=(client, self._stage.clients.secrets[client]),
            data={
                "grant_type": GRANT_TYPE_TOKEN_EXCHANGE,
                "subject_token": token,
                "subject_token_type": TokenType.ACCESS_TOKEN.value,
                "audience": audience,
                "scope": scope,
            },
        )
        return str(response.json().get("access_token", ""))

    @staticmethod
    def _jti(token: str) -> str:
        payload = token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"])


if __name__ == "__main__":
    sys.exit(main())
