"""Somebody with a browser: goes where a test says, and notes all that a page must never do."""

from typing import Self

from playwright.async_api import BrowserContext, ConsoleMessage, Dialog, Page, Request, Response

from broker.explorer.server import Explorer

_REFUSED = "Failed to load resource: the server responded with a status of"


class Visitor:
    """A page in a browser profile of its own, and its faults.

    A fault is whatever the console complains of, policy for content included, an error of a
    script, a dialog, a request to anywhere else, and a variable that only an injected script sets.
    """

    def __init__(self, context: BrowserContext, explorer: Explorer, page: Page) -> None:
        self.context = context
        self.explorer = explorer
        self.page = page
        self.faults: list[str] = []
        self.origin = f"http://{explorer.address}"
        self._status = 200

    @classmethod
    async def enter(cls, context: BrowserContext, explorer: Explorer) -> Self:
        """Open a page that was nowhere yet."""
        visitor = cls(context, explorer, await context.new_page())
        visitor._watch()
        return visitor

    async def open_link(self) -> None:
        """Be let in."""
        await self.page.goto(self.explorer.new_link())

    async def go(self, path: str, *, status: int = 200) -> Response:
        """Go to a page of the explorer, which answers with this status."""
        self._status = status
        response = await self.page.goto(f"{self.origin}{path}")
        assert response is not None
        assert status == response.status
        self._status = 200
        return response

    def expect(self, status: int) -> None:
        """Say that what is done next is answered with this status."""
        self._status = status

    async def text(self, selector: str) -> str:
        """What is written there."""
        return await self.page.locator(selector).first.inner_text()

    async def texts(self, selector: str) -> list[str]:
        """What is written in each of them."""
        return await self.page.locator(selector).all_inner_texts()

    @property
    def path(self) -> str:
        """Where the browser is."""
        return self.page.url.removeprefix(self.origin)

    def _watch(self) -> None:
        page, context = self.page, self.context
        context.on("request", self._requested)
        context.on("weberror", lambda error: self.faults.append(f"script: {error.error}"))
        page.on("console", self._said)
        page.on("dialog", self._asked)

    def _requested(self, request: Request) -> None:
        if not request.url.startswith(f"{self.origin}/"):
            self.faults.append(f"request to elsewhere: {request.url}")

    def _said(self, message: ConsoleMessage) -> None:
        expected = self._status != 200 and message.text.startswith(f"{_REFUSED} {self._status}")
        if message.type in {"error", "warning"} and not expected:
            self.faults.append(f"console: {message.text}")

    async def _asked(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        await dialog.dismiss()
