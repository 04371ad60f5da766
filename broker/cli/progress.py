"""What is being done: steps, a line each with the time it took, or one line that changes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

_TIME: Final = 7  # columns


class Progress:
    """Prints what is being done, and when it is done, how long it took."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """Print the step when it ends; what is yielded takes a detail to print beside it."""
        details: list[str] = []
        began = time.perf_counter()
        try:
            # Without a terminal nothing is printed before the end: lines only ever grow.
            with self._console.status(Text(f"{title} …"), spinner_style="link"):
                yield details.append
        except BaseException:
            self._print(Text("✗", "bad"), title, began, [])
            raise
        self._print(Text("✓", "good"), title, began, details)

    def _print(self, sign: Text, title: str, began: float, details: list[str]) -> None:
        line = Table.grid(padding=(0, 1))
        line.add_column()
        line.add_column(width=21)
        line.add_column(width=_TIME, justify="right", style="quiet")
        line.add_column(overflow="fold", ratio=1, style="quiet")
        took = f"{time.perf_counter() - began:.1f} s"
        line.add_row(Text("  ").append(sign), title, took, Text(", ".join(details)))
        self._console.print(line)


class StatusLine:
    """One line of a terminal that changes, and is gone at the end; elsewhere nothing."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = Status("", console=console, spinner_style="link")

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
        self._status.update(Text(text))
