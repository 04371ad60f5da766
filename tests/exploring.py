"""Somebody who looks at an explorer without a browser: what it answers, word by word."""

import contextlib
import html
import re
from collections.abc import AsyncIterator
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from broker.explorer.server import Explorer
from broker.explorer.sources import Means
from tests.audit import VAULT
from tests.fixtures.postgres import OneDatabase
from tests.sealing import KEYS


def means(database: OneDatabase, **overrides: Any) -> Means:
    """What an auditor has at hand who has everything."""
    values: dict[str, Any] = {
        "url": database.auditor_url,
        "zone": ZoneInfo("UTC"),
        "by": "an auditor",
        "vault": VAULT,
        "keys": KEYS.public,
    }
    return Means(**values | overrides)


@contextlib.asynccontextmanager
async def exploring(database: OneDatabase, **overrides: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client that was let in, of an explorer that is served for as long."""
    async with Explorer(means(database, **overrides)) as explorer, outside(explorer) as client:
        response = await client.get(explorer.new_link())
        assert 303 == response.status_code
        yield client


@contextlib.asynccontextmanager
async def outside(explorer: Explorer) -> AsyncIterator[httpx.AsyncClient]:
    """A client that nobody has let in yet."""
    async with httpx.AsyncClient(
        base_url=f"http://{explorer.address}", timeout=20, trust_env=False
    ) as client:
        yield client


def text_of(response: httpx.Response) -> str:
    """The words of a page, without its tags, in one line."""
    bare = re.sub(r"<(title|datalist).*?</\1>|<[^>]*>", " ", response.text, flags=re.DOTALL)
    return " ".join(html.unescape(bare).split())


def links_of(response: httpx.Response) -> list[str]:
    """Where a page leads, in its order."""
    return [html.unescape(link) for link in re.findall(r'<a[^>]* href="([^"]*)"', response.text)]


def rows_of(response: httpx.Response) -> list[str]:
    """The ids of the rows of a list, in its order."""
    return re.findall(r'class="open-row" href="/rows/([0-9a-f-]{36})["?]', response.text)
