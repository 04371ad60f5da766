"""How far a matrix is, in a line of a terminal that changes; elsewhere nothing."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status
from rich.text import Text

_EVERY = 0.2  # seconds


class MatrixProgress:
    """Prints to standard error, and is gone at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = Status("", console=console, spinner_style="link")
        self._shown = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._status.stop()

    def say(self, text: str) -> None:
        """Show what is being done."""
        self._status.update(Text(f"{text} …"))

    def show(self, done: int, size: int, asked: int) -> None:
        """Show how many cells of how many are done."""
        now = time.monotonic()
        if now - self._shown >= _EVERY:
            self._shown = now
            self.say(f"{done:,} of {size:,} cells, asked {asked:,} times")
