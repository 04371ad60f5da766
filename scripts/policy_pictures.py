"""Make the pictures of the policy workbench in ``docs/images/``, light and dark.

The policy is the stock one, with one grant changed in the browser: nothing in them is drawn.
"""

import asyncio
import shutil
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from playwright.async_api import Browser, Page

from broker.policy.bundle import Bundle, build_bundle
from broker.settings import Settings, load_settings
from broker.workbench.candidate import Candidate
from broker.workbench.matrix.circumstances import Circumstance
from broker.workbench.matrix.difference import compare_matrices
from broker.workbench.matrix.matrix import Asked, Matrix, find_area, survey
from broker.workbench.matrix.page import render_page
from broker.workbench.matrix.probe import Budget
from broker.workbench.matrix.vocabulary import Vocabulary, gather
from broker.workbench.page.judge import Judge
from broker.workbench.page.scratch import Scratch
from broker.workbench.page.server import Workbench
from broker.workbench.question import SupposedToken
from broker.workbench.reach.picture import render_file
from broker.workbench.reach.walk import Walker
from broker.workbench.scenarios.setting import PARTIES
from scripts.camera import IMAGES, ROOT, chromium
from scripts.install_chromium import find_chromium

_PARTIES = """
issuer: http://127.0.0.1:8080
issuers:
  - {issuer: https://idp.example.com, alias: idp, discovery: true, algorithms: [ES256]}
  - {issuer: https://ci.example.com, alias: ci, discovery: true, algorithms: [ES256]}
clients:
  - {id: checkout, auth: private_key_jwt, jwks_uri: https://example.com/a}
  - {id: inventory, auth: private_key_jwt, jwks_uri: https://example.com/b, targets: [inventory]}
  - {id: ledger, auth: private_key_jwt, jwks_uri: https://example.com/c, targets: [ledger]}
targets:
  - {name: inventory, scopes: [inventory.read, inventory.write, stock.read]}
  - {name: ledger, scopes: [ledger.read, ledger.append]}
"""
_GRANTS = "broker/grants/data.yaml"
_BEFORE, _AFTER = "scopes: [ledger.append]", "scopes: [ledger.append, ledger.read]"
_AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def main() -> int:
    """Return 0 once the pictures are there."""
    program = find_chromium()
    if program is None:
        print("no Chromium: run scripts/install_chromium.py", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_make(program, Path(folder)))


async def _make(program: Path, folder: Path) -> int:
    async with chromium(program, folder) as browser:
        for made in await shoot_policy(browser, folder):
            print(f"{made.name}  {made.stat().st_size // 1000} kB")
    return 0


async def shoot_policy(browser: Browser, folder: Path) -> list[Path]:
    """Take the pictures in both schemes of colours."""
    pages = await asyncio.to_thread(_write, folder)
    settings = load_settings(folder / "broker.yaml", {}, only=PARTIES)
    made = []
    with Scratch(folder / "policies") as scratch:
        async with Workbench(scratch, Judge(scratch, settings)) as workbench:
            for scheme in ("light", "dark"):
                context = await browser.new_context(
                    viewport={"width": 1280, "height": 800}, color_scheme=scheme
                )
                page = await context.new_page()
                page.set_default_timeout(120_000)
                for name, (path, height) in pages.items():
                    await page.set_viewport_size({"width": 1280, "height": height})
                    await page.goto(path.as_uri())
                    made.append(await _take(page, name, scheme))
                await page.set_viewport_size({"width": 1280, "height": 1250})
                await page.goto(workbench.new_link())
                await _edit(page)
                made.append(await _take(page, "workbench", scheme))
                await context.close()
    return made


async def _edit(page: Page) -> None:
    editor = page.get_by_label(_GRANTS, exact=True)
    text = await editor.input_value()
    await editor.fill(text.replace(_BEFORE, _AFTER))
    await page.get_by_role("button", name="Try it").click()
    await page.locator("#h-tests").wait_for()
    await page.evaluate("document.activeElement.blur()")


async def _take(page: Page, name: str, scheme: str) -> Path:
    path = IMAGES / f"{name}-{scheme}.png"
    await page.screenshot(path=path)
    return path


def _write(folder: Path) -> dict[str, tuple[Path, int]]:
    """Write the pages that need no server; return where, and how high they are shown."""
    folder.mkdir(exist_ok=True)
    (folder / "broker.yaml").write_text(_PARTIES)
    shutil.copytree(ROOT / "policies", folder / "policies")
    shutil.copytree(ROOT / "policies", folder / "candidate")
    grants = folder / "candidate" / _GRANTS
    grants.write_text(grants.read_text().replace(_BEFORE, _AFTER))
    settings = load_settings(folder / "broker.yaml", {}, only=PARTIES)
    before, after = build_bundle(folder / "policies"), build_bundle(folder / "candidate")
    names = gather(before, settings) | gather(after, settings)
    old, new = (_survey(bundle, settings, names) for bundle in (before, after))
    page, picture = folder / "matrix.html", folder / "reach.svg"
    page.write_text(render_page(new, compare_matrices(old, new)))
    with closing(Candidate(before, ceiling=8)) as candidate:
        walker = Walker(candidate, settings, Circumstance(_AT), names, Budget())
        held = frozenset({"inventory.read", "orders.write"})
        picture.write_text(
            render_file(walker.walk("checkout", SupposedToken("idp", "alice", held)))
        )
    return {"matrix": (page, 1150), "reach": (picture, 150)}


def _survey(bundle: Bundle, settings: Settings, names: Vocabulary) -> Matrix:
    asked = Asked(find_area(settings), (Circumstance(_AT),), names)
    with closing(Candidate(bundle, ceiling=8)) as candidate:
        return survey(candidate, settings, asked, Budget())


if __name__ == "__main__":
    sys.exit(main())
