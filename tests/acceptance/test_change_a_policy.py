"""``docs/how-to/change-a-policy.md``, literally: a newcomer pastes its blocks, one by one."""

import asyncio
import json
import shutil

import pytest

from tests.acceptance.test_docs_examples import Dev, dev
from tests.markdown import ROOT, blocks

__all__ = ["dev"]  # a fixture
PAGE = ROOT / "docs" / "how-to" / "change-a-policy.md"


@pytest.mark.timeout(300)
async def test_a_newcomer_changes_a_policy_and_takes_it_back(dev: Dev) -> None:
    """Cut a scope, see whom it breaks, write the scenario, observe, enforce, roll back."""
    shutil.copytree(ROOT / "policies", dev.folder / "policies")
    run = [block.text for block in blocks(PAGE) if block.mark == "run"]
    ask, copy, edit, replay, promise, write, observe, count, enforce, back = run

    async def paste(text: str) -> str:
        return await asyncio.to_thread(dev.shell, text)

    async def asked() -> dict[str, object]:
        answer: dict[str, object] = json.loads(await paste(ask))
        return answer

    before = await asked()
    await paste(copy)
    checked = await paste(edit)
    replayed = " ".join((await paste(replay)).split())
    broken = await paste(promise)
    written = await paste(write)
    await paste(observe)
    meanwhile = await asked()
    counted = ""
    async with asyncio.timeout(30):
        while 'kind="refused"' not in counted:
            counted = await paste(count.replace(":9090", f":{dev.admin}"))
    status = await paste(enforce)
    enforced = await asked()
    await paste(back)
    after = await asked()

    both = "inventory.read stock.read"
    assert [both] * 3 == [answer["scope"] for answer in (before, meanwhile, after)]
    assert "All" in checked
    assert "newly refused checkout inventory policy.scope_not_granted; had" in replayed
    assert replayed.endswith("decisions change; nothing widens. exit code 1")
    assert "exit code 1" in broken
    assert "3 passed, 0 failed, 2 of 2 grants asked for" in written
    assert "enforce" in status
    assert {
        "error": "invalid_scope",
        "error_description": "A requested scope is not granted to this client.",
    } == {name: enforced[name] for name in ("error", "error_description")}
    # What the page shows of the answer is what was answered.
    (shown,) = (block.text for block in blocks(PAGE) if block.language == "json")
    assert json.loads(shown)["error"] == enforced["error"]
    assert not (dev.folder / "next").exists()
