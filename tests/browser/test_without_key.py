"""Without the audit key there is everything but who it was."""

from dataclasses import replace

import pytest

from tests.audit import VAULT

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def means(means):
    """What an auditor has who was given no audit key."""
    return replace(means, vault=None)


async def test_persons_are_pseudonyms_on_every_page(visitor, told):
    """And the page says so; what is no person's is all there."""
    for path in ("/?client=checkout", f"/rows/{told.first}", f"/rows/{told.first}/transaction"):
        response = await visitor.go(path)
        assert "alice" not in await response.text(), path
        assert VAULT.pseudonym("alice")[:13] in await visitor.text("main"), path

    assert "Pseudonyms" in await visitor.text(".facts")


async def test_both_tokens_say_what_cannot_be_seen(visitor, told):
    """Granted scopes are shown, and none is said to be cut."""
    await visitor.go(f"/rows/{told.first}")

    assert "Start the explorer with the audit key" in await visitor.text("#tokens .hidden-note")
    assert ["inventory.read", "orders.read"] == await visitor.texts("#tokens .scopes-list code")
    assert "Unchanged" in await visitor.text("#seal")


async def test_names_are_in_no_file(visitor):
    """Nor is there a link to one."""
    await visitor.go("/?client=checkout")
    assert 0 == await visitor.page.get_by_role("link", name="CSV with names").count()

    response = await visitor.context.request.get(f"{visitor.origin}/export.csv?names=yes")
    assert 400 == response.status
