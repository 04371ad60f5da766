"""How an explorer is offered at a terminal: a link that works once, and another for the asking."""

import asyncio
import getpass
import os
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.text import Text

from broker.explorer.admission import LINK_LIFE

_SCREENS: Final = ("DISPLAY", "WAYLAND_DISPLAY")


class Linked(Protocol):
    """What is offered: pages of an explorer, or of another such server."""

    def new_link(self) -> str:
        """Return a link that lets one browser in, once and soon."""


def whoever() -> str:
    """Return who runs this process, for the record of who looked."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"


def print_link(console: Console, explorer: Linked) -> str:
    """Print a new link and return it; it is alone in its line, so that it can be copied."""
    link = explorer.new_link()
    console.print(Text(link, "link"), soft_wrap=True)
    return link


def link_terms() -> str:
    """Return what holds for a link, as a part of a sentence."""
    return f"this link lets one browser in, once, within {LINK_LIFE / 60:.0f} minutes"


@contextmanager
def links_on_enter(console: Console, explorer: Linked) -> Iterator[bool]:
    """Print another link at each Enter; yields whether anybody is there to press it."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if os.read(sys.stdin.fileno(), 4096):
            print_link(console, explorer)
        else:
            loop.remove_reader(sys.stdin)  # its end

    if not sys.stdin.isatty():
        yield False
        return
    loop.add_reader(sys.stdin, read)
    try:
        yield True
    finally:
        loop.remove_reader(sys.stdin)


async def open_browser(link: str) -> bool:
    """Open a link where somebody sees a browser; return whether one was there."""
    seen = sys.platform == "darwin" or any(os.environ.get(name) for name in _SCREENS)
    if not seen or "SSH_CONNECTION" in os.environ:
        # A browser in the terminal itself would take it over.
        return False
    return await asyncio.to_thread(webbrowser.open, link)
