"""How accessible a page is, in the judgement of axe-core, which nobody here wrote."""

from functools import cache
from pathlib import Path

import pytest
from playwright.async_api import Page

AXE = Path(__file__).parents[2] / ".tools/oauth-clients/node_modules/axe-core/axe.min.js"
NOT_RUN = "not run: axe-core is not in .tools/oauth-clients (make test fetches it)"
# WCAG 2.2, levels A and AA, and what its authors hold to be good practice.
_ALL = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_RULES = {"type": "tag", "values": _ALL}
_CONTRAST = {"type": "rule", "values": ["color-contrast"]}


@cache
def _axe() -> str:
    return AXE.read_text()


async def problems(page: Page, *, contrast_alone: bool = False) -> list[str]:
    """What is wrong with it, each with the places; ``contrast_alone``: as to its colours."""
    if not AXE.exists():
        pytest.skip(NOT_RUN)
    # Evaluated as a debugger does, so the page's own policy lets nobody else do it.
    await page.evaluate(_axe())
    found = await page.evaluate(
        "rules => axe.run(document, {runOnly: rules})", _CONTRAST if contrast_alone else _RULES
    )
    return [
        f"{one['id']}: {one['help']}: {', '.join(str(node['target']) for node in one['nodes'][:5])}"
        for one in found["violations"]
    ]
