"""The policy workbench in a real browser: edit, try, see, take the patch; for everybody."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.accessibility import problems
from tests.browser.conftest import WITHIN
from tests.browser.visitor import Visitor
from tests.workbenching import GRANTS, working, write_policy

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("opa")]


@pytest_asyncio.fixture(loop_scope="session")
async def bench(chromium: Browser, tmp_path: Path) -> AsyncIterator[tuple[Visitor, Any]]:
    """Somebody at a workbench, and the copy that is edited."""
    write_policy(tmp_path)
    async with working(tmp_path) as (workbench, scratch):
        context = await chromium.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(WITHIN * 3)
        visitor = await Visitor.enter(context, workbench)
        await visitor.open_link()
        yield visitor, scratch
        await context.close()
        assert [] == visitor.faults


async def test_a_grant_is_changed_and_all_that_it_does_is_seen(
    bench: tuple[Visitor, Any], tmp_path: Path
) -> None:
    """Typed into the page, tried, told in words, and taken away as a patch."""
    visitor, scratch = bench
    page = visitor.page
    editor = page.get_by_label(GRANTS, exact=True)
    text = await editor.input_value()
    assert text == scratch.read(GRANTS)

    await editor.fill(text.replace("max_lifetime: 1m", "max_lifetime: 5m"))
    await page.get_by_role("button", name="Try it").click()

    row = page.get_by_role("row", name="longer life inventory ledger 60 s → 300 s")
    await expect(row).to_be_visible()
    await expect(page.locator("#h-scenarios ~ p").first).to_contain_text("1 failed")
    await expect(page.locator("#h-tests ~ p").first).to_contain_text("0 failed")
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        assert [] == await problems(page, contrast_alone=scheme == "dark")
    async with page.expect_download() as taken:
        await page.get_by_role("link", name="Download the patch").click()
    with (await (await taken.value).path()).open() as file:
        patch = file.read()
    assert "+    max_lifetime: 5m" in patch
    assert (tmp_path / "policies" / GRANTS).read_text() == text

    await page.get_by_role("button", name="Put this file back").click()
    await expect(page.get_by_text("Nothing is changed yet")).to_be_visible()
    assert scratch.changed == ()


async def test_a_mistake_in_rego_leads_to_its_line(bench: tuple[Visitor, Any]) -> None:
    """Tabs and angle brackets come back as they were sent, and the line is shown."""
    visitor, scratch = bench
    page = visitor.page
    await page.get_by_role("link", name="broker/exchange/loop/loop.rego").click()
    editor = page.get_by_label("broker/exchange/loop/loop.rego", exact=True)
    text = await editor.input_value()
    assert text == scratch.read("broker/exchange/loop/loop.rego")
    await editor.fill(f"{text}\nx := </textarea><script>alert(1)</script>\n")
    await page.get_by_role("button", name="Try it").click()

    await expect(page.get_by_role("heading", name="It cannot be used")).to_be_visible()
    await page.locator("#h-errors ~ ul a").first.click()

    await expect(page.locator(".excerpt mark")).to_contain_text("x := </textarea>")
    assert (await editor.input_value()).endswith("<script>alert(1)</script>\n")
    assert [] == await problems(page)
