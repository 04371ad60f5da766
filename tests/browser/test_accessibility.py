"""Every page, light and dark, judged for whoever does not see it, or uses no mouse."""

import pytest

from tests.browser.accessibility import problems

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGES = {
    "search": "/?subject=alice&kind=exchange",
    "nothing-found": "/?client=nobody",
    "not-understood": "/?since=yesterday-ish",
    "issued": "/rows/{first}",
    "refused": "/rows/{refused}",
    "transaction": "/rows/{second}/transaction",
    "timeline": "/timeline?client=batch",
    "integrity": "/trail",
    "missing": "/nowhere",
}
STATUS = {"not-understood": 400, "missing": 404}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
async def test_a_page_is_accessible(visit, told, name, scheme):
    """Names, roles, order of headings, and contrast, by the rules of WCAG 2.2 AA."""
    visitor = await visit(color_scheme=scheme)
    await visitor.open_link()
    path = PAGES[name].format(first=told.first, second=told.second, refused=told.refused)
    await visitor.go(path, status=STATUS.get(name, 200))

    # Dark, it differs in its colours alone.
    assert [] == await problems(visitor.page, contrast_alone=scheme == "dark")


async def test_so_are_the_pages_outside(visit):
    """Those that are seen before anybody is let in."""
    visitor = await visit()
    for path in ("/", "/open?link=used"):
        await visitor.go(path, status=403)
        assert [] == await problems(visitor.page)
