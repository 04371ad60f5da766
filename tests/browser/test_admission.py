"""Who gets in: the browser that opens the link, once."""

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_link_lets_a_browser_in_and_leaves_no_trace_of_itself(visit):
    """What stands in the address bar and the history afterwards opens nothing."""
    visitor = await visit()
    await visitor.open_link()

    assert "/" == visitor.path
    assert "Audit trail" in await visitor.page.title() or "Search" in await visitor.page.title()
    assert await visitor.page.locator("form#search").is_visible()


async def test_the_link_works_once(visit, explorer):
    """A second browser is told how to get a new one, and sees nothing of the trail."""
    link = explorer.new_link().removeprefix(f"http://{explorer.address}")
    first, second = await visit(), await visit()
    await first.go(link)
    await second.go(link, status=403)

    assert "This link does not open anything" in await second.text("h1")
    await second.go("/", status=403)
    assert 0 == await second.page.locator("table").count()


async def test_a_search_shared_with_a_colleague_is_found_as_it_was(visit, visitor):
    """The address is the search: the colleague has another browser and another link."""
    await visitor.go("/?client=checkout&outcome=issued")
    colleague = await visit()
    await colleague.open_link()
    await colleague.page.goto(visitor.page.url)

    assert await visitor.texts("#rows .parties") == await colleague.texts("#rows .parties")
    assert "checkout" == await colleague.page.locator("#f-client").input_value()
