"""A person who was erased: nobody finds them, nobody sees them, and all of it verifies still."""

from dataclasses import replace

import pytest
from playwright.async_api import expect

from broker.db.loop import run_apart
from tests.browser.story import tell
from tests.fixtures.postgres import execute, make_database

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def forgotten(postgres, template):
    """The same trail, once every key of every person was destroyed."""
    database = make_database(postgres, template.name)
    told = run_apart(lambda: tell(database))
    execute(database.superuser_url, "DELETE FROM audit_person_key")
    return told


@pytest.fixture
def means(means, forgotten):
    """What an auditor of that one has: the audit key as well."""
    return replace(means, url=forgotten.database.auditor_url)


async def test_who_was_erased_is_named_nowhere(visitor, forgotten):
    """On each page it says so, beside what is no person's."""
    row = f"/rows/{forgotten.first}"
    for path in ("/?client=checkout", row, f"{row}/transaction"):
        response = await visitor.go(path)
        assert "alice" not in await response.text(), path
    await visitor.go(row)

    assert "erased" in await visitor.text("h1")
    assert "cannot be read by anybody any more" in await visitor.text("#tokens .hidden-note")
    assert "Unchanged" in await visitor.text("#seal")


async def test_the_trail_of_erased_persons_verifies(visitor):
    """What was encrypted was hashed; its keys were not."""
    await visitor.go("/trail/verify")
    await expect(visitor.page.locator(".verdict")).to_contain_text("Intact")
