"""Page after page: each row once, also while others are written; and no place that was forged."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.story import EVERYDAY

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def rows(visitor):
    links = await visitor.page.locator("#rows a.open-row").all()
    return [await link.get_attribute("href") for link in links]


@pytest.mark.parametrize("scripted", [True, False], ids=["script", "no-script"])
async def test_all_that_is_found_is_seen_page_by_page(visit, scripted):
    """And the way back is the browser's own."""
    visitor = await visit(java_script_enabled=scripted)
    await visitor.open_link()
    await visitor.go("/?client=batch")
    seen = [await rows(visitor)]
    while await (more := visitor.page.get_by_role("link", name=re.compile("Older"))).count():
        before = visitor.page.url
        await more.first.click()
        await expect(visitor.page).not_to_have_url(before)
        seen.append(await rows(visitor))
    await visitor.page.go_back()
    await expect(visitor.page.locator("#rows a.open-row").first).to_have_attribute(
        "href", seen[-2][0]
    )

    every = [row for page in seen for row in page]
    assert [50, 50, EVERYDAY - 100] == [len(page) for page in seen]
    assert len(every) == len(set(every))


async def test_a_place_of_another_search_is_refused(visitor):
    """Signed for one search, it is none of another; nor is one that somebody made up."""
    await visitor.go("/?client=batch")
    link = visitor.page.get_by_role("link", name=re.compile("Older")).first
    place = (await link.get_attribute("href")).partition("after=")[2]

    await visitor.go(f"/?client=checkout&after={place}", status=400)
    await visitor.go(f"/?client=batch&after={place[:-2]}AA", status=400)
    assert 0 == await visitor.page.locator("#rows").count()
