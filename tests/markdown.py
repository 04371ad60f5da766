"""Reading the project's pages: their links, headings, code and blocks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(.+?)\1")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, what else its first line says, and its text."""

    language: str
    mark: str
    text: str


def pages() -> list[Path]:
    """Return every page of the project."""
    return [
        *sorted(ROOT.glob("*.md")),
        *sorted(path for path in ROOT.glob("docs/**/*.md") if path.parent.name != "sources"),
        *sorted(ROOT.glob("deploy/*.md")),
        *sorted(ROOT.glob("examples/**/*.md")),
    ]


def name_of(path: Path) -> str:
    """Return how a page is called in messages."""
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    for indent, info, text in _FENCE.findall(path.read_text("utf-8")):
        language, _, mark = info.strip().partition(" ")
        yield Block(language, mark, re.sub(rf"^{indent}", "", text, flags=re.MULTILINE))


def codes(path: Path) -> Iterator[str]:
    """Yield what stands in backticks."""
    for _, text in _CODE.findall(prose(path)):
        yield text.strip()


def links(path: Path) -> Iterator[str]:
    """Yield where a page links to."""
    yield from _LINK.findall(_CODE.sub("", prose(path)))


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are shown on code hosts."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(path)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found


def prose(path: Path) -> str:
    """Return a page without its blocks and comments."""
    text = _FENCE.sub("", path.read_text("utf-8"))
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def commands(text: str) -> Iterator[str]:
    """Yield each line of a shell block, with what was continued in one."""
    yield from re.sub(r"\\\n\s*", "", text).splitlines()
