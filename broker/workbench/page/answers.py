"""What is asked of the pages, and what they answer."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse

from broker.explorer.pages import Trouble, Troubled
from broker.explorer.question import Unclear, parse_fields
from broker.workbench.page import links
from broker.workbench.page.judge import PARTS, Judge, Judgement
from broker.workbench.page.pages import WorkbenchPages
from broker.workbench.page.scratch import MOST_TEXT, CannotEdit, Scratch, tag_of

# Each character may be percent-encoded.
MOST_BODY: Final = MOST_TEXT * 3 + 4096  # bytes
_PLACE: Final = re.compile(
    r"^\s*([\w./-]+\.(?:rego|ya?ml|json)):([0-9]{1,7})(?::[0-9]+)?:?\s*(.*)$"
)
_AROUND: Final = 2  # lines before and after the one that is named
_FIELDS: Final = ("file", "line")


@dataclass(frozen=True, slots=True)
class Said:
    """A line of a compiler's or a test's, with the file that it is about where that is here."""

    text: str
    file: str = ""
    line: int = 0


class Answers:
    """Answers requests that came through the gate."""

    def __init__(self, scratch: Scratch, judge: Judge, pages: WorkbenchPages, prefix: str) -> None:
        """``prefix`` is where the policy folder is, for patches."""
        self._scratch = scratch
        self._judge = judge
        self._pages = pages
        self._prefix = prefix
        self._judging = asyncio.Lock()
        self._known: Judgement | None = None

    async def show(self, request: Request) -> Response:
        """Answer the page: a file in the editor, and what is known of all changes so far.

        What takes time comes after the rest, part by part, as soon as it is known.
        """
        given = parse_fields(request.scope["query_string"], _FIELDS)
        name = given.get("file") or self._scratch.files[0]
        text = self._read(name)
        line = int(given["line"]) if given.get("line", "").isdecimal() else 0
        scratch = self._scratch
        page = self._pages.render(
            "workbench.html",
            name=name,
            text=text,
            tag=tag_of(text),
            excerpt=_excerpt(text, line),
            line=line,
            files=scratch.files,
            changed=scratch.changed,
            live=self._judge.live,
        )
        return StreamingResponse(self._told(page), media_type="text/html; charset=utf-8")

    async def _told(self, page: str) -> AsyncIterator[str]:
        head, _, foot = page.partition("<!-- verdicts -->")
        yield head
        async with self._judging:
            if self._known is None or self._known.state != self._scratch.state:
                self._known = None
                judgement = await asyncio.to_thread(self._judge.compile)
                yield self._render("compiled.html", judgement)
                for part in () if judgement.errors else PARTS:
                    judgement = await asyncio.to_thread(self._judge.go_on, judgement, part)
                    yield self._render(f"{part}.html", judgement)
                self._known = judgement
            else:
                yield self._render("compiled.html", self._known)
                for part in () if self._known.errors else PARTS:
                    yield self._render(f"{part}.html", self._known)
        yield foot

    def _render(self, template: str, judgement: Judgement) -> str:
        return self._pages.render(
            template,
            judgement=judgement,
            changed=self._scratch.changed,
            live=self._judge.live,
            errors=[self._said(error) for error in judgement.errors],
            flaws=[self._said(f"{f.place}: {f.subject}: {f.text}") for f in judgement.flaws],
        )

    async def edit(self, request: Request) -> Response:
        """Take another text for a file."""
        form = await _read_form(request, ("file", "was", "text"))
        async with self._judging:  # no state is judged while it becomes another
            self._change(lambda: self._scratch.edit(form["file"], form["text"], was=form["was"]))
        return RedirectResponse(links.file_link(form["file"]), 303)

    async def revert(self, request: Request) -> Response:
        """Put a file back as it was."""
        form = await _read_form(request, ("file",))
        async with self._judging:
            self._change(lambda: self._scratch.revert(form["file"]))
        return RedirectResponse(links.file_link(form["file"]), 303)

    async def patch(self, request: Request) -> Response:
        """Answer every change as a file."""
        parse_fields(request.scope["query_string"], ())
        return Response(
            self._scratch.render_patch(self._prefix),
            media_type="text/x-diff; charset=utf-8",
            headers={"content-disposition": 'attachment; filename="change.patch"'},
        )

    def _read(self, name: str) -> str:
        try:
            return self._scratch.read(name)
        except CannotEdit:
            raise Troubled(Trouble(404, "Not here", "There is no such file.")) from None

    def _change(self, change: Callable[[], None]) -> None:
        try:
            change()
        except CannotEdit as error:
            said = str(error)
            raise Troubled(
                Trouble(409, "Not saved", f"{said[:1].upper()}{said[1:]}.", "Go back and copy it.")
            ) from None

    def _said(self, text: str) -> Said:
        match = _PLACE.match(text)
        if match is None or match[1] not in self._scratch.files:
            return Said(text.strip())
        return Said(match[3] or text.strip(), match[1], int(match[2]))


async def _read_form(request: Request, fields: tuple[str, ...]) -> dict[str, str]:
    """Return the fields of a form, each of which is there once. Raises ``Unclear``."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY:
            raise Troubled(Trouble(413, "Not saved", "The file is too large."))
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=len(fields),
        )
    except ValueError:
        raise Unclear("form", "it is none of these pages") from None
    if sorted(name for name, _ in pairs) != sorted(fields):
        raise Unclear("form", "it is none of these pages")
    return dict(pairs)


def _excerpt(text: str, line: int) -> list[tuple[int, str]]:
    lines = text.splitlines()
    if not 0 < line <= len(lines):
        return []
    first = max(1, line - _AROUND)
    return list(enumerate(lines[first - 1 : line + _AROUND], first))
