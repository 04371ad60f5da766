"""A row, its two tokens and its tree; with the script of the pages and without it."""

import json
import re

import pytest
from playwright.async_api import expect

from broker.audit.proof import check_proof, parse_proof
from tests.sealing import KEYS, ORIGIN

pytestmark = pytest.mark.asyncio(loop_scope="session")
SCRIPT = pytest.mark.parametrize("scripted", [True, False], ids=["script", "no-script"])


async def enter(visit, scripted=True):
    visitor = await visit(java_script_enabled=scripted)
    await visitor.open_link()
    return visitor


@SCRIPT
async def test_a_row_says_what_was_decided_for_whom_and_that_it_is_unchanged(visit, told, scripted):
    """From the list to the row: decision, policy, parties, and its place in the log."""
    visitor = await enter(visit, scripted)
    await visitor.go("/?client=checkout")
    await visitor.page.click("#rows a.open-row")
    await expect(visitor.page).to_have_url(re.compile(told.first))

    assert "Unchanged" in await visitor.text("#seal")
    assert "9f31ab77" in await visitor.text("#decision")
    assert ["alice", "checkout"] == [
        name.strip() for name in await visitor.texts("#parties .chain .name")
    ]


@SCRIPT
async def test_both_tokens_stand_side_by_side(visit, told, scripted):
    """What was held and is not granted is struck through; what changed says so."""
    visitor = await enter(visit, scripted)
    await visitor.go(f"/rows/{told.first}")
    page = visitor.page
    scopes = {
        await one.locator("code").inner_text(): await one.get_attribute("class")
        for one in await page.locator("#tokens .scopes-list li").all()
    }
    audience = page.locator("#tokens tr", has=page.get_by_text("aud", exact=True))

    assert {
        "inventory.read": "kept",
        "orders.read": "kept",
        "orders.write": "cut",
        "profile": "cut",
    } == scopes
    assert ["orders.write", "profile"] == await visitor.texts("#tokens s")
    assert ["svc-a", "https://inventory.test/", "changed"] == [
        text.strip() for text in await audience.locator("td").all_inner_texts()
    ]


@SCRIPT
async def test_a_refusal_says_why(visit, told, scripted):
    """The reason, with what it means, and no second token."""
    visitor = await enter(visit, scripted)
    await visitor.go(f"/rows/{told.refused}")

    assert "policy.scope_not_held" in await visitor.text("#decision")
    assert "ledger.append" in await visitor.text("#tokens .asked")
    assert 0 == await visitor.page.locator("#tokens th", has_text="Issued").count()


@SCRIPT
async def test_the_tree_is_walked_by_its_cards(visit, told, scripted):
    """From a row to its transaction, and from a card of it to another row."""
    visitor = await enter(visit, scripted)
    await visitor.go(f"/rows/{told.second}")
    page = visitor.page
    await page.get_by_role("link", name="See the tree").click()
    cards = page.locator("svg.tree a")
    await expect(cards).to_have_count(3)
    assert told.second in await page.locator("svg.tree a[aria-current]").get_attribute("href")

    await page.locator("svg.tree a", has_text="policy.scope_not_held").click()
    await expect(page).to_have_url(re.compile(rf"/rows/{told.refused}$"))


async def test_text_of_the_tree_can_be_marked_and_found(visit, told):
    """It is text, not a picture of it."""
    visitor = await enter(visit)
    await visitor.go(f"/rows/{told.second}/transaction")

    assert await visitor.page.evaluate("window.find('policy.scope_not_held')")
    assert "policy.scope_not_held" == await visitor.page.evaluate("String(getSelection())")


async def test_a_row_is_proven_by_a_file_that_needs_none_of_this(visit, told):
    """The proof that is downloaded, judged by the key of the log alone."""
    visitor = await enter(visit)
    await visitor.go(f"/rows/{told.first}")
    async with visitor.page.expect_download() as waiting:
        await visitor.page.get_by_role("link", name="Proof").click()
    download = await waiting.value

    assert f"{told.first}.tlog-proof" == download.suggested_filename
    proof = parse_proof((await download.path()).read_text())
    assert ORIGIN == check_proof(proof, KEYS.public).origin
    assert told.first == json.loads(proof.record)["id"]


async def test_a_record_is_downloaded_byte_for_byte(visit, told):
    """As it was hashed, so with persons sealed."""
    visitor = await enter(visit)
    await visitor.go(f"/rows/{told.first}")
    async with visitor.page.expect_download() as waiting:
        await visitor.page.get_by_role("link", name="Record").click()
    record = json.loads((await (await waiting.value).path()).read_bytes())

    assert told.first == record["id"]
    assert "alice" not in json.dumps(record)


@SCRIPT
async def test_the_trail_is_verified_at_a_click(visit, scripted):
    """And the page ends in the verdict."""
    visitor = await enter(visit, scripted)
    await visitor.go("/trail")
    await visitor.page.get_by_role("button", name="Verify").click()
    await expect(visitor.page.locator(".verdict")).to_contain_text("Intact")
