"""What the commands print to: one look, legible in 80 columns and without any colour."""

from typing import Final

from rich.console import Console
from rich.theme import Theme

WIDEST: Final = 110  # columns; a line longer than this is hard to follow with the eye

# The sixteen colours of the terminal, so that they are readable on whatever it is set to.
_THEME: Final = Theme(
    {
        "good": "green",
        "warning": "yellow",
        "bad": "red",
        "quiet": "bright_black",
        "heading": "bold",
        "gone": "strike red",
        "fresh": "green",
        "link": "cyan",
        "client": "bold cyan",
        "code": "bold magenta",
    }
)


def build_console(*, stderr: bool = False) -> Console:
    """Return a console for standard output, or standard error.

    Where neither is a terminal, there are no control sequences and 80 columns, or ``COLUMNS``.
    """
    console = Console(theme=_THEME, stderr=stderr, highlight=False)
    console.width = min(console.width, WIDEST)
    return console


def short_revision(revision: str) -> str:
    """Return enough of the digest of a policy to tell it from another."""
    return revision[:12]


def printable(text: str) -> str:
    """Return text of others with what a terminal would obey, or turn around, made harmless."""
    return "".join(
        char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}"
        for char in text.expandtabs(4)
    )
