"""The report of a replay in a browser, opened from a disk: whole, quiet, accessible, printable."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from broker.policy.difference import Kind
from broker.workbench.replay.change import Change
from broker.workbench.replay.page import render_page
from broker.workbench.replay.past import Cause, Lost
from broker.workbench.replay.report import Report
from broker.workbench.replay.tally import Tally
from tests.browser.accessibility import problems
from tests.hostile import HOSTILE
from tests.replaying import past, report

pytestmark = pytest.mark.asyncio(loop_scope="session")
REFUSED = Change(Kind.REFUSED, "policy.denied; had orders.read")
WIDER = Change(Kind.WIDER_SCOPES, "orders.write")
SHORTER = Change(Kind.SHORTER_LIFE, "300 s → 120 s")


def found(*names: str) -> Report:
    """A replay in which something of every colour changes, for clients of these names."""
    tally, one = Tally(), past()
    for number, name in enumerate(names):
        for day in range(10, 10 + number % 5 + 3):
            decision = replace(one, client=name, targets=name, at=f"2026-11-{day}T12:00:00.000000Z")
            tally.add(decision, ((REFUSED,), (WIDER, SHORTER), ())[day % 3])
    tally.lose(Lost(Cause.ERASED, 3))
    return report(tally, client=names[0], sample=0.5)


@pytest_asyncio.fixture(loop_scope="session")
async def opened(chromium: Browser, tmp_path: Path) -> AsyncIterator[Callable[..., object]]:
    """Opens a report from a file, without a network; whatever it complains of fails the test."""
    faults: list[str] = []
    contexts = []

    async def open_page(text: str, **options: object) -> Page:
        context = await chromium.new_context(offline=True, **options)
        contexts.append(context)
        path = tmp_path / "replay.html"
        path.write_text(text)
        page = await context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("dialog", lambda dialog: faults.append(dialog.message))
        page.on("request", lambda request: faults.append(request.url))
        await page.goto(path.as_uri())
        # What was opened itself is the one thing that may be asked for.
        assert faults.pop(0) == path.as_uri()
        return page

    yield open_page
    for context in contexts:
        await context.close()
    assert faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_is_accessible(opened, scheme):
    """Names, headings and contrast, by the rules of WCAG 2.2 AA."""
    page = await opened(render_page(found("checkout", "ledger")), color_scheme=scheme)

    assert [] == await problems(page, contrast_alone=scheme == "dark")


async def test_it_says_what_is_worst_first_and_shows_rows_on_demand(opened):
    """Without any script."""
    page = await opened(render_page(found("checkout")), java_script_enabled=False)
    kinds = await page.locator(".changes tbody .badge").all_inner_texts()
    example = page.locator(".changes details code").first
    hidden = await example.is_visible()
    await page.locator(".changes summary").first.click()

    assert kinds == ["+ wider scopes", "✗ newly refused", "shorter life"]
    assert "widen what somebody gets" in await page.locator(".verdict").inner_text()
    assert (hidden, await example.is_visible()) == (False, True)


async def test_hostile_names_do_nothing(opened):
    """Clients can be called anything where somebody else has written the trail."""
    page = await opened(render_page(found(*HOSTILE.values())))

    assert await page.evaluate("window.pwned") is None
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


async def test_it_is_legible_on_a_small_screen_and_on_paper(opened):
    """Nothing is cut off at the side."""
    page = await opened(
        render_page(found("checkout", "ledger")), viewport={"width": 390, "height": 800}
    )
    small = await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    await page.emulate_media(media="print")
    await page.set_viewport_size({"width": 794, "height": 1123})  # A4 at 96 dpi
    wide = await page.evaluate(
        "document.querySelector('.changes').scrollWidth"
        " <= document.querySelector('main').clientWidth"
    )

    assert (small, wide) == (True, True)
