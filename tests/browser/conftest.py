"""A real browser on a real explorer over a real trail; what a page does wrong fails its test."""

import os
from collections.abc import AsyncIterator, Callable
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from broker.db.embedded import EmbeddedPostgres
from broker.db.loop import run_apart
from broker.explorer.server import Explorer
from broker.explorer.sources import Means
from scripts.install_chromium import find_chromium
from tests.audit import VAULT
from tests.browser.story import Told, tell
from tests.browser.visitor import Visitor
from tests.fixtures.postgres import OneDatabase, make_database
from tests.sealing import KEYS

WITHIN = 20_000  # milliseconds: on a slow machine all of it takes longer
expect.set_options(timeout=WITHIN)
NOT_RUN = "not run: there is no Chromium here (make test installs it, or says what to install)"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser of the system, one for each process of the test run."""
    program = find_chromium()
    if program is None:
        pytest.skip(NOT_RUN)
    # As root, as in most containers of CI, it has no sandbox of its own.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=flags)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def told(postgres: EmbeddedPostgres, template: OneDatabase) -> Told:
    """A sealed trail that tests of pages look at; each look is one more row."""
    database = make_database(postgres, template.name)
    return run_apart(lambda: tell(database))


@pytest.fixture
def means(told: Told) -> Means:
    """What an auditor has who has everything; a test may take something away."""
    return Means(
        url=told.database.auditor_url,
        zone=ZoneInfo("UTC"),
        by="auditor",
        vault=VAULT,
        keys=KEYS.public,
    )


@pytest_asyncio.fixture(loop_scope="session")
async def explorer(means: Means) -> AsyncIterator[Explorer]:
    """The explorer of one test."""
    async with Explorer(means) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="session")
async def visit(chromium: Browser, explorer: Explorer) -> AsyncIterator[Callable[..., Visitor]]:
    """Make visitors, each with a browser profile of its own, and judge them all at the end."""
    visitors: list[Visitor] = []

    async def make(**options) -> Visitor:
        context = await chromium.new_context(
            **{"viewport": {"width": 1280, "height": 800}} | options
        )
        context.set_default_timeout(WITHIN)
        visitors.append(await Visitor.enter(context, explorer))
        return visitors[-1]

    yield make
    for visitor in visitors:
        await visitor.context.close()
    assert [] == [fault for visitor in visitors for fault in visitor.faults]


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(visit: Callable[..., Visitor]) -> Visitor:
    """Somebody who has opened the one-time link."""
    made = await visit()
    await made.open_link()
    return made
