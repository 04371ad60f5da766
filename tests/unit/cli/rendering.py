"""What a command printed, as a person without colours reads it."""

import io
import re
from collections.abc import Callable

from rich.console import Console, RenderableType

from broker.cli.console import build_console


def printed(draw: Callable[[Console], object], width: int = 80) -> str:
    """Everything that ``draw`` prints, without the spaces at the ends of lines."""
    console = build_console()
    console.file = io.StringIO()
    console.width = width
    draw(console)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def rendered(renderable: RenderableType, width: int = 80) -> str:
    """One thing, printed."""
    return printed(lambda console: console.print(renderable), width)


def words(text: str) -> str:
    """The text with every run of spaces and line breaks as one space."""
    return re.sub(r"\s+", " ", text).strip()
