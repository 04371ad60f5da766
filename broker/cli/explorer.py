"""How an explorer is offered at a terminal: a link that works once, and another for the asking."""

import asyncio
import getpass
import os
import signal
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.text import Text

from broker.cli.console import build_console
from broker.explorer.admission import LINK_LIFE
from broker.explorer.local import CannotServe, LocalServer

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SCREENS: Final = ("DISPLAY", "WAYLAND_DISPLAY")


def whoever() -> str:
    """Return who runs this process, for the record of who looked."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"


def print_link(console: Console, server: LocalServer) -> str:
    """Print a new link and return it; it is alone in its line, so that it can be copied."""
    link = server.new_link()
    console.print(Text(link, "link"), soft_wrap=True)
    return link


def link_terms() -> str:
    """Return what holds for a link, as a part of a sentence."""
    return f"this link lets one browser in, once, within {LINK_LIFE / 60:.0f} minutes"


@contextmanager
def links_on_enter(console: Console, server: LocalServer) -> Iterator[bool]:
    """Print another link at each Enter; yields whether anybody is there to press it."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if os.read(sys.stdin.fileno(), 4096):
            print_link(console, server)
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


async def offer(make: Callable[[], LocalServer], *, browse: bool) -> None:
    """Serve pages, print links to them, and end as told. Raises ``CannotServe``.

    ``make`` is called in the running loop; ``browse`` opens the first link where that is seen.
    """
    console = build_console()
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        async with make() as server:
            console.print(Text(f"{link_terms().capitalize()}:"))
            link = print_link(console, server)
            if browse:
                await open_browser(link)
            with links_on_enter(console, server) as anybody:
                more = "Enter prints another link, " if anybody else ""
                console.print(Text(f"{more}Ctrl-C ends it.", "quiet"))
                await stop.wait()
    except CannotServe as error:
        raise CannotServe(f"--port: {error}") from None


async def open_browser(link: str) -> bool:
    """Open a link where somebody sees a browser; return whether one was there."""
    seen = sys.platform == "darwin" or any(os.environ.get(name) for name in _SCREENS)
    if not seen or "SSH_CONNECTION" in os.environ:
        # A browser in the terminal itself would take it over.
        return False
    return await asyncio.to_thread(webbrowser.open, link)
