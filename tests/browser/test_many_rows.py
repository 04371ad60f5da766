"""A trail of many rows, looked at as a small one is; how quickly, is for ``bench/explorer.py``."""

import re
from dataclasses import replace

import pytest
from playwright.async_api import expect

from tests.browser.accessibility import problems
from tests.fixtures.postgres import execute, make_database

pytestmark = pytest.mark.asyncio(loop_scope="session")
ROWS = 20_000
_FILL = f"""
INSERT INTO audit_event (writer, seq, at, id, kind, outcome, reason, client, subject_issuer,
  subject, actor_issuers, actors, targets, scopes, txn, record, leaf)
SELECT '018f0000-0000-7000-8000-000000000001', n, at, id, 'exchange',
  CASE WHEN n % 10 = 0 THEN 'refused' ELSE 'issued' END,
  CASE WHEN n % 10 = 0 THEN 'policy.denied' END,
  'client-' || n % 20, 'https://idp.test', 'person-' || n % 1000, '{{}}', '{{}}', '{{inventory}}',
  '{{inventory.read}}', id, record, sha256('\\x00' || record::bytea)
FROM (
  SELECT n, id, at, json_build_object('version', 1, 'kind', 'exchange', 'id', id, 'at', at,
    'outcome', 'issued', 'scopes', '{{}}'::text[], 'personal', '{{}}'::json)::text AS record
  FROM (
    SELECT n, now() - n * interval '1 second' AS at,
      ('018f0000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid AS id
    FROM generate_series(1, {ROWS}) AS n
  ) AS numbered
) AS written
"""


@pytest.fixture(scope="module")
def crowded(postgres, template):
    """A trail of one writer that exchanged a token every second."""
    database = make_database(postgres, template.name)
    execute(database.superuser_url, _FILL, "ANALYZE audit_event")
    return database


@pytest.fixture
def means(means, crowded):
    return replace(means, url=crowded.auditor_url)


async def test_a_search_through_many_rows_shows_a_page_of_them(visitor):
    """With what it stands for, and a way to narrow it."""
    await visitor.go("/?client=client-7")
    page = visitor.page

    assert 50 == await page.locator("#rows tbody tr").count()
    assert 1 == await page.locator("#timeline").count()
    assert [] == await problems(page)
    await page.fill("#f-subject", "person-7")
    await page.press("#f-subject", "Enter")
    await expect(page).to_have_url(re.compile("subject=person-7"))
    await expect(page.locator("#rows tbody tr")).to_have_count(ROWS // 1000)


async def test_all_of_many_rows_can_be_taken_away(visitor):
    """As a file, written while it is read."""
    await visitor.go("/")
    async with visitor.page.expect_download() as waiting:
        await visitor.page.get_by_role("link", name="JSON lines").click()
    lines = (await (await waiting.value).path()).read_bytes().splitlines()

    assert len(lines) >= ROWS
