"""Searching, as somebody does who sits before it; with the script of the pages and without it."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.story import EVERYDAY

pytestmark = pytest.mark.asyncio(loop_scope="session")
SCRIPT = pytest.mark.parametrize("scripted", [True, False], ids=["script", "no-script"])


async def enter(visit, scripted=True, **options):
    visitor = await visit(java_script_enabled=scripted, **options)
    await visitor.open_link()
    return visitor


@SCRIPT
async def test_what_is_typed_is_found_and_stands_in_the_address(visit, scripted):
    """A client and Enter: its rows, the newest first, and a link that a colleague can have."""
    visitor = await enter(visit, scripted)
    await visitor.page.fill("#f-client", "checkout")
    await visitor.page.press("#f-client", "Enter")
    await expect(visitor.page).to_have_url(re.compile(r"/\?client=checkout$"))

    assert ["checkout → inventory"] == [
        " ".join(text.split()) for text in await visitor.texts("#rows .parties")
    ]
    assert "checkout" == await visitor.page.input_value("#f-client")
    assert "1 row" == (await visitor.text(".count")).strip()


@SCRIPT
async def test_a_person_is_found_by_name(visit, scripted):
    """Rows have a pseudonym; whoever has the audit key need not know it."""
    visitor = await enter(visit, scripted)
    await visitor.page.fill("#f-subject", "robot-7")
    await visitor.page.press("#f-subject", "Enter")
    await expect(visitor.page.locator("#rows tbody tr")).to_have_count(1)

    assert "robot-7" in await visitor.text("#rows .behalf")


@SCRIPT
async def test_filters_are_narrowed_and_widened_by_links(visit, scripted):
    """An outcome is chosen, a window named, and a chip takes a filter away again."""
    visitor = await enter(visit, scripted)
    page = visitor.page
    await visitor.go("/?client=inventory")
    await page.select_option("#f-outcome", "refused")
    await page.click("form#search button[type=submit]")
    await expect(page).to_have_url(re.compile("outcome=refused"))
    assert ["policy.scope_not_held"] == await visitor.texts("#rows .what")

    await page.get_by_role("link", name="7d").click()
    await expect(page).to_have_url(re.compile("since=7d"))
    await page.get_by_role("link", name="Without outcome").click()
    await expect(page).not_to_have_url(re.compile("outcome="))
    await expect(page.locator("#rows tbody tr")).to_have_count(2)


@SCRIPT
async def test_what_cannot_be_understood_is_said_where_it_was_written(visit, scripted):
    """And what was written stays there to be mended."""
    visitor = await enter(visit, scripted)
    visitor.expect(400)
    await visitor.page.fill("#f-since", "a while ago")
    await visitor.page.press("#f-since", "Enter")
    fault = visitor.page.locator("#e-since")
    await expect(fault).to_contain_text("write 24h for a day ago")

    assert "a while ago" == await visitor.page.input_value("#f-since")
    assert "true" == await visitor.page.get_attribute("#f-since", "aria-invalid")


@SCRIPT
async def test_a_bar_of_the_timeline_leads_to_its_stretch(visit, scripted):
    """All rows of these tests fell into one or two of them."""
    visitor = await enter(visit, scripted)
    await visitor.go("/?client=batch")
    shown = await visitor.text(".legend")
    await visitor.page.locator("svg.timeline a").first.click()
    await expect(visitor.page).to_have_url(re.compile(r"since=.*until="))

    assert str(EVERYDAY) in shown
    assert await visitor.page.locator("#rows tbody tr").count() > 0


async def test_going_back_shows_what_was_there(visit):
    """The script remembers each search as a page would be."""
    visitor = await enter(visit)
    page = visitor.page
    await visitor.go("/?client=checkout")
    await page.get_by_role("link", name="Without client").click()
    await expect(page).to_have_url(f"{visitor.origin}/")
    await page.go_back()
    await expect(page.locator("#rows tbody tr")).to_have_count(1)

    assert "checkout" == await page.input_value("#f-client")


async def test_another_zone_shows_the_same_moment_by_another_clock(visit):
    """And the page says which one it is."""
    visitor = await enter(visit)
    times = {}
    for zone in ("UTC", "Asia/Kolkata"):
        await visitor.go(f"/?client=checkout&tz={zone}")
        moment = visitor.page.locator("#rows time").first
        times[zone] = (await moment.get_attribute("datetime"), await moment.inner_text())
        assert zone in await visitor.text(".facts")

    assert times["UTC"][0] == times["Asia/Kolkata"][0]
    assert times["UTC"][1] != times["Asia/Kolkata"][1]


async def test_the_keyboard_is_enough(visit, told):
    """To search, to go through what is found, to open a row, and to see its tree."""
    visitor = await enter(visit)
    page, keys = visitor.page, visitor.page.keyboard
    await visitor.go("/?kind=exchange")
    await keys.press("/")
    await keys.type("alice")
    await keys.press("Enter")
    await expect(page.locator("#rows tbody tr")).to_have_count(3)
    await keys.press("Escape")
    for key in ("j", "j", "j", "k"):
        await keys.press(key)
    await keys.press("Enter")
    await expect(page).to_have_url(re.compile(told.second))

    await page.get_by_role("link", name="See the tree").focus()
    await keys.press("Enter")
    await expect(page.locator("svg.tree a[aria-current]")).to_have_count(1)
    await page.locator("svg.tree a").first.focus()
    await keys.press("Tab")
    await keys.press("Enter")
    await expect(page).to_have_url(re.compile(r"/rows/[0-9a-f-]+$"))


async def test_tab_reaches_everything_that_can_be_used(visit):
    """In the order of the page, and where one is can be seen."""
    visitor = await enter(visit)
    await visitor.go("/?client=checkout")
    seen = []
    for _ in range(200):
        await visitor.page.keyboard.press("Tab")
        seen.append(await visitor.page.evaluate(_FOCUS))
        if seen[-1] is None:
            break
    reachable = await visitor.page.evaluate(_REACHABLE)

    assert reachable == [one["place"] for one in seen if one]
    assert all(one["visible"] for one in seen if one)


# Where the focus is, by its place among all elements, and whether that can be seen.
_FOCUS = """() => {
    const at = document.activeElement;
    if (!at || at === document.body) return null;
    const card = at.querySelector && at.querySelector(".face, .reach");
    const style = getComputedStyle(at), inner = card ? getComputedStyle(card) : null;
    const visible = style.outlineStyle !== "none" || (inner && inner.stroke !== "none");
    return {place: [...document.querySelectorAll("*")].indexOf(at), visible};
}"""
_REACHABLE = """() => {
    const all = [...document.querySelectorAll("*")];
    return all.filter(one => one.matches("a[href], button, input, select, summary, [tabindex='0']")
        && one.checkVisibility() && one.tabIndex >= 0).map(one => all.indexOf(one));
}"""


async def test_a_small_screen_shows_the_same(visit):
    """A telephone held upright: nothing has to be pushed sideways."""
    visitor = await enter(visit, viewport={"width": 390, "height": 844})
    for path in ("/?kind=exchange", "/trail"):
        await visitor.go(path)
        assert await visitor.page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), path
