"""The matrix as a file in a real browser: for everybody, and whatever others have named."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from playwright.async_api import Browser, expect

from broker.policy.bundle import Bundle, build_bundle
from broker.settings import Settings
from broker.workbench.candidate import Candidate
from broker.workbench.matrix.circumstances import Circumstance
from broker.workbench.matrix.difference import compare_matrices
from broker.workbench.matrix.matrix import Asked, Matrix, find_area, survey
from broker.workbench.matrix.page import render_page
from broker.workbench.matrix.probe import Budget
from broker.workbench.matrix.vocabulary import gather
from broker.workbench.question import SupposedToken
from broker.workbench.reach.picture import render_file
from broker.workbench.reach.walk import Walker
from tests.browser.accessibility import problems
from tests.workbenching import STOCK, parties

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("opa")]
HOSTILE = "<img/src=x/onerror=alert(1)>"
CIRCUMSTANCE = Circumstance(datetime(2026, 11, 24, 12, tzinfo=UTC))


def look(bundle: Bundle, settings: Settings) -> Matrix:
    """The matrix of a policy."""
    asked = Asked(find_area(settings), (CIRCUMSTANCE,), gather(bundle, settings))
    with closing(Candidate(bundle, ceiling=8)) as candidate:
        return survey(candidate, settings, asked, Budget())


def write(folder: Path) -> tuple[Path, Path]:
    """The page of a difference with a hostile scope in it, and a picture with the same."""
    settings = parties(folder)
    targets = tuple(
        one.model_copy(update={"scopes": one.scopes | {HOSTILE}}) for one in settings.targets
    )
    settings = settings.model_copy(update={"targets": targets})
    before = build_bundle(STOCK)
    data = orjson.loads(before.data)
    data["broker"]["grants"]["checkout"]["inventory"]["scopes"].append(HOSTILE)
    after = Bundle("f" * 64, before.wasm, orjson.dumps(data), before.modules)
    difference = compare_matrices(look(before, settings), look(after, settings))
    page, picture = folder / "matrix.html", folder / "reach.svg"
    page.write_text(render_page(difference.after, difference))
    with closing(Candidate(after, ceiling=8)) as candidate:
        walker = Walker(candidate, settings, CIRCUMSTANCE, gather(after, settings), Budget())
        token = SupposedToken("idp", "alice", frozenset({HOSTILE, "orders.write"}))
        picture.write_text(render_file(walker.walk("checkout", token)))
    return page, picture


async def test_the_page_is_read_by_everybody_and_does_nothing(
    chromium: Browser, tmp_path: Path
) -> None:
    """Opened from a disk: no request, no script, keys lead from the grid to the line, and axe."""
    page_file, picture = write(tmp_path)
    context = await chromium.new_context()
    faults: list[str] = []
    page = await context.new_page()
    page.on("console", lambda message: faults.append(message.text))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))

    await page.goto(page_file.as_uri())
    await expect(page.get_by_text("Somebody may get more than before.")).to_be_visible()
    assert HOSTILE in await page.locator(".changes .what").first.inner_text()
    square = page.get_by_role("link", name="3 of checkout at inventory")
    await square.focus()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{page_file.as_uri()}#cell-1")
    await expect(page.locator("#cell-1")).to_contain_text("stock.read ← orders.write")
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        assert [] == await problems(page, contrast_alone=scheme == "dark")

    await page.goto(picture.as_uri())
    assert await page.locator("svg.tree svg.card").count() == 3
    assert faults == []
    assert set(asked) <= {page_file.as_uri(), f"{page_file.as_uri()}#cell-1", picture.as_uri()}
    await context.close()
